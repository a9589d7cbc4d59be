"""Gradients of layers in Python are checked like any other."""

from __future__ import annotations

import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, UnsupportedError
from runtime import TRAIN, check_gradients
from runtime.__main__ import main
from tests.runtime.execution import test_own_form
from tests.runtime.execution.own_layers import MODULE, X, own
from tests.runtime.training.test_python_nets import MODULE as TRAINED
from tests.runtime.training.test_python_nets import fcn

SUM = 'layer { name: "l" type: "Reduction" bottom: "r" top: "l" loss_weight: 1 }'
MOVING = X + own("a", "Affine") + own("r", "Positive", "a", "r n") + SUM


@netspec.layer
class WrongSign:
    """x^2 with the gradient of -x^2."""

    def forward(self, c, x):
        return x * x

    def backward(self, c, dy):
        return -2 * c.bottoms[0] * dy


def test_layers_of_netspec_are_checked():
    result = check_gradients(test_own_form.data_net(test_own_form.Swish))
    assert result.ok
    assert {row.name for row in result.rows} >= {"x", "t", "ip[0]", "act[0]"}


def test_a_wrong_gradient_is_found():
    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.y = WrongSign(n.x)
    result = check_gradients(n)
    assert not result.ok
    assert result.rows[0].error == pytest.approx(2)


def test_layers_with_learned_blobs_and_tops_that_move_are_checked():
    result = check_gradients(MOVING, allow_python=[MODULE])
    assert result.ok
    assert [row.name for row in result.rows] == ["x", "a[0]", "a[1]"]
    made = runtime.Net(MOVING, TRAIN, allow_python=[MODULE])
    assert check_gradients(made).ok  # its code was allowed when it was made


def test_code_is_refused_here_too(tmp_path, capsys):
    with pytest.raises(UnsupportedError, match="wants class 'Affine' of module"):
        check_gradients(MOVING)
    path = tmp_path / "net.prototxt"
    path.write_text(MOVING)
    assert main(["check-gradients", str(path)]) == 1
    assert "--allow-python" in capsys.readouterr().err
    assert main(["check-gradients", str(path), "--allow-python", MODULE]) == 0
    assert "all gradients are right" in capsys.readouterr().out


def test_data_of_another_size_in_every_pass_needs_shapes():
    with pytest.raises(SpecError, match=r"'data' \(Python\): its tops have other sha"):
        check_gradients(fcn(), allow_python=[TRAINED])
    shapes = {"data": (1, 1, 6, 7), "label": (1, 1, 6, 7)}
    assert check_gradients(fcn(), shapes=shapes, samples=5).ok
