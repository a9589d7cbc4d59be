"""Concat and Slice on the device against the portable kernels."""

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from runtime.backends.cuda.layers.concat import Concat, Slice
from tests.backends.cuda.oracle import PlacedLayer, check_own

# Sizes along the axis that a unit of 16, 8, 4 and 2 bytes divides, in bf16.
SIZES = [(8, 16, 24), (4, 12), (2, 8, 6), (1, 7, 5), (3,), (2,) * 17]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_concat(cuda, axis, order, precision):
    for sizes in SIZES:
        shapes = [tuple(np.insert((3, 2, 4), axis, size).tolist()) for size in sizes]
        check_own(
            cuda,
            f'type: "Concat" concat_param {{ axis: {axis} }}',
            shapes,
            precision=precision,
            own=Concat,
            order=order,
            tolerance=1e-7,
            runs=2,
        )


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_slice(cuda, axis, order, precision):
    for sizes in SIZES:
        shape = tuple(np.insert((3, 2, 4), axis, sum(sizes)).tolist())
        tops = " ".join(f'top: "t{index}"' for index in range(len(sizes)))
        points = " ".join(f"slice_point: {at}" for at in np.cumsum(sizes)[:-1])
        check_own(
            cuda,
            f'type: "Slice" {tops} slice_param {{ axis: {axis} {points} }}',
            [shape],
            precision=precision,
            own=Slice,
            order=order,
            tolerance=1e-7,
            runs=2,
        )


def test_more_than_one_block(cuda):
    shapes = [(2, 20, 30, 41), (2, 12, 30, 41), (2, 8, 30, 41)]
    check_own(cuda, 'type: "Concat"', shapes, own=Concat, order="last", runs=2)


def test_blobs_of_two_axes_and_empty_ones(cuda):
    check_own(cuda, 'type: "Concat"', [(3, 5), (3, 2)], own=Concat)
    check_own(cuda, 'type: "Concat"', [(0, 5), (0, 2)], own=Concat)
    check_own(cuda, 'type: "Concat"', [(3, 0), (3, 2)], own=Concat)
    check_own(cuda, 'type: "Concat"', [(3, 0), (3, 0)], own=Concat)


def test_only_the_wanted_gradients_of_a_concat(cuda):
    shapes = [(2, 4, 3, 3), (2, 8, 3, 3), (2, 5, 3, 3)]
    for wanted in [(True, False, True), (False, True, False), (False, False, False)]:
        check_own(
            cuda,
            'type: "Concat"',
            shapes,
            own=Concat,
            order="last",
            wanted_bottoms=wanted,
        )


def test_a_slice_that_nothing_learns_from_has_gradient_zero(cuda):
    text = 'type: "Slice" top: "a" top: "b" slice_param { slice_point: 2 }'
    layer = PlacedLayer(text, [(2, 5)], backend=cuda, dtype="float32")
    inner = layer.kernel.inner
    inner.dtops = (None, inner.dtops[1])
    layer.forward([np.ones((2, 5))])
    (dx,), _ = layer.backward([np.zeros((2, 2)), np.full((2, 3), 4.0)])
    np.testing.assert_array_equal(dx, [[0, 0, 4, 4, 4]] * 2)


def branches(precision, backend):
    """Return blobs of a net with branches, in places that its layers choose."""
    n = NetSpec()
    n.data = L.Input(shape=[2, 8, 6, 5])
    n.left = L.Convolution(n.data, num_output=8, kernel_size=1)
    n.right = L.Pooling(n.data, kernel_size=3, stride=1, pad=1)
    n.both = L.Concat(n.left, n.right, n.data)
    n.sum = L.Eltwise(n.both, n.both)
    n.one, n.two = L.Slice(n.sum, slice_point=8, ntop=2)
    n.pool = L.Pooling(n.two, kernel_size=2, pool="AVE")
    n.norm = L.LRN(n.one)
    net = runtime.Net(n.to_proto(), backend=backend, precision=precision, seed=4)
    x = np.random.default_rng(1).normal(size=(2, 8, 6, 5))
    net.blobs["data"].data[...] = x
    net.forward()
    return {name: np.array(blob.data) for name, blob in net.blobs.items()}


@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.03)])
def test_in_a_net(cuda, precision, limit):
    mine, other = branches(precision, cuda.name), branches("float32", "portable")
    assert mine.keys() == other.keys()
    for name, want in other.items():
        atol = limit * np.abs(want).max()
        np.testing.assert_allclose(mine[name], want, atol=atol, rtol=0, err_msg=name)
