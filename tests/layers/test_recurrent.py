"""LSTM, RNN and LSTMUnit against loops over steps and streams."""

import numpy as np
import pytest

from tests.layers.harness import LoneLayer, allocated_bytes, check_layer

STEPS, STREAMS, INPUTS, UNITS, STATIC = 4, 3, 5, 2, 6
X, S, STATE = (STEPS, STREAMS, INPUTS), (STREAMS, STATIC), (1, STREAMS, UNITS)
# Every stream begins at the first step; one goes on to the end, the others begin anew.
CONT = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 1], [1, 1, 0]], float)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unit(c, gates, cont):
    """Return c and h of one stream."""
    size = len(c)
    i, f, o = (sigmoid(gates[n * size : (n + 1) * size]) for n in range(3))
    c = cont * f * c + i * np.tanh(gates[3 * size :])
    return c, o * np.tanh(c)


def split(op, arguments):
    """Return x, cont, static or None, initial states and parameters."""
    rest = list(arguments[2:])
    static = rest.pop(0) if op.static else None
    states = [rest.pop(0)[0] for _ in op.tops[1:]]
    return *arguments[:2], static, states, rest


def lstm(op, *arguments):
    x, cont, static, states, params = split(op, arguments)
    wx, b, wh = params[0], params[1], params[-1]
    hs, cs = states or (np.zeros(STATE[1:]), np.zeros(STATE[1:]))
    y = np.zeros(op.tops[0])
    final = np.zeros((2, *STATE))
    for n in range(STREAMS):
        h, c = hs[n], cs[n]
        for t in range(STEPS):
            gates = wx @ x[t, n].ravel() + b + wh @ (cont[t, n] * h)
            if static is not None:
                gates = gates + params[2] @ static[n]
            c, h = unit(c, gates, cont[t, n])
            y[t, n] = h
        final[:, 0, n] = h, c
    return (y, *final) if states else y


def rnn(op, *arguments):
    x, cont, static, states, params = split(op, arguments)
    wx, b = params[:2]
    wh, wo, bo = params[-3:]
    hs = states[0] if states else np.zeros(STATE[1:])
    y, final = np.zeros(op.tops[0]), np.zeros(STATE)
    for n in range(STREAMS):
        h = hs[n]
        for t in range(STEPS):
            pre = wx @ x[t, n].ravel() + b + wh @ (cont[t, n] * h)
            if static is not None:
                pre = pre + params[2] @ static[n]
            h = np.tanh(pre)
            y[t, n] = np.tanh(wo @ h + bo)
        final[0, n] = h
    return (y, final) if states else y


TYPES = {"LSTM": (lstm, 2), "RNN": (rnn, 1)}


def text(type_, exposed=0):
    tops = " ".join(f'top: "top{n}"' for n in range(1 + exposed))
    expose = "true" if exposed else "false"
    return (
        f'type: "{type_}" {tops} '
        f"recurrent_param {{ num_output: {UNITS} expose_hidden: {expose} }}"
    )


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("static", [[], [S]])
@pytest.mark.parametrize("x", [X, (STEPS, STREAMS, 1, INPUTS)])
def test_sequences_run_through_every_stream(backend, type_, static, x):
    bottoms = [x, CONT, *static]
    check_layer(text(type_), bottoms, TYPES[type_][0], backend=backend)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("static", [[], [S]])
def test_exposed_states_come_in_and_go_out_without_gradient(backend, type_, static):
    reference, states = TYPES[type_]
    bottoms = [X, CONT * 0.5 + 0.5, *static, *[STATE] * states]
    check_layer(
        text(type_, states), bottoms, reference, backend=backend, gradient=False
    )
    layer = LoneLayer(
        text(type_, states),
        [X, CONT.shape, *static, *[STATE] * states],
        backend=backend,
    )
    assert layer.differentiable == (
        True,
        False,
        *[True] * len(static),
        *[False] * states,
    )


