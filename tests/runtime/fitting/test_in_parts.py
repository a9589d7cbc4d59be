"""`fit` whose batches come in parts: the same training, also of what is left."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
import runtime
from netspec import layers as L
from netspec.errors import SpecError, UnsupportedError
from netspec.graph.recompute import LimitError
from netspec.schema import TRAIN
from runtime.data.given.base import Later
from runtime.data.given.parted import Parted
from tests.runtime.fitting.common import arrays, losses, parameters, spec

HOW = {"progress": False, "seed": 5}


def weighty(kind):
    """A net whose loss is a sum over items, or several of both kinds."""
    n = spec(16)
    if kind == "sum":
        n.loss.fn.params["loss_param"] = {"normalization": "NONE"}
        n.loss.fn.params["loss_weight"] = 0.05
    if kind == "both":
        n.energy = L.Power(n.score, power=2, loss_weight=0.01)
        n.half = L.HingeLoss(n.score, n.label, loss_weight=0.5)
    return n


def assert_alike(one, other):
    np.testing.assert_allclose(losses(one), losses(other), rtol=1e-5)
    for mine, its in zip(parameters(one.net), parameters(other.net), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)
    assert [t.iteration for t in one.tests] == [t.iteration for t in other.tests]
    for mine, its in zip(one.tests, other.tests, strict=True):
        assert mine.scalars() == pytest.approx(its.scalars(), rel=1e-5)


def list_of_items(x, y):
    return list(zip(x, y, strict=True))


def batches(x, y):
    return lambda: ((x[n : n + 16], y[n : n + 16]) for n in range(0, len(x), 16))


def noisy(item, rng):
    x, y = item
    return x * rng.uniform(0.5, 1), y


KINDS = {
    "arrays": lambda x, y: (x, y),
    "items": list_of_items,
    "batches": batches,
}


# Of 4 parts of 16: what is left has equal parts, unequal ones, fewer items than parts.
@pytest.mark.parametrize("count", [64, 72, 61, 51, 49])
@pytest.mark.parametrize("kind", ["mean", "sum", "both"])
def test_parts_train_as_whole_batches_do(count, kind):
    x, y = arrays(count)
    whole, parts = (
        runtime.fit(weighty(kind), (x, y), epochs=3, micro_batch=k, **HOW)
        for k in (None, 4)
    )
    assert parts.solver.micro_batch == 4
    assert parts.net.blobs["data"].shape[0] == 4
    assert_alike(parts, whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [2, 16])
def test_data_of_every_kind_is_divided(kind, parts):
    x, y = arrays(53)
    more = {"validation": arrays(30), "epochs": 2}
    more["solver"] = {"base_lr": 0.01, "iter_size": 2, "momentum": 0.9}
    if kind == "items":
        more["transform"] = noisy
    whole, divided = (
        runtime.fit(spec(16), KINDS[kind](x, y), micro_batch=k, **more, **HOW)
        for k in (1, parts)
    )
    assert_alike(divided, whole)


def test_more_epochs_and_other_data_are_divided_too():
    x, y = arrays(45)
    other = arrays(37)
    found = []
    for k in (None, 4):
        history = runtime.fit(spec(16), (x, y), epochs=1, micro_batch=k, **HOW)
        history = runtime.fit(history, (x, y), epochs=1, progress=False)
        found.append(runtime.fit(history, other, epochs=2, progress=False))
    assert_alike(*found)
    with pytest.raises(SpecError, match="micro_batch cannot be given; give it to the"):
        runtime.fit(found[0], (x, y), micro_batch=2)


def test_snapshots_resume_with_other_parts(tmp_path):
    x, y = arrays(45)
    through = runtime.fit(spec(16), (x, y), epochs=4, micro_batch=4, **HOW)
    out = {"out": tmp_path, "snapshot": 1}
    runtime.fit(spec(16), (x, y), epochs=2, micro_batch=2, **out, **HOW)
    rest = runtime.fit(spec(16), (x, y), epochs=4, resume="last", out=tmp_path, **HOW)
    assert rest.solver.iter == through.solver.iter
    for mine, its in zip(parameters(rest.net), parameters(through.net), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)


def test_passes_by_hand_count_losses_as_they_are():
    x, y = arrays(49)
    history = runtime.fit(spec(16), (x, y), epochs=1, micro_batch=4, **HOW)
    net = history.net
    fresh = runtime.Net(spec(4), TRAIN)
    for mine, its in zip(fresh.params.values(), net.params.values(), strict=True):
        for one, other in zip(mine, its, strict=True):
            one.data[...] = other.data
    for one in (net, fresh):
        one.forward(data=x[:4], label=y[:4])
        one.clear_param_diffs()
        one.backward()
    assert net.loss() == fresh.loss()
    np.testing.assert_array_equal(net.flat.diff, fresh.flat.diff)


def test_auto_takes_as_few_parts_as_will_do():
    x, y = arrays(40)

    def run(limit, parts="auto"):
        how = {"memory_limit": limit, "micro_batch": parts, **HOW}
        return runtime.fit(spec(16), (x, y), epochs=1, **how)

    with pytest.raises(LimitError, match="micro_batch='auto', which divides it"):
        run(1000, None)
    with pytest.raises(LimitError, match="with micro_batch up to 16") as caught:
        run(1000)
    assert run(caught.value.least).solver.micro_batch == 16
    assert run("100MB").solver.micro_batch == 1
    with pytest.raises(SpecError, match="needs a memory_limit"):
        run(None)


def test_what_cannot_be_divided_is_told():
    x, y = arrays(40)
    n = spec(16)
    n.norm = L.BatchNorm(n.relu)
    n.score2 = L.InnerProduct(n.norm, num_output=2)
    n.loss2 = L.SoftmaxWithLoss(n.score2, n.label)
    with pytest.raises(UnsupportedError, match="'norm'.*statistics of the whole batch"):
        runtime.fit(n, (x, y), micro_batch=2, **HOW)
    with pytest.raises(SpecError, match="16 items cannot be divided into 3 equal"):
        runtime.fit(spec(16), (x, y), micro_batch=3, **HOW)
    with pytest.raises(SpecError, match="micro_batch is 0"):
        runtime.fit(spec(16), (x, y), micro_batch=0, **HOW)


class Counted(Later):
    """A data set that notes which batches were read."""

    def __init__(self, dataset):
        super().__init__(dataset, 0)
        self.asked = []

    def read_sized(self, batch, place):
        self.asked.append(batch)
        return super().read_sized(batch, place)


@pytest.mark.parametrize("count", [16, 21, 18, 17])
def test_parts_hold_every_item_once(count):
    x, y = arrays(count)
    net = runtime.Net(spec(8), TRAIN)
    net.feed((x, y), batch_size=8)
    dataset = Counted(net.its_feed.dataset)
    parts = Parted(dataset, 4)
    seen, weights = [], {}
    for number in range(parts.batches):
        one = parts.batch(number)
        assert [a.shape for a in one] == list(parts.shapes_of(number))
        mean, total = parts.factors(number)
        weights[number // 4] = weights.get(number // 4, 0) + mean
        seen.extend(one[0][: len(one[0]) * int(total)])
        assert (mean == 0) == (total == 0)
    assert dataset.asked == list(range(dataset.batches))
    assert weights == pytest.approx(dict.fromkeys(weights, 4.0))
    np.testing.assert_array_equal(seen, x)
    assert parts.varies == bool(count % 8)


def test_the_summary_forecasts_parts():
    text = str(spec(16).to_proto())
    whole = netspec.summarize(text, phase="TRAIN")
    part = netspec.summarize(text, phase="TRAIN", micro_batch=4)
    quarter = netspec.summarize(text, phase="TRAIN", batch_size=4)
    assert part.memory == quarter.memory
    assert part.blobs == quarter.blobs
    assert part.notes == ("micro_batch: 4 parts of 4 items, of which this is one",)
    limit = {"memory_limit": whole.memory["total"] - 1000, "micro_batch": "auto"}
    auto = netspec.summarize(text, phase="TRAIN", **limit)
    assert auto.memory["total"] <= limit["memory_limit"]
    assert "micro_batch: 2 parts of 8 items" in str(auto)
    with pytest.raises(LimitError, match="takes at least"):
        netspec.summarize(text, "TRAIN", memory_limit=1000, micro_batch="auto")
    with pytest.raises(SpecError, match="16 items cannot be divided into 3"):
        netspec.summarize(text, "TRAIN", micro_batch=3)
    with pytest.raises(SpecError, match="micro_batch is of training"):
        netspec.summarize(text, "TEST", micro_batch=3)
    with pytest.raises(SpecError, match="needs a memory_limit"):
        netspec.summarize(text, "TRAIN", micro_batch="auto")
