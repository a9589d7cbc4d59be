"""`check_gradients` of layers in Python, in both forms."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError
from runtime import check_gradients
from runtime.__main__ import main
from tests.runtime.checking.test_gradients import rows


@netspec.layer
class Gated:
    """y = x^3 tanh(w) n, with n drawn in every pass."""

    factor: float = 3.0
    w = netspec.learned(lambda self, x: (x[1],), filler=0.5)

    def forward(self, c, x):
        c.saved.noise = c.normal(x.shape)
        return x**3 * c.xp.tanh(c.learned.w) * c.saved.noise

    def backward(self, c, dy):
        x, t, dy = c.bottoms[0], c.xp.tanh(c.learned.w), dy * c.saved.noise
        c.gradients.w += (dy * x**3 * (1 - t**2)).sum(0)
        return dy * self.factor * x**2 * t


def gated(**options):
    n = NetSpec()
    n.x = L.Input(shape=[4, 5])
    n.h = L.InnerProduct(n.x, num_output=3)
    n.y = Gated(n.h, **options)
    return n


def test_a_class_with_fields_is_checked_with_its_parameters_and_random_numbers():
    result = check_gradients(gated())
    assert result.ok
    assert list(rows(result)) == ["x", "h[0]", "h[1]", "y[0]"]
    assert not any(row.zero for row in result.rows)


def test_its_wrong_gradient_is_told_where_it_flows():
    found = rows(check_gradients(gated(factor=2.0)))
    assert {name: row.ok for name, row in found.items()} == {
        "x": False,
        "h[0]": False,
        "h[1]": False,
        "y[0]": True,
    }


MODULE = """
    import runtime

    class Halved(runtime.Layer):
        def setup(self, bottom, top):
            self.factor = float(self.param_str)

        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].data.shape)

        def forward(self, bottom, top):
            top[0].data[...] = 0.5 * bottom[0].data ** 2

        def backward(self, top, propagate_down, bottom):
            bottom[0].diff[...] = self.factor * top[0].diff * bottom[0].data
    """
NET = """
    layer {{ name: "in" type: "Input" top: "x"
      input_param {{ shape {{ dim: 3 dim: 4 }} }} }}
    layer {{ name: "own" type: "Python" bottom: "x" top: "y"
      python_param {{ module: "halved_layer" layer: "Halved" param_str: "{factor}" }} }}
    """


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "halved_layer.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("factor", [1, 2])
def test_a_class_of_a_module_is_checked_once_that_is_allowed(folder, factor):
    text = NET.format(factor=factor)
    result = check_gradients(text, allow_python=["halved_layer"])
    assert result.ok == (factor == 1)
    assert list(rows(result)) == ["x"]
    with pytest.raises(SpecError, match="halved_layer"):
        check_gradients(text)


def test_a_net_that_runs_may_run_its_modules(folder):
    net = runtime.Net(NET.format(factor=1), 0, allow_python=["halved_layer"])
    net.blobs["x"].data[...] = np.arange(12).reshape(3, 4)
    assert check_gradients(net).ok


def test_the_command_may_be_told_which_modules(folder, capsys):
    (folder / "net.prototxt").write_text(NET.format(factor=2))
    arguments = ["check-gradients", "net.prototxt", "--allow-python", "halved_layer"]
    assert main(arguments) == 1
    assert "WRONG: x" in capsys.readouterr().out


@runtime.register_layer
class OneSided(runtime.Layer):
    """2 a + b, with a gradient for a alone, as many layers with labels have it."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data + bottom[1].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[1]:
            raise ValueError("cannot propagate to b")
        bottom[0].diff[...] = 2 * top[0].diff


CUT = f"""
    layer {{ name: "x" type: "Input" top: "x"
      input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
    layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "a"
      inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "b" type: "InnerProduct" bottom: "x" top: "b"
      inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "y" type: "Python" bottom: "a" bottom: "b" top: "y"
      propagate_down: true propagate_down: false
      python_param {{ module: "{__name__}" layer: "OneSided" }} }}
    layer {{ name: "r" type: "ReLU" bottom: "y" top: "y" propagate_down: true }}
    layer {{ name: "s" type: "Reduction" bottom: "y" top: "s" loss_weight: 1
      reduction_param {{ operation: SUMSQ }} }}
    """


def test_what_propagate_down_cuts_is_held_as_in_training():
    result = check_gradients(CUT)
    assert result.ok
    assert result.notes == (
        "layer 'y' (Python) is told propagate_down: false for bottom 'b'",
    )
    # Of b no gradient comes down, and none is wanted.
    assert {"a[0]", "b[0]", "x"} <= set(rows(result))


def test_force_backward_of_the_net_overrides_propagate_down_as_in_training():
    with pytest.raises(ValueError, match="cannot propagate to b"):
        check_gradients(f"force_backward: true {CUT}")
    text = CUT.replace("Python", "Eltwise").replace("python_param", "eltwise_param")
    text = text.replace(f'module: "{__name__}" layer: "OneSided"', "operation: PROD")
    assert check_gradients(f"force_backward: true {text}").notes == ()


def test_a_layer_in_place_is_checked_though_propagate_down_cuts_it():
    text = CUT.replace(
        'top: "y" propagate_down: true', 'top: "y" propagate_down: false'
    )
    assert text != CUT
    assert check_gradients(text).ok
