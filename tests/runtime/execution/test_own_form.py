"""Layers of `netspec.layer` in nets: arrays of the backend, random numbers, resume."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError, SpecError, UnsupportedError
from runtime import TEST, TRAIN

GAUSSIAN = {"type": "gaussian", "std": 0.4}


@netspec.layer
class Swish:
    """y = x / (1 + exp(-w x)), w learned for each channel."""

    start: float = 1.0
    w = netspec.learned(lambda self, x: (x[1],), filler=lambda self: self.start)

    def forward(self, c, x):
        c.saved.gate = 1 / (1 + c.xp.exp(-c.learned.w * x))
        return x * c.saved.gate

    def backward(self, c, dy):
        x, gate = c.bottoms[0], c.saved.gate
        slope = gate * (1 - gate)
        c.gradients.w += (dy * x * x * slope).sum(0)
        return dy * (gate + x * c.learned.w * slope)


@netspec.layer
class StoringSwish(Swish.definition.kind):
    """The same with a gradient that is stored, not added, and no new arrays."""

    def forward(self, c, x):
        super().forward(c, x)
        return c.xp.multiply(x, c.saved.gate, out=c.tops[0])

    def backward(self, c, dy):
        dx = super().backward(c, dy)
        once = c.gradients.w.copy()
        c.gradients.w[...] = once
        c.dbottoms[0][...] = dx
        return c.dbottoms[0]


@netspec.layer(loss=True)
def half_square(c, x, t, *, scale: float = 1.0):
    c.saved.difference = x - t
    return scale * (c.saved.difference**2).sum() / len(x) / 2


@half_square.shapes
def half_square_shapes(x, t, *, scale):
    return ()


@half_square.backward
def half_square_gradient(c, dloss, *, scale):
    dx = dloss * scale / len(c.saved.difference) * c.saved.difference
    return dx, -dx


@netspec.layer(ntop=2)
class Points:
    """x and y = 2 x + noise, a function of the iteration alone."""

    batch_size: int
    std: float = 0.01

    def shapes(self):
        return [(self.batch_size, 3), (self.batch_size, 3)]

    def forward(self, c):
        x = c.normal((self.batch_size, 3))
        return x, 2 * x + self.std * c.normal(x.shape)


@netspec.layer
class Blur:
    """Noise while training; none in TEST."""

    std: float = 0.5

    def forward(self, c, x):
        return x + self.std * c.normal(x.shape) if c.train else x

    def backward(self, c, dy):
        return dy


@netspec.layer
def right(c, score, label):
    """A metric: how many scores have the sign of the label."""
    return ((score > 0) == (label > 0)).mean()


@right.shapes
def right_shapes(score, label):
    return ()


def data_net(kind):
    n = NetSpec()
    n.x, n.t = L.DummyData(
        shape=dict(dim=[5, 3]), data_filler=[dict(type="gaussian")] * 2, ntop=2
    )
    n.ip = L.InnerProduct(n.x, num_output=4, weight_filler=GAUSSIAN)
    n.act = kind(n.ip, start=0.7)
    n.y = L.InnerProduct(n.act, num_output=3, weight_filler=GAUSSIAN)
    n.loss = half_square(n.y, n.t, scale=1.5, loss_weight=2)
    return n


@pytest.mark.parametrize("kind", [Swish, StoringSwish])
@pytest.mark.parametrize("name, slot", [("act", 0), ("ip", 0), ("y", 1)])
def test_gradients_are_right(backend, kind, name, slot):
    n = data_net(kind)
    net = runtime.Net(n, TRAIN, dtype="float64", backend=backend.name, seed=3)
    assert net.params["act"][0].data.tolist() == [np.float32(0.7)] * 4
    net.forward_backward()
    net.clock.value = 0
    net.forward_backward(accumulate=True)  # twice: what is there must stay
    analytic = net.params[name][slot].diff / 2
    numerical = np.empty_like(analytic)
    for place in np.ndindex(*analytic.shape):
        losses = []
        for step in (1e-5, -1e-5):
            net.params[name][slot].data[place] += step
            net.clock.value = 0
            net.forward_steps()
            losses.append(net.loss())
            net.params[name][slot].data[place] -= step
        numerical[place] = (losses[0] - losses[1]) / 2e-5
    np.testing.assert_allclose(analytic, numerical, rtol=1e-6, atol=1e-8)


def test_a_loss_equals_that_of_caffe(backend):
    losses = []
    for own in (True, False):
        n = NetSpec()
        n.x, n.t = Points(batch_size=6)
        n.y = L.InnerProduct(n.x, num_output=3, weight_filler=GAUSSIAN)
        n.loss = half_square(n.y, n.t) if own else L.EuclideanLoss(n.y, n.t)
        text = f"net_param {{ {n.to_proto()} }} base_lr: 0.2 lr_policy: 'fixed' "
        solver = runtime.get_solver(text, backend=backend.name)
        solver.step(40)
        losses.append([record.loss for record in solver.history.train])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0][-1] < 0.01 * losses[0][0]


def noisy_solver(folder, backend):
    n = NetSpec()
    n.x, n.t = Points(batch_size=4)
    n.b = Blur(n.x)
    n.y = L.InnerProduct(n.b, num_output=3, weight_filler=GAUSSIAN)
    n.act = Swish(n.y, param=dict(lr_mult=3))
    n.loss = half_square(n.act, n.t)
    n.right = right(n.act, n.t, include=dict(phase="TEST"))
    return runtime.get_solver(
        f"net_param {{ {n.to_proto()} }} base_lr: 0.1 lr_policy: 'fixed' iter_size: 2 "
        f"type: 'Adam' snapshot_prefix: '{folder}/s' test_iter: 3 test_interval: 100",
        backend=backend.name,
    )


def test_a_resumed_run_equals_one_that_never_stopped_bit_for_bit(backend, tmp_path):
    whole = noisy_solver(tmp_path, backend)
    whole.step(7)
    stopped = noisy_solver(tmp_path, backend)
    stopped.step(3)
    state = stopped.snapshot().state
    again = noisy_solver(tmp_path, backend)
    again.net.forward()  # draws something else first
    again.restore(state)
    again.step(4)
    for name, blobs in whole.net.params.items():
        for mine, other in zip(blobs, again.net.params[name], strict=True):
            assert mine.data.tobytes() == other.data.tobytes(), name


def test_a_metric_is_averaged_in_tests(backend, tmp_path):
    solver = noisy_solver(tmp_path, backend)
    (record,) = solver.test()
    assert 0 < record.outputs["right"] < 0.7
    assert "right" not in solver.net.blobs
    solver.step(100)
    assert solver.test()[0].outputs["right"] > 0.8


def test_random_numbers_are_uniform_and_normal_and_of_their_place(backend):
    drawn = []

    @netspec.layer
    def draw(c):
        drawn.append((c.uniform((40, 50)), c.uniform(2000), c.normal((2000,))))
        return c.uniform()

    draw.shapes(lambda: ())
    n = NetSpec()
    n.a, n.b = draw(), draw()
    net = runtime.Net(n, backend=backend.name, seed=5)
    first, second = (float(net.forward()["a"]) for _ in range(2))
    flat = [
        np.asarray(array.tolist()).reshape(-1) for three in drawn for array in three
    ]
    for u in flat[0::3] + flat[1::3]:
        assert 0 <= u.min() < 0.01 < 0.99 < u.max() < 1
        assert abs(u.mean() - 0.5) < 0.03
        assert abs(u.var() - 1 / 12) < 0.01
    for z in flat[2::3]:
        assert abs(z.mean()) < 0.1
        assert abs(z.var() - 1) < 0.15
    assert len({round(float(one[0]), 9) for one in flat}) == len(flat)
    net.clock.value = 0
    assert net.forward()["a"] == first != second


def test_what_a_layer_saves_lasts_from_forward_to_backward(backend):
    seen = []

    @netspec.layer
    class Look:
        def forward(self, c, x):
            seen.append((vars(c.saved).copy(), c.iteration, c.train, c.dtype))
            c.saved.mark = c.iteration
            return x

        def backward(self, c, dy):
            seen.append((c.saved.mark, c.iteration, c.wanted))
            return dy

    n = NetSpec(force_backward=True)
    n.x = L.Input(shape=[2, 3])
    n.y = Look(n.x)
    net = runtime.Net(n, TRAIN, backend=backend.name)
    for _ in range(2):
        net.forward_backward()
    begin = [({}, i, True, "float32") for i in range(2)]
    assert seen == [begin[0], (0, 0, (True,)), begin[1], (1, 1, (True,))]


def test_an_object_keeps_no_state(backend):
    @netspec.layer
    class Counts:
        n: int = 0

        def forward(self, c, x):
            self.n += 1
            return x

    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.y = Counts(n.x)
    net = runtime.Net(n, backend=backend.name)
    with pytest.raises(AttributeError, match="cannot assign to field 'n'") as caught:
        net.forward()
    assert caught.value.__notes__ == ["layer 'y' (Python): raised in forward of Counts"]


def test_blobs_that_are_not_kept_share_memory(backend):
    n = data_net(Swish)
    all_kept = runtime.Net(n, TRAIN, backend=backend.name)
    few = runtime.Net(n, TRAIN, backend=backend.name, keep=())
    assert few.plan.memory["arena_bytes"] < all_kept.plan.memory["arena_bytes"]
    for net in (all_kept, few):
        net.forward_backward()
    assert few.loss() == all_kept.loss()


def test_a_net_that_is_reshaped_is_followed(backend):
    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.y = Swish(n.x)
    net = runtime.Net(n, backend=backend.name)
    net.blobs["x"].reshape(7, 3)
    assert net.forward()["y"].shape == (7, 3)


def test_a_class_needs_a_gradient_where_one_is_asked_for(backend):
    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.y = L.InnerProduct(n.x, num_output=3)
    n.r = right(n.y, n.x, loss_weight=1)
    with pytest.raises(SpecError, match=r"'r' \(Python\): bottom 0 .*has no gradient"):
        runtime.Net(n, TRAIN, backend=backend.name)


@pytest.mark.parametrize(
    "given, error, message",
    [
        (
            lambda x: None,
            SpecError,
            "forward of Bad returned None for top 0; return an",
        ),
        (
            lambda x: x[:1],
            ShapeError,
            r"returned shape \(1, 3\) for top 0; expected \(",
        ),
        (
            lambda x: (x, x),
            SpecError,
            "returned 2 arrays for 1 tops; return one for ea",
        ),
        (lambda x: 3.0, ShapeError, r"returned shape \(\) for top 0"),
    ],
)
def test_what_forward_returns_is_checked(backend, given, error, message):
    @netspec.layer
    class Bad:
        def forward(self, c, x):
            return given(x)

    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.y = Bad(n.x)
    net = runtime.Net(n, backend=backend.name)
    with pytest.raises(error, match=message):
        net.forward()


def test_what_backward_returns_is_checked(backend):
    @netspec.layer
    class Bad:
        def forward(self, c, x):
            return x

        def backward(self, c, dy):
            dy += 0

    n = NetSpec(force_backward=True)
    n.x = L.Input(shape=[2, 3])
    n.y = Bad(n.x)
    net = runtime.Net(n, TRAIN, backend=backend.name)
    with pytest.raises(SpecError, match="backward of Bad returned None for bottom 0"):
        net.forward_backward()


MODULE = """
import netspec

@netspec.layer
class Times:
    factor: float

    def forward(self, c, x):
        return self.factor * x
"""


def test_a_net_of_another_process_needs_its_module_allowed(tmp_path, monkeypatch):
    (tmp_path / "times_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    text = json.dumps(json.dumps({"factor": 4}))
    net = (
        'input: "x" input_shape { dim: 2 } layer { name: "y" type: "Python" '
        'bottom: "x" top: "y" python_param { module: "times_layers" layer: "Times" '
        f"param_str: {text} }} }}"
    )
    with pytest.raises(UnsupportedError, match="wants class 'Times' of module"):
        runtime.Net(net)
    assert "times_layers" not in sys.modules
    one = runtime.Net(net, TEST, allow_python=["times_layers"])
    one.blobs["x"].data[...] = 3
    assert one.forward()["y"].tolist() == [12, 12]
    runtime.Net(net)  # by now this process knows the class
