"""Layers in Python in nets whose blobs have other sizes from pass to pass."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecWarning

SIZES = [(5, 6), (9, 4), (7, 8), (9, 4), (5, 6), (7, 8)]


@runtime.register_layer
class ImagesOfSizes(runtime.Layer):
    """Images of several sizes, one after the other."""

    def setup(self, bottom, top):
        self.number = -1

    def reshape(self, bottom, top):
        top[0].reshape(1, 2, *SIZES[max(0, self.number)])

    def forward(self, bottom, top):
        self.number += 1
        top[0].reshape(1, 2, *SIZES[self.number])
        top[0].data[...] = np.cos(np.arange(top[0].count)).reshape(top[0].shape)


@runtime.register_layer
class Watcher(runtime.Layer):
    """A loss that gives its bottom no gradient: it leaves it as it is."""

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = 1

    def backward(self, top, propagate_down, bottom):
        pass


def python(name: str, kind: str, rest: str) -> str:
    return f"""layer {{ name: "{name}" type: "Python" {rest}
        python_param {{ module: "{__name__}" layer: "{kind}" }} }}"""


NET = (
    python("data", "ImagesOfSizes", 'top: "data"')
    + """
    layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param {
            num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
    layer { name: "t" type: "TanH" bottom: "a" top: "t" }
    layer { name: "b" type: "Convolution" bottom: "t" top: "b" convolution_param {
            num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "s" type: "Reduction" bottom: "b" top: "s" loss_weight: 1
            reduction_param { operation: SUMSQ } }
"""
)


def test_what_a_layer_leaves_as_it_is_gives_no_gradient_at_any_size() -> None:
    # Before: memory in which a plan for another size had worked was taken for one.
    watched = NET + python("w", "Watcher", 'bottom: "t" top: "w" loss_weight: 1')
    one, other = (runtime.Net(text, runtime.TRAIN, seed=2) for text in (NET, watched))
    for _ in SIZES:
        gradients = []
        for net in (one, other):
            for blobs in net.params.values():
                for blob in blobs:
                    blob.diff[...] = 0
            net.forward()
            net.backward()
            gradients.append([net.params[name][0].diff.copy() for name in "ab"])
        for mine, seen in zip(*gradients, strict=True):
            np.testing.assert_allclose(seen, mine, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- without a shape

INPUT = """layer { name: "x" type: "Input" top: "x"
    input_param { shape { dim: 4 dim: 3 } } }"""
NO_SHAPE = (
    r"layer 'z' \(Python\): class .*Shapeless, \S*test_python_sizes.py:\d+, gives top "
    r"'z' no shape in setup(,| or) reshape.* write top\[0\]\.reshape\(\.\.\.\) in"
)


@runtime.register_layer
class Shapeless(runtime.Layer):
    """A sum whose author forgot that tops need a shape."""

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data.sum()


def shapeless(rest="", above=""):
    layer = python("z", "Shapeless", f'bottom: "x" top: "z" {rest}')
    return runtime.Net(INPUT + layer + above, runtime.TRAIN)


@pytest.mark.parametrize(
    "given",
    [
        ("loss_weight: 1",),
        ("", 'layer { name: "r" type: "ReLU" bottom: "z" top: "r" }'),
    ],
)
def test_a_top_that_gets_no_shape_is_an_error_where_it_is_read(given):
    net = shapeless(*given)
    for _ in range(2):
        with pytest.raises(ShapeError, match=NO_SHAPE):
            net.forward()


def test_a_layer_that_cannot_read_such_a_top_says_whose_fault_it_is():
    above = """layer { name: "y" type: "InnerProduct" bottom: "z" top: "y"
        inner_product_param { num_output: 2 } }"""
    with pytest.raises(ShapeError, match=rf"layer 'y' .*\n{NO_SHAPE}"):
        shapeless("", above)


def test_of_a_top_that_nobody_reads_a_warning_tells_once(recwarn):
    net = shapeless()
    with pytest.warns(SpecWarning, match=NO_SHAPE):
        net.forward()
    net.forward()
    assert not recwarn.list
