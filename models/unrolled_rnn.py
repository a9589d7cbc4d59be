"""The recurrence of `lstm_sequence.py`, unrolled: one module for each step.

    python -m netspec.export models/unrolled_rnn.py -o unrolled.prototxt
    python -m netspec.export models/unrolled_rnn.py --set cell=rnn -o unrolled.prototxt
    python -m netspec.export models/unrolled_rnn.py --deploy -o unrolled_deploy.prototxt

All steps share their weights, whose gradients add up. The
layers LSTM and RNN do the same inside; here every step can be looked at and changed.
Unlike them it starts every batch from zero, whatever `cont` says, and so remembers
nothing from the one before. The cell `rnn` has its states as outputs, where the layer
RNN has another product behind them. With --deploy: symbols in, probabilities out.
"""

from collections.abc import Callable
from typing import Literal

from lstm_sequence import UNIFORM, embed, judge, read, score

from netspec import NetSpec, Top, module, shared
from netspec import layers as L

Cell = Literal["lstm", "rnn"]


def unrolled_rnn(
    batch_size: int = 20,
    streams: int = 16,
    cell: Cell = "lstm",
    symbols: int = 32,
    width: int = 64,
    source: str = "sequences_train.txt",
    test_source: str = "sequences_test.txt",
) -> NetSpec:
    """Return the net for training and testing, with data as `lstm_sequence` has them.

    batch_size: the number of steps. streams: the number of columns of the data.
    """
    n = NetSpec("UnrolledRNN")
    read(n, batch_size, source, test_source)
    embed(n, symbols, width)
    unroll(n, cell, batch_size, streams, width)
    score(n, symbols)
    judge(n)
    return n


def deploy(
    batch_size: int = 20,
    streams: int = 1,
    cell: Cell = "lstm",
    symbols: int = 32,
    width: int = 64,
) -> NetSpec:
    """Return the net for use; batch_size is the number of steps."""
    n = NetSpec("UnrolledRNN")
    steps = [batch_size, streams]
    n.cont, n.input = L.Input(shape=[dict(dim=steps), dict(dim=steps)], ntop=2)
    embed(n, symbols, width)
    unroll(n, cell, batch_size, streams, width)
    score(n, symbols)
    n.prob = L.Softmax(n.scores, axis=2)
    return n


def unroll(n: NetSpec, cell: Cell, steps: int, streams: int, width: int) -> None:
    """Add `steps` steps from `n.embedded` to what they put out, `n.h` (T, N, width)."""
    cell_step, gates, states = CELLS[cell]
    step = shared(cell_step)
    n.x = L.InnerProduct(
        n.embedded,
        num_output=gates * width,
        axis=2,
        **UNIFORM,
        bias_filler=0,
        param=[dict(name="W_x"), dict(name="b")],
    )
    cuts = dict(axis=0, ntop=steps)
    xs, conts = L.Slice(n.x, **cuts, name="xs"), L.Slice(n.cont, **cuts, name="conts")
    for name in states:
        n[f"{name}_start"] = L.DummyData(shape=[1, streams, width])  # zeros
    state = [n[f"{name}_start"] for name in states]
    outputs = []
    for t, (x, cont) in enumerate(zip(xs, conts, strict=True)):
        n[f"x{t}"], n[f"cont{t}"] = x, cont
        n[f"step{t}"] = m = step(x, cont, *state, width)
        state = [m[name] for name in states]
        outputs.append(m.h)
    for unread in state[1:]:
        n.silence = L.Silence(unread)
    n.h = L.Concat(*outputs, axis=0)


@module
def lstm(x: Top, cont: Top, h: Top, c: Top, width: int) -> NetSpec:
    """Return one step of a long short-term memory.

    c' = f (cont c) + i g, h' = o tanh(c'), where x + W_h (cont h) is what goes into the
    gates i, f, o and g.
    """
    m = NetSpec()
    m.gates = L.Eltwise(x, recurrent(m, h, cont, 4 * width))
    m.c, m.h = L.LSTMUnit(c, m.gates, cont, name="unit", ntop=2)
    return m


@module
def rnn(x: Top, cont: Top, h: Top, width: int) -> NetSpec:
    """Return one step of a simple recurrence: h' = tanh(x + W_h (cont h))."""
    m = NetSpec()
    m.sum = L.Eltwise(x, recurrent(m, h, cont, width))
    m.h = L.TanH(m.sum)
    return m


def recurrent(m: NetSpec, h: Top, cont: Top, width: int) -> Top:
    """Add the product of the state with its weights, W_h (cont h)."""
    m.kept = L.Scale(h, cont, axis=0)
    m.recurrent = L.InnerProduct(
        m.kept,
        num_output=width,
        axis=2,
        bias_term=False,
        **UNIFORM,
    )
    return m.recurrent


# The step of every cell, its gates, and the names of its states.
CELLS: dict[str, tuple[Callable[..., NetSpec], int, str]] = {
    "lstm": (lstm, 4, "hc"),
    "rnn": (rnn, 1, "h"),
}
