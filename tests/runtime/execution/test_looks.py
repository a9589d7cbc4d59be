"""How nets, blobs, parameters and solvers look, as text and in a notebook."""

import copy
import re
from collections import OrderedDict
from html.parser import HTMLParser

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec, module
from netspec import layers as L
from netspec.errors import SpecError
from runtime.execution import named
from runtime.training.looks import acting

VOID = {"br", "img", "hr"}


def spec():
    """A net with a module, a blob that three layers read, and a name to escape."""

    @module
    def unit(x):
        y = L.Convolution(x, num_output=3, kernel_size=2, weight_filler="xavier")
        return L.ReLU(y, in_place=True)

    n = NetSpec("a<b")
    n.data = L.Input(shape=[2, 1, 5, 4])
    n.unit1 = unit(n.data)
    n.left = L.InnerProduct(n.unit1, num_output=2, weight_filler="xavier")
    n.right = L.InnerProduct(n.unit1, num_output=2, weight_filler="xavier")
    n.sum = n.left + n.right
    return n


@pytest.fixture
def net():
    made = runtime.Net(spec(), backend="portable")
    made.blobs["data"].data[...] = np.arange(40).reshape(2, 1, 5, 4)
    made.forward()
    return made


class Table(HTMLParser):
    """The rows of tables, and the tags that were not closed."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr" or "row" in dict(attrs).get("class", "").split():
            self.rows.append([])
        if tag in ("td", "th", "span") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and {"td", "th", "span"} & set(self.open):
            self.rows[-1][-1] += data


def test_blobs_are_a_line_each_without_those_of_splits(net):
    assert any("_split_" in name for name in net.blobs)
    shown = [line.split()[0] for line in repr(net.blobs).splitlines()]
    assert shown == [name for name in net.blobs if "_split_" not in name]
    assert {"data", "left", "right", "sum"} <= set(shown)
    assert "  2 x 1 x 5 x 4" in repr(net.blobs)
    assert isinstance(net.blobs, OrderedDict)
    assert isinstance(net.params, OrderedDict)
    assert "left[0]" in repr(net.params)
    assert "left[1]" in repr(net.params)
    assert not any("_split" in line for line in repr(net.layers).splitlines())
    assert isinstance(net.layers, list)
    for line in repr(net.layers).splitlines():
        place, name, kind = line.split()
        assert net.layers[int(place[1:-1])].type == kind
        assert net.layers[int(place[1:-1])].name == name


def test_a_net_without_parameters_says_none():
    n = NetSpec()
    n.x = L.Input(shape=[1])
    assert repr(runtime.Net(n, backend="portable").params) == "(none)"


def test_the_table_of_blobs_has_their_statistics(net):
    rows = {row[0]: row for row in Table(net.blobs._repr_html_()).rows}
    data = net.blobs["data"].data
    assert rows["data"][1:3] == ["2 x 1 x 5 x 4", "40"]
    numbers = [float(x) for x in rows["data"][3:]]
    exact = [data.min(), data.max(), data.mean(), data.std()]
    assert numbers == pytest.approx(exact, rel=1e-3)
    assert not any("_split_" in name for name in rows)
    net.blobs["data"].data[...] = 7  # they are computed when shown
    rows = {row[0]: row for row in Table(net.blobs._repr_html_()).rows}
    assert rows["data"][3:] == ["7", "7", "7", "0"]


def test_statistics_are_of_finite_values_in_any_number_of_blocks(net, monkeypatch):
    monkeypatch.setattr(named, "BLOCK", 7)
    data = net.blobs["data"].data
    data.reshape(-1)[[3, 9]] = np.nan, np.inf
    _shape, size, *numbers = named.statistics(net.blobs["data"])
    assert size == "40, 2 not finite"
    finite = data[np.isfinite(data)].astype(float)
    exact = [finite.min(), finite.max(), finite.mean(), finite.std()]
    assert [float(x) for x in numbers] == pytest.approx(exact, rel=1e-3)
    data[...] = np.nan
    assert named.statistics(net.blobs["data"])[1:3] == ("40, 40 not finite", "")


def test_blobs_that_are_not_kept_say_so():
    net = runtime.Net(spec(), keep=(), backend="portable")
    rows = {row[0]: row for row in Table(net.blobs._repr_html_()).rows}
    assert "not kept" in rows["left"]
    assert rows["data"][3] == "0"


def test_parameters_have_a_table_and_a_sum(net):
    html = net.params._repr_html_()
    rows = {row[0]: row for row in Table(html).rows}
    w = net.params["left"][0].data
    assert float(rows["left[0]"][5]) == pytest.approx(w.mean(), rel=1e-3)
    total = sum(b.data.size for blobs in net.params.values() for b in blobs)
    assert f"{total:,} in all" in html


def test_a_name_that_is_not_there_is_a_key_error_that_says_what_is(net):
    with pytest.raises(KeyError) as caught:
        net.blobs["dta"]
    assert str(caught.value) == "no blob 'dta' in this net; did you mean 'data'?"
    assert isinstance(caught.value, SpecError)
    with pytest.raises(KeyError, match="layer 'lft' in this net; did you mean 'left'"):
        net.params["lft"]
    assert net.blobs.get("dta") is None
    assert "dta" not in net.blobs


def test_copies_stay_what_they_are(net):
    for one in (copy.copy(net.blobs), net.blobs.copy()):
        assert list(one) == list(net.blobs)
        assert one["data"] is net.blobs["data"]
    assert repr(copy.copy(net.blobs)) == repr(net.blobs)
    assert net.params == OrderedDict(net.params)


def test_the_net_is_a_table_with_modules_that_open(net):
    html = net._repr_html_()
    rows = Table(html).rows
    by_name = {row[0].strip(): row for row in rows}
    assert "a&lt;b" in html
    assert "<script" not in html
    assert " id=" not in html
    assert html.count("<details>") == 1
    assert by_name["unit1"][1:3] == ["2 layers", "data"]
    assert by_name["left"][1] == "InnerProduct"
    assert by_name["left"][3] == "left 2 x 2"
    assert by_name["left"][4] == "2 x 36, 2"
    assert by_name["left"][5] == "74"
    assert "_split" not in html
    (read,) = {by_name["left"][2], by_name["right"][2]}
    assert read == by_name["unit1"][3].split()[0]


def test_the_solver_shows_what_acts():
    n = spec()
    n.target = L.Input(shape=[2, 2])
    n.loss = L.EuclideanLoss(n.sum, n.target)
    text = (
        'base_lr: 0.01 lr_policy: "step" gamma: 0.5 stepsize: 3 power: 2 momentum: 0.5 '
        f'regularization_type: "L1" debug_info: true net_param {{ {n.to_proto()} }}'
    )
    solver = runtime.get_solver(text, backend="portable")
    shown = dict(acting(solver.param))
    assert {name: shown[name] for name in ("base_lr", "lr_policy", "gamma")} == {
        "base_lr": "0.01",
        "lr_policy": "step",
        "gamma": "0.5",
    }
    assert {"stepsize", "momentum", "regularization_type"} <= set(shown)
    assert not {"power", "debug_info", "net_param"} & set(shown)
    before = Table(solver._repr_html_()).rows
    assert ["iteration", "lr"] in before
    solver.step(2, progress=False)
    html = solver._repr_html_()
    loss = solver.history.train[-1].loss
    assert ["2", "0.01", f"{loss:.4g}", f"{loss:.4g}"] in Table(html).rows
    assert "the net that it trains" in html
    assert re.search(r"SGD of a&lt;b on portable, seed 0", html)


def test_keys_are_completed(net):
    pytest.importorskip("IPython")
    from IPython.core.completer import IPCompleter, provisionalcompleter
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.user_ns["net"] = net
    completer = IPCompleter(shell=shell, namespace=shell.user_ns)
    completer.use_jedi = False
    with provisionalcompleter():
        found = {c.text for c in completer.completions('net.blobs["', 11)}
        params = {c.text for c in completer.completions('net.params["', 12)}
    assert any("data" in one for one in found)
    assert not any("_split_" in one for one in found)
    assert any("left" in one for one in params)


def test_a_summary_is_a_table_in_a_terminal():
    summary = netspec.summarize(spec())
    assert repr(summary) == str(summary) == summary.text()
    assert len(repr(summary)) < 3000
