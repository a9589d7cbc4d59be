"""Blobs that meet, whose sizes several layers find as they run."""

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError

ROWS = 7


def selected(meet):
    """Rows of two blobs, each filtered by its own selector, and what both make."""
    n = NetSpec("selected")
    n.x, n.z = L.Input(shape=[ROWS, 3]), L.Input(shape=[ROWS, 3])
    n.s, n.t = L.Input(shape=[ROWS]), L.Input(shape=[ROWS])
    n.a = L.InnerProduct(n.x, num_output=3, weight_filler="xavier")
    n.b = L.InnerProduct(n.z, num_output=3, weight_filler="xavier")
    n.f, n.g = L.Filter(n.a, n.s), L.Filter(n.b, n.t)
    n.h = L.TanH(n.g)
    n.y = meet(n.f, n.h)
    n.loss = L.Reduction(n.y, operation="SUMSQ", loss_weight=1)
    return n


def chosen(rng, count):
    flags = np.zeros(ROWS, np.float32)
    flags[rng.choice(ROWS, count, replace=False)] = 1
    return flags


MEETINGS = {
    "sum": (lambda f, g: L.Eltwise(f, g, coeff=[1, -2]), lambda f, g: f - 2 * g),
    "side by side": (
        lambda f, g: L.Concat(f, g, axis=1),
        lambda f, g: np.concatenate([f, g], 1),
    ),
}


@pytest.mark.parametrize("meeting", MEETINGS)
def test_filtered_rows_meet_where_their_counts_agree(backend, meeting):
    meet, expected = MEETINGS[meeting]
    net = runtime.Net(selected(meet), runtime.TRAIN, backend=backend.name)
    rng = np.random.default_rng(3)
    for count in (3, 5, 5, 1, ROWS, 2, 3):
        s, t = chosen(rng, count), chosen(rng, count)
        net.forward(
            x=rng.normal(size=(ROWS, 3)), z=rng.normal(size=(ROWS, 3)), s=s, t=t
        )
        a, b = (net.blobs[name].data for name in "ab")
        f, g = a[s > 0], np.tanh(b[t > 0])
        np.testing.assert_allclose(net.blobs["y"].data, expected(f, g), rtol=1e-5)
        net.backward()
        dy = 2 * net.blobs["y"].data
        da = np.zeros_like(a)
        da[s > 0] = dy[:, :3]
        np.testing.assert_allclose(net.blobs["a"].diff, da, rtol=1e-5)


def test_counts_that_differ_are_an_error_and_the_net_goes_on(backend):
    meet, expected = MEETINGS["sum"]
    net = runtime.Net(selected(meet), runtime.TRAIN, backend=backend.name)
    rng = np.random.default_rng(4)
    values = {"x": rng.normal(size=(ROWS, 3)), "z": rng.normal(size=(ROWS, 3))}
    for count, other in ((3, 5), (ROWS, 2), (4, ROWS)):
        s, t = chosen(rng, count), chosen(rng, other)
        with pytest.raises(
            ShapeError,
            match=rf"layer 'y' \(Eltwise\): .* \({count}, 3\) .* \({other}, 3\)",
        ):
            net.forward(**values, s=s, t=t)
        net.forward(**values, s=s, t=s)
        f, g = net.blobs["a"].data[s > 0], np.tanh(net.blobs["b"].data[s > 0])
        np.testing.assert_allclose(net.blobs["y"].data, expected(f, g), rtol=1e-5)


def test_a_solver_trains_over_them(backend):
    solver = runtime.Solver(
        selected(MEETINGS["sum"][0]), base_lr=0.01, backend=backend.name
    )
    rng = np.random.default_rng(5)
    for name in "xz":
        solver.net.blobs[name].data[...] = rng.normal(size=(ROWS, 3))
    for count in (2, 4, 4, 6):
        for name in "st":
            solver.net.blobs[name].data[...] = chosen(rng, count)
        solver.step(1)
        assert solver.net.blobs["y"].shape == (count, 3)
    losses = [record.loss for record in solver.history.train]
    assert np.isfinite(losses).all()
