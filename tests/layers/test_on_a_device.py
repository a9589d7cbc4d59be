"""Every layer on the stand-in for a device, which refuses what CuPy would copy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from netspec.errors import SpecWarning
from netspec.ops import infer
from runtime.backends import get_backend
from tests.layers.harness import LoneLayer, parse_layer
from tests.runtime.execution.device_stand_in import DeviceBackend
from tools.gen_gradients import EXAMPLES

ON_THE_HOST = {"Filter", "HDF5Output", "Proposal"}  # they change shapes, or write files
IN_PLACE = 'bottom: "x" top: "x"'


def examples():
    for kind, several in EXAMPLES.items():
        for text, shapes in several:
            if kind in ON_THE_HOST:
                continue
            text = f'type: "{kind}" {text}'
            yield pytest.param(text, shapes, id=text)
            with warnings.catch_warnings(action="ignore", category=SpecWarning):
                op = infer(parse_layer(text, len(shapes)), shapes)
            if op.in_place and len(shapes) == 1:
                yield pytest.param(f"{text} {IN_PLACE}", shapes, id=f"{text} in place")


@pytest.fixture(scope="module")
def device():
    return DeviceBackend()


def run(text, shapes, backend):
    """All that a layer computes, forward and backward."""
    rng = np.random.default_rng(5)
    layer = LoneLayer(text, shapes, backend=backend)
    first = [rng.normal(size=shape) for shape in shapes[:1]]
    rest = [rng.integers(0, 2, shape).astype(float) for shape in shapes[1:]]
    params = [rng.normal(size=array.shape) for array in layer.bound.params]
    tops = layer.forward([*first, *rest], params)
    found = [*tops, *layer.params()]
    if any(layer.differentiable) or any(layer.learnable):
        dtops = [rng.normal(size=top.shape) for top in tops]
        for gradients in layer.backward(dtops):
            found += [one for one in gradients if one is not None]
    return found


@pytest.mark.filterwarnings("ignore::netspec.SpecWarning")
@pytest.mark.parametrize("text, shapes", list(examples()))
def test_a_layer_computes_the_same_and_copies_no_input(text, shapes, device):
    with np.errstate(all="ignore"):  # logarithms of what is below 0
        host = run(text, shapes, get_backend("portable"))
        found = run(text, shapes, device)
    assert len(found) == len(host)
    for mine, other in zip(host, found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)


def test_the_stand_in_refuses_views_of_one_array_that_are_two_objects(device):
    x = device.zeros((4, 6), "float32")
    with pytest.raises(AssertionError, match="copies its input"):
        device.xp.exp(x.reshape(24), out=x.reshape(24))
    with pytest.raises(AssertionError, match="copies its input"):
        device.xp.add(x[:, 2:4], 1, out=x[:, :2])
    device.xp.exp(x, out=x)
    device.xp.add(x[:1], 1, out=x[1:2])


def products(text, shapes, backend):
    """How many matrix products a forward and a backward pass ask for."""
    asked = []

    def matmul(a, b, out):
        asked.append((a.shape, b.shape))
        return module.matmul(a, b, out=out)

    module = backend.xp
    backend.xp = Counting(module, matmul)
    try:
        layer = LoneLayer(text, shapes, backend=backend)
        params = [np.ones(one.shape) for one in layer.op.params]
        layer.forward([np.ones(shape) for shape in shapes], params)
        layer.backward([np.ones(shape) for shape in layer.op.tops])
    finally:
        backend.xp = module
    return asked


class Counting:
    """A module with another `matmul`."""

    def __init__(self, module, matmul):
        self._module, self.matmul = module, matmul

    def __getattr__(self, name):
        return getattr(self._module, name)


def test_a_device_takes_several_images_into_one_product():
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }'
    shapes = [(5, 3, 25, 23)]
    assert len(products(text, shapes, get_backend("portable"))) == 15
    asked = products(text, shapes, DeviceBackend())
    assert asked[0] == ((1, 2, 3), (1, 3, 5 * 25 * 23))
    assert len(asked) == 3


@pytest.mark.parametrize("kind", ["Scale", "BatchNorm", "MVN"])
def test_a_device_makes_no_product_of_a_number_each(kind):
    text, shapes = f'type: "{kind}"', [(5, 3, 4, 7)]
    assert products(text, shapes, get_backend("portable"))
    assert not products(text, shapes, DeviceBackend())
