"""LSTM and RNN on the device."""

from dataclasses import replace

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.ops import infer
from netspec.schema import SolverParameter
from runtime.backends.cuda.layers.lstm_unit import LSTMUnit
from runtime.backends.cuda.layers.recurrent import LSTM, RNN
from tests.backends.cuda.oracle import PORTABLE, check_own
from tests.layers.harness import LoneLayer, parse_layer

OWN = {"LSTM": (LSTM, 2), "RNN": (RNN, 1)}
UNIT = 'type: "LSTMUnit" top: "c" top: "h"'
SIZES = [(4, 3, (5,), 2), (1, 1, (1,), 1), (3, 2, (2, 4), 8), (5, 7, (16,), 40)]


def given(steps, streams, inputs, units, *, static, exposed):
    rng = np.random.default_rng(8)
    cont = rng.integers(2, size=(steps, streams)).astype(float)
    cont[1:2, 0] = 1
    bottoms = [(steps, streams, *inputs), cont]
    bottoms += [(streams, 3, 2)] if static else []
    return bottoms + [(1, streams, units)] * exposed


def text(type_, units, exposed):
    tops = " ".join(f'top: "top{n}"' for n in range(1 + exposed))
    expose = "true" if exposed else "false"
    return (
        f'type: "{type_}" {tops} '
        f"recurrent_param {{ num_output: {units} expose_hidden: {expose} }}"
    )


def check(cuda, type_, sizes, *, static=False, exposed=False, **options):
    own, states = OWN[type_]
    number = states if exposed else 0
    bottoms = given(*sizes, static=static, exposed=number)
    return check_own(cuda, text(type_, sizes[-1], number), bottoms, own=own, **options)


def small_params(type_, sizes, static):
    bottoms = given(*sizes, static=static, exposed=0)
    shapes = [one if isinstance(one, tuple) else one.shape for one in bottoms]
    op = infer(parse_layer(text(type_, sizes[-1], 0), len(shapes)), shapes)
    rng = np.random.default_rng(6)
    return [rng.normal(size=p.shape) / (2 * p.shape[-1] ** 0.5) for p in op.params]


@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("type_", OWN)
def test_it_is_the_portable_one(cuda, type_, sizes, static, exposed):
    check(cuda, type_, sizes, static=static, exposed=exposed)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("type_", OWN)
def test_other_precisions(cuda, type_, static, precision):
    # States of 16 bits come back in every step: weights are small, so that what
    # rounding does to them does not grow.
    for sizes in [(4, 3, (5,), 2), (3, 2, (2, 4), 8), (5, 7, (16,), 40)]:
        check(
            cuda,
            type_,
            sizes,
            static=static,
            precision=precision,
            order="first",
            params=small_params(type_, sizes, static),
            tolerance={"tf32": 2e-3, "bf16": 5e-2, "fp16": 6e-3}[precision],
        )


@pytest.mark.parametrize("type_", OWN)
@pytest.mark.parametrize("wanted", [0, 1, 2, 3, 4, 5])
def test_gradients_that_are_not_wanted(cuda, type_, wanted):
    params = [True] * (4 if type_ == "LSTM" else 6)
    bottoms = [True, False, True]
    if wanted < len(params):
        params[wanted] = False
    if wanted == 4:
        bottoms = [False, False, True]
    if wanted == 5:
        bottoms = [True, False, False]
    options = {"wanted_bottoms": bottoms, "wanted_params": params}
    check(cuda, type_, (4, 3, (5,), 2), static=True, **options)


@pytest.mark.parametrize("type_", OWN)
def test_what_is_empty_is_left_to_the_portable_kernel(cuda, type_):
    shapes = [(4, 0, 5), (4, 0)]
    layer = LoneLayer(text(type_, 2, 0), shapes, backend=cuda, dtype="float32")
    assert not isinstance(layer.kernel.inner, OWN[type_][0])