@pytest.mark.parametrize("type_", TYPES)
def test_gradient_of_exposed_layer_ignores_the_final_states(backend, type_):
    states = TYPES[type_][1]
    rng = np.random.default_rng(2)
    x, dy = rng.normal(size=X), rng.normal(size=(STEPS, STREAMS, UNITS))
    plain = LoneLayer(text(type_), [X, CONT.shape], backend=backend)
    params = [rng.normal(size=one.shape) for one in plain.op.params]
    plain.forward([x, CONT], params)
    wanted = plain.backward([dy])
    shapes = [X, CONT.shape, *[STATE] * states]
    exposed = LoneLayer(text(type_, states), shapes, backend=backend)
    zeros = [np.zeros(STATE)] * states
    exposed.forward([x, CONT, *zeros], params)
    got = exposed.backward([dy, *[np.full(STATE, 7.0)] * states])
    np.testing.assert_allclose(got[0][0], wanted[0][0], rtol=1e-12)
    for mine, other in zip(got[1], wanted[1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)


@pytest.mark.parametrize("type_", TYPES)
def test_state_carries_over_to_the_next_forward(backend, type_):
    reference = TYPES[type_][0]
    rng = np.random.default_rng(4)
    x = rng.normal(size=X)
    halves = LoneLayer(
        text(type_),
        [(STEPS // 2, STREAMS, INPUTS), (STEPS // 2, STREAMS)],
        backend=backend,
    )
    params = [rng.normal(size=one.shape) for one in halves.op.params]
    whole = LoneLayer(text(type_), [X, CONT.shape], backend=backend)
    wanted = reference(whole.op, x, CONT, *params)
    for at in (slice(0, STEPS // 2), slice(STEPS // 2, STEPS)):
        (y,) = halves.forward([x[at], CONT[at]], params)
        np.testing.assert_allclose(y, wanted[at], rtol=1e-10)


def one_step(op, c, gates, cont):
    pairs = [unit(c[0, n], gates[0, n], cont[0, n]) for n in range(len(cont[0]))]
    return np.array([[p[0] for p in pairs]]), np.array([[p[1] for p in pairs]])


UNIT = 'type: "LSTMUnit" top: "c" top: "h"'


def test_unit_computes_one_step(backend):
    bottoms = [(1, 3, 2), (1, 3, 8), np.array([[0.0, 1.0, 1.0]])]
    check_layer(UNIT, bottoms, one_step, backend=backend)


def test_forget_gate_takes_a_fractional_cont_into_its_slope(backend):
    def gradient(op, dtops, c, gates, cont):
        size = c.shape[2]
        i, f, o = (sigmoid(gates[..., n * size : (n + 1) * size]) for n in range(3))
        f = f * cont[..., None]
        g = np.tanh(gates[..., 3 * size :])
        new = f * c + i * g
        dc = dtops[0] + dtops[1] * o * (1 - np.tanh(new) ** 2)
        parts = [
            dc * g * i * (1 - i),
            dc * c * f * (1 - f),
            dtops[1] * np.tanh(new) * o * (1 - o),
            dc * i * (1 - g**2),
        ]
        return [dc * f, np.concatenate(parts, axis=2), None], []

    bottoms = [(1, 3, 2), (1, 3, 8), np.array([[0.25, 0.5, 1.0]])]
    check_layer(UNIT, bottoms, one_step, backend=backend, gradient=gradient)


@pytest.mark.parametrize("type_", TYPES)
def test_steps_allocate_nothing(backend, type_):
    shapes = [(9, 30, 40), (9, 30), (30, 70)]
    layer = text(type_).replace(f"num_output: {UNITS}", "num_output: 50")
    assert allocated_bytes(layer, shapes, backend=backend) < 4096
    assert (
        allocated_bytes(UNIT, [(1, 9, 50), (1, 9, 200), (1, 9)], backend=backend) < 4096
    )
