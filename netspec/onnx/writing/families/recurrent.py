"""LSTM, RNN and LSTMUnit.

What enters the units is computed for all steps at once; a Scan goes through the steps
with the state. ONNX has LSTM and RNN of its own, but none that cont can reset within a
sequence.
"""

from __future__ import annotations

from netspec.errors import SpecWarning
from netspec.notebooks import warn_user
from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import count, label


@writes("LSTM")
def lstm(layer: Layer) -> list[Value]:
    """h, c of every step from gates i, f, o, g: c = cont f c' + i g, h = o tanh(c)."""
    entering, cont = _entering(layer), _cont(layer)
    hidden = layer.parameter(len(layer.op.params) - 1)
    states = _initial(layer, 2)
    with layer.body("h_before", "c_before", "entering", "cont") as body:
        h, c, gates, kept = body.inputs
        held = layer.add("Mul", h, kept)
        gates = layer.add("Gemm", held, hidden, gates, transB=1)
        h_after, c_after = _unit(layer, c, gates, kept)
        body.outputs = [h_after, c_after, layer.add("Identity", h_after)]
    h, c, y = layer.several(
        3, "Scan", *states, entering, cont, body=body, num_scan_inputs=2
    )
    return _tops(layer, y, [h, c])


@writes("RNN")
def rnn(layer: Layer) -> list[Value]:
    """Write h = tanh(W_h cont h' + what enters), then y = tanh(W_o h + b_o) at once."""
    op = layer.op
    entering, cont = _entering(layer), _cont(layer)
    last = len(op.params)
    hidden = layer.parameter(last - 3)
    states = _initial(layer, 1)
    with layer.body("h_before", "entering", "cont") as body:
        h, pre, kept = body.inputs
        held = layer.add("Mul", h, kept)
        h_after = layer.add("Tanh", layer.add("Gemm", held, hidden, pre, transB=1))
        body.outputs = [h_after, layer.add("Identity", h_after)]
    h, all_h = layer.several(
        2, "Scan", *states, entering, cont, body=body, num_scan_inputs=2
    )
    rows = layer.reshape(
        all_h,
        lambda op: (op.timesteps * op.streams, op.num_output),
        lambda op: (op.timesteps, op.streams, op.num_output),
    )
    out = layer.add(
        "Gemm", rows, layer.parameter(last - 2), layer.parameter(last - 1), transB=1
    )
    y = layer.reshape(
        layer.add("Tanh", out),
        lambda op: (op.timesteps, op.streams, op.num_output),
        lambda op: (op.timesteps * op.streams, op.num_output),
    )
    return _tops(layer, y, [h])


@writes("LSTMUnit")
def lstm_unit(layer: Layer) -> list[Value]:
    """Write one step, with the axis of time in front."""
    c, gates, cont = layer.bottoms
    kept = layer.add("Unsqueeze", cont, layer.integers(2))
    h, c = _unit(layer, c, gates, kept)
    return [c, h]


def _unit(layer: Layer, c: Value, gates: Value, kept: Value) -> tuple[Value, Value]:
    """Return h and c after a step; the gates lie along the last axis."""
    size = layer.op.num_output
    squashed, g = layer.several(
        2, "Split", gates, layer.integers(3 * size, size), axis=-1
    )
    squashed = layer.add("Sigmoid", squashed)
    sizes = layer.integers(size, size, size)
    i, f, o = layer.several(3, "Split", squashed, sizes, axis=-1)
    forgotten = layer.add("Mul", layer.add("Mul", f, kept), c)
    c = layer.add("Add", layer.add("Mul", i, layer.add("Tanh", g)), forgotten)
    return layer.add("Mul", o, layer.add("Tanh", c)), c


def _entering(layer: Layer) -> Value:
    """Return W_x x + b, and the static input's part: (T, N, width)."""
    width = layer.op.params[1].shape[0]
    x = layer.reshape(
        layer.x,
        lambda op: (op.timesteps * op.streams, count(op.bottoms[0], 2)),
    )
    rows = layer.add("Gemm", x, layer.parameter(0), layer.parameter(1), transB=1)
    steps = layer.reshape(
        rows,
        lambda op: (op.timesteps, op.streams, width),
        lambda op: (op.timesteps * op.streams, width),
    )
    if not layer.op.static:
        return steps
    static = layer.reshape(
        layer.bottoms[2],
        lambda op: (op.streams, count(op.bottoms[2], 1)),
        lambda op: op.bottoms[2],
    )
    part = layer.add("Gemm", static, layer.parameter(2), transB=1)
    return layer.add("Add", steps, part)


def _cont(layer: Layer) -> Value:
    """Return cont as (T, N, 1)."""
    return layer.add("Unsqueeze", layer.bottoms[1], layer.integers(2))


def _initial(layer: Layer, states: int) -> list[Value]:
    """Return the states before the first step, (N, D)."""
    op = layer.op
    if op.expose_hidden:
        given = layer.bottoms[-states:]
        return [layer.add("Squeeze", each, layer.integers(0)) for each in given]
    warn_user(
        f"{label(layer.node.layer)}: a model in ONNX begins every run with a state of "
        f"zeros, whatever cont is at the first step; Caffe goes on from the last pass. "
        f"Write expose_hidden: true to hand the state over yourself",
        SpecWarning,
    )
    streams = layer.same("the number of streams", lambda op: op.streams)
    zeros = layer.constant([[0.0] * op.num_output] * streams, hint="zeros")
    return [zeros] * states


def _tops(layer: Layer, y: Value, final: list[Value]) -> list[Value]:
    if not layer.op.expose_hidden:
        return [y]
    return [y, *(layer.add("Unsqueeze", each, layer.integers(0)) for each in final)]