@pytest.mark.parametrize("type_", OWN)
def test_states_go_on_where_a_reshaped_net_has_as_many_streams(cuda, type_):
    def layer(backend, steps, streams):
        shapes = [(steps, streams, 5), (steps, streams)]
        return LoneLayer(text(type_, 2, 0), shapes, backend=backend, dtype="float32")

    rng = np.random.default_rng(4)
    for steps, streams in ((6, 3), (4, 2)):
        results = []
        for backend in (cuda, PORTABLE):
            rng = np.random.default_rng(4)
            old, new = layer(backend, 4, 3), layer(backend, steps, streams)
            params = [rng.normal(size=one.shape) for one in old.op.params]
            x = [rng.normal(size=(4, 3, 5)), np.ones((4, 3))]
            old.forward(x, params)
            inner = [getattr(one.kernel, "inner", one.kernel) for one in (new, old)]
            inner[0].go_on_from(inner[1])
            x = [rng.normal(size=(steps, streams, 5)), np.ones((steps, streams))]
            results.append(new.forward(x, params)[0])
        np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("type_", OWN)
def test_a_step_is_a_product_and_a_launch_each_way(cuda, type_):
    def calls(steps):
        shapes = [(steps, 3, 5), (steps, 3)]
        made = LoneLayer(text(type_, 2, 0), shapes, backend=cuda, dtype="float32")
        kernel = made.kernel
        flags = (False,) * len(made.op.params)
        return len(kernel.forward_calls()), len(kernel.backward_calls(flags))

    (few, back_few), (many, back_many) = calls(3), calls(8)
    assert (many - few, back_many - back_few) == (10, 10)


@pytest.mark.parametrize("streams, size", [(3, 2), (1, 1), (7, 40)])
@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_one_step_by_itself(cuda, streams, size, wanted):
    cont = np.random.default_rng(1).integers(2, size=(1, streams))
    bottoms = [(1, streams, size), (1, streams, 4 * size), cont]
    options = {"own": LSTMUnit, "wanted_bottoms": [*wanted, False]}
    check_own(cuda, UNIT, bottoms, **options)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_top_of_a_step_without_a_gradient_counts_as_0(cuda, missing):
    shapes = [(1, 3, 2), (1, 3, 8), (1, 3)]
    rng = np.random.default_rng(1)
    values = [rng.normal(size=shape) for shape in shapes]
    dtop = rng.normal(size=shapes[0]).astype("float32")
    results = []
    for backend in (cuda, PORTABLE):
        layer = LoneLayer(UNIT, shapes, backend=backend, dtype="float32")
        dtops = list(layer.bound.dtops)
        dtops[missing] = None
        layer.bound = replace(layer.bound, dtops=tuple(dtops))
        layer.kernel.bind(layer.bound)
        layer.forward(values)
        backend.upload(dtop, dtops[1 - missing])
        layer.kernel.backward(())
        results.append([np.empty(shape, "float32") for shape in shapes[:2]])
        for one, out in zip(layer.bound.dbottoms[:2], results[-1], strict=True):
            backend.download(one, out)
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def trained(backend, precision="float32"):
    """Train two layers with the same parameters, one upon the other, and an RNN."""
    filler = dict(type="gaussian", std=0.3)
    options = dict(num_output=6, weight_filler=filler)
    n = NetSpec()
    n.data, n.cont = L.Input(shape=[5, 3, 6]), L.Input(shape=[5, 3])
    n.target = L.Input(shape=[5, 3, 6])
    names = [dict(name=name) for name in ("x", "b", "h")]
    n.low = L.LSTM(n.data, n.cont, recurrent_param=options, param=names)
    n.high = L.LSTM(n.low, n.cont, recurrent_param=options, param=names)
    n.rnn = L.RNN(n.high, n.cont, recurrent_param=options)
    n.loss = L.EuclideanLoss(n.rnn, n.target)
    param = SolverParameter(base_lr=0.1, momentum=0.9, lr_policy="fixed")
    param.net_param.CopyFrom(n.to_proto())
    solver = runtime.Solver(param, backend=backend, seed=3)
    rng = np.random.default_rng(2)
    for name in ("data", "target"):
        solver.net.blobs[name].data[...] = 0.5 * rng.normal(size=(5, 3, 6))
    solver.net.blobs["cont"].data[...] = rng.integers(2, size=(5, 3))
    solver.step(5)
    return [record.loss for record in solver.history.train], solver.net


def test_training_is_that_of_the_portable_kernels(cuda):
    want, net = trained("portable")
    got, other = trained(cuda.name)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    for name, blobs in net.params.items():
        for slot, blob in enumerate(blobs):
            one = other.params[name][slot].data
            np.testing.assert_allclose(one, blob.data, atol=1e-5, rtol=0)
