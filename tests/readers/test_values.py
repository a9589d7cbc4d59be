"""Rules for values, one net or more a rule, run in the readers that install."""

import numpy as np
import pytest

import runtime
from netspec.errors import UnsupportedError
from netspec.readers import check_for, export_for
from netspec.readers.rules import RULES, depthwise, joined, training, twins
from netspec.readers.rules.table import OF_VALUES
from netspec.schema import TEST
from tests.readers import fork_cases, value_cases
from tests.readers.running import Case, check, difference, net_of, outputs_in
from tests.readers.value_cases import of

CASES = (*value_cases.CASES, *fork_cases.CASES)
BY_NAME = {rule.name: rule for rule in RULES}
RUN_HERE = ("opencv", "mnn")
NOT_RUN = {"normalize", "normalize-of-all"}  # they have a test of their own


def readers_of(case):
    """Return the readers that a rule is for, and those that run here."""
    return sorted({*BY_NAME[case.rule].readers, *RUN_HERE})


@pytest.mark.parametrize(
    ("case", "reader"),
    [(case, reader) for case in CASES for reader in readers_of(case)],
    ids=str,
)
def test_a_rule_mends_what_it_is_about(case, reader):
    rule = case.rule if reader in BY_NAME[case.rule].readers else None
    check(reader, case.text, rule=rule, values=case.values)


def test_every_rule_that_mends_has_a_case():
    rules = (*OF_VALUES, *depthwise.RULES, *joined.RULES, *twins.RULES)
    mending = {rule.name for rule in rules if rule.mends}
    assert mending == {case.rule for case in CASES} | NOT_RUN


def test_what_readers_did_before_is_recorded_for_those_of_the_rule():
    for case in CASES:
        assert set(case.before) <= set(BY_NAME[case.rule].readers), case.rule


REFUSED = [
    ("long-sequence", of("LSTM", "num_output: 512", bottom="x cont"), "MiB"),
    (
        "many-batch-statistics",
        of("BatchNorm", "use_global_stats: false", bottom="many"),
        "use_global_stats",
    ),
]


@pytest.mark.parametrize("reader", RUN_HERE)
def test_what_no_rule_can_mend_is_refused_by_name(reader):
    inputs = {"x": (80, 1, 4), "cont": (80, 1), "many": (2, 1100, 1, 1)}
    for rule, layer, text in REFUSED:
        case = Case(net_of(layer, **inputs))
        with pytest.raises(UnsupportedError, match=f"'y'.*{text}.* (OpenCV|MNN) "):
            export_for(case.model, reader)
        assert rule in {each.rule for each in check_for(case.model, reader).refused}


@pytest.mark.parametrize("reader", ["opencv", "mnn", "ncnn", "rknn"])
@pytest.mark.parametrize("kind", ["EuclideanLoss", "Accuracy"])
def test_losses_and_measures_are_refused_with_the_advice_of_deploy(reader, kind):
    shape = (4, 3) if kind == "EuclideanLoss" else (4,)
    text = net_of(of(kind, bottom="x label"), x=(4, 3), label=shape)
    with pytest.raises(UnsupportedError, match=r"'y' \(\w+\).*--deploy"):
        export_for(text, reader)


def test_every_loss_is_among_the_layers_for_training():
    assert {"SoftmaxWithLoss", "MultiBoxLoss", "SmoothL1Loss"} <= set(
        training.RULES[0].types
    )


def test_without_weights_what_changes_them_is_warned_of():
    text = net_of(
        of("InnerProduct", "num_output: 5 transpose: true"),
        x=(2, 7),
    )
    done = export_for(text, "opencv")
    (finding,) = done.report.warned
    assert finding.rule == "transpose"
    assert "give the weights too" in finding.text
    assert done.model.weights is None


def test_a_net_without_parameters_gets_constants_without_weights():
    done = export_for(net_of(of("MVN"), x=(2, 3, 4, 5)), "opencv")
    assert "mvn" in {finding.rule for finding in done.report.rewritten}
    assert done.model.weights


def test_an_output_in_place_on_an_input_keeps_its_name_or_is_refused():
    text = net_of(of("Scale", "axis: 2", top="x"), x=(2, 3, 4, 5))
    with pytest.raises(UnsupportedError, match="give the top a name of its own"):
        export_for(Case(text).model, "mnn")
    check("opencv", text)
    check("mnn", text + of("TanH", name="z"))


def normalized(x, scale, across_spatial, eps):
    """Return what SSD's Normalize computes, by its definition."""
    y = np.empty(x.shape)
    for n, h, w in np.ndindex(x.shape[0], *x.shape[2:]):
        part = x[n] if across_spatial else x[n, :, h, w]
        total = sum(float(value) ** 2 for value in part.reshape(-1))
        y[n, :, h, w] = scale * x[n, :, h, w] / (total + eps) ** 0.5
    return y


@pytest.mark.parametrize("reader", ["opencv", "mnn", "x2paddle"])
@pytest.mark.parametrize("across_spatial", [False, True])
@pytest.mark.parametrize("channel_shared", [False, True])
def test_normalize(reader, across_spatial, channel_shared):
    options = f"across_spatial: {across_spatial} channel_shared: {channel_shared}"
    layer = of("Normalize", f"eps: 0.5 {options}".lower())
    random = np.random.default_rng(0)
    x = np.float32(random.normal(size=(2, 3, 4, 5)))
    scale = np.float32(random.uniform(0.5, 2, () if channel_shared else (3,)))
    done = export_for(net_of(layer, x=x.shape), reader, {"y": [scale]})
    want = normalized(x, scale, across_spatial, 0.5)
    if reader == "x2paddle":
        net = runtime.Net(done.model, TEST, backend="portable")
        net.blobs["x"].data[...] = x
        net.forward()
        got = np.array(net.blobs["y"].data)
    else:
        got = outputs_in(reader, done, {"x": x}, ["y"])["y"]
    assert difference(got, want) < 1e-5


def test_a_constant_is_not_made_of_an_input_that_is_overwritten():
    constant = of("Parameter", "shape { dim: 4 dim: 5 }", "p", "", "p")
    layers = constant + of("Scale", "axis: 2", "s", "x p", "x")
    free = of("TanH", name="z", bottom="free", top="z")
    check("opencv", net_of(layers + free, x=(2, 3, 4, 5), free=(2, 3)))
    with pytest.raises(UnsupportedError, match="'p'.*Input that keeps its own"):
        export_for(Case(net_of(layers, x=(2, 3, 4, 5))).model, "opencv")
