"""How fast layers learn is set by patterns of their names."""

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError
from netspec.schema import SolverParameter
from tests.tuning.test_freezing import make, multipliers, tied


def test_numbers_and_tuples_by_pattern_the_later_one_counts():
    n = make()
    report = netspec.set_lr_mult(
        n,
        {"*": 0.125, "fc": (1, 2), "stage1/b": np.float32(0.5)},
        decay_mult={"stage1/*/scale": 0},
    )
    said = multipliers(n.to_proto())
    assert said["conv1"] == [0.125, 0.125]
    assert said["fc"] == [1, 2]
    assert said["stage1/a/conv"] == [0.125]
    assert said["stage1/b/scale"] == [0.5, 0.5]
    assert said["stage1/a/bn"] == []
    scale = next(x for x in n.to_proto().layer if x.name == "stage1/a/scale")
    assert [spec.decay_mult for spec in scale.param] == [0, 0]
    assert report.lr_mult["fc"] == (1, 2)
    assert "\n  1, 2: fc\n" in str(report)
    assert "  0.125: conv1, stage1/a/conv, stage1/a/scale\n" in str(report)
    first = next(x for x in n.to_proto().layer if x.name == "conv1")
    assert [spec.decay_mult for spec in first.param] == [1, 0]  # as it was


def test_a_layer_with_fewer_parameters_takes_the_first_numbers():
    n = make()
    netspec.set_lr_mult(n, {"stage1/a": (1, 2)})
    said = multipliers(n.to_proto())
    assert said["stage1/a/conv"] == [1]
    assert said["stage1/a/scale"] == [1, 2]


@pytest.mark.parametrize("name", ["left", "right"])
def test_all_that_share_a_parameter_get_its_number(name):
    n = tied()
    report = netspec.set_lr_mult(n, {name: (0.5, 0.25)})
    said = multipliers(n.to_proto())
    assert said["left"] == said["right"] == [0.5, 0.25]
    assert len(report.sharing) == 1
    runtime.Net(n)  # one parameter has one lr_mult there


def test_steps_are_as_long_as_the_numbers_say():
    steps = []
    for factor in (1, 0.25):
        n = make()
        netspec.set_lr_mult(n, {"*": factor})
        param = SolverParameter(
            net_param=n.to_proto(), base_lr=0.0625, lr_policy="fixed"
        )
        solver = runtime.get_solver(param)
        rng = np.random.default_rng(1)
        solver.net.blobs["data"].data[...] = rng.normal(size=(5, 2, 6, 7))
        before = solver.net.params["fc"][0].data.copy()
        solver.step(1)
        steps.append(solver.net.params["fc"][0].data - before)
    assert np.abs(steps[0]).max() > 1e-3
    np.testing.assert_allclose(steps[1], steps[0] / 4, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"fcc": 1}, "fits 'fcc'; did you mean 'fc'"),
        ({"fc": -1}, "of 'fc' is -1; expected a number of at least 0"),
        ({"fc": float("nan")}, "is nan; expected a number"),
        ({"fc": True}, "is True; expected a number"),
        ({"fc": (1, 2, 3)}, "no layer that it fits has more than 2 learned"),
        ({"fc": (1,)}, r"'fc' .*has 2 learned parameters \(w, b\)"),
        ({}, "expected numbers by patterns"),
        (0.1, "lr_mult is 0.1; expected numbers by patterns"),
    ],
)
def test_what_cannot_be_meant_is_refused(values, text):
    n = make()
    before = n.to_proto()
    with pytest.raises(SpecError, match=text):
        netspec.set_lr_mult(n, values)
    assert n.to_proto() == before


def test_a_written_message_as_option_is_kept():
    n = NetSpec()
    n.data = L.Input(shape=[2, 3])
    n.fc = L.InnerProduct(n.data, num_output=4, param=dict(name="w"))
    netspec.set_lr_mult(n, {"fc": (2, 3)})
    (_, fc) = n.to_proto().layer
    assert [(spec.name, spec.lr_mult) for spec in fc.param] == [("w", 2), ("", 3)]


def test_statistics_beside_what_is_learned_stay_so():
    n = NetSpec()
    n.data = L.Input(shape=[2, 3, 4, 5])
    n.bn = L.BatchNorm(n.data, scale_bias=True)
    netspec.set_lr_mult(n, {"bn": (2, 0.5)})
    (_, bn) = n.to_proto().layer
    assert [spec.lr_mult for spec in bn.param] == [0, 0, 0, 2, 0.5]
    graph = runtime.Net(n).graph
    assert [p.lr_mult for p in graph.parameters] == [0, 0, 0, 2, 0.5]
    netspec.freeze(n, "bn")
    netspec.unfreeze(n, "bn")
    assert n.to_proto().layer[1] == bn
