"""LSTM, RNN and LSTMUnit, unrolled into layers that all readers know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, doubtful, refused

MAX_BYTES = 1 << 28  # of recurrent weights, which every step holds once more


class _Unrolled:
    """The layers of a sequence: what all steps share, before and behind them."""

    def __init__(self, place: Place) -> None:
        self.form, op = Form(place), place.op
        self.steps, self.streams, self.size = op.timesteps, op.streams, op.num_output
        self.static, self.exposed = op.static, op.expose_hidden
        self.bottoms = list(place.layer.bottom)
        self.shapes = place.bottoms
        self.arrays: list[Any] = place.values

    def inputs(self) -> list[str]:
        """Return W_x x + b, and what comes of the static input, for each step."""
        weights, bias = self.arrays[:2]
        rows = self.steps * self.streams
        shape = (rows, math.prod(self.shapes[0][2:]))
        x = self.form.reshape("input", self.bottoms[0], shape)
        parts = self.cut("gates", self.form.product("input_gates", x, weights, bias))
        if not self.static:
            return parts
        shape = (self.streams, math.prod(self.shapes[2][1:]))
        x = self.form.reshape("static", self.bottoms[2], shape)
        static = self.form.product("static_gates", x, self.arrays[2])
        return [self.form.both("all_gates", "SUM", part, static) for part in parts]

    def continues(self) -> list[str]:
        """Return cont, as wide as a state, for each step."""
        rows = self.steps * self.streams
        column = self.form.reshape("cont", self.bottoms[1], (rows, 1))
        wide = self.form.product("cont_wide", column, np.ones((self.size, 1)))
        return self.cut("cont_step", wide)

    def cut(self, suffix: str, rows: str) -> list[str]:
        """Return the rows of each step."""
        if self.steps == 1:
            return [rows]
        ends = [self.streams * step for step in range(1, self.steps)]
        return self.form.slices(suffix, rows, 0, ends)

    def states(self, count: int, like: str) -> list[str]:
        """Return the initial states, of 0 where they are not exposed."""
        if not self.exposed:
            return [self.form.power("start", like, 0)] * count
        return [
            self.form.reshape("start", bottom, (self.streams, self.size))
            for bottom in self.bottoms[-count:]
        ]

    def joined(self, outputs: Sequence[str]) -> str:
        """Return the rows of all steps."""
        if len(outputs) == 1:
            return outputs[0]
        return self.form.put("steps", "Concat", outputs, concat_param={"axis": 0})

    def end(self, output: str, states: Sequence[str]) -> list[Made]:
        """Return the layers, with the output and the exposed states as tops."""
        shape = (self.steps, self.streams, self.size)
        tops = [self.form.reshape("output", output, shape)]
        if self.exposed:
            last = (1, *shape[1:])
            tops += [self.form.reshape("last", state, last) for state in states]
        return self.form.end(*tops)


def _unit(form: Form, c: str, gates: str, cont: str, size: int) -> tuple[str, str]:
    """Add a step of an LSTM, with rows of cont as wide as c; return c and h."""
    sigmoids, g = form.slices("gate", gates, 1, [3 * size])
    sigmoids = form.put("sigmoid", "Sigmoid", sigmoids)
    i, f, o = form.slices("gate", sigmoids, 1, [size, 2 * size])
    g = form.put("tanh", "TanH", g)
    kept = form.both("forget", "PROD", f, form.both("c_cont", "PROD", c, cont))
    c = form.both("c", "SUM", kept, form.both("new", "PROD", i, g))
    return c, form.both("h", "PROD", o, form.put("c_tanh", "TanH", c))


def _lstm(place: Place) -> list[Made]:
    net = _Unrolled(place)
    form, weights = net.form, net.arrays[-1]
    gates, conts = net.inputs(), net.continues()
    h, c = net.states(2, conts[0])
    outputs = []
    for gate, cont in zip(gates, conts, strict=True):
        kept = form.both("h_cont", "PROD", h, cont)
        hidden = form.product("hidden", kept, weights)
        c, h = _unit(form, c, form.both("sum", "SUM", gate, hidden), cont, net.size)
        outputs.append(h)
    return net.end(net.joined(outputs), (h, c))


def _rnn(place: Place) -> list[Made]:
    net = _Unrolled(place)
    form, (weights, out, bias) = net.form, net.arrays[-3:]
    gates, conts = net.inputs(), net.continues()
    (h,) = net.states(1, conts[0])
    hidden = []
    for gate, cont in zip(gates, conts, strict=True):
        kept = form.product("hidden", form.both("h_cont", "PROD", h, cont), weights)
        h = form.put("h", "TanH", form.both("sum", "SUM", gate, kept))
        hidden.append(h)
    y = form.product("out", net.joined(hidden), out, bias)
    return net.end(form.put("out_tanh", "TanH", y), (h,))


def _lstm_unit(place: Place) -> list[Made]:
    form, (_, streams, size) = Form(place), place.tops[0]
    c, gates, cont = place.layer.bottom
    c = form.reshape("state", c, (streams, size))
    gates = form.reshape("gates", gates, (streams, 4 * size))
    column = form.reshape("cont", cont, (streams, 1))
    wide = form.product("cont_wide", column, np.ones((size, 1)))
    tops = _unit(form, c, gates, wide, size)
    return form.end(*(form.reshape("shape", x, place.tops[0]) for x in tops))


def _nbytes(place: Place) -> int:
    size = place.op.num_output
    wide = 4 * size if place.type == "LSTM" else size
    return int(4 * place.op.timesteps * wide * size)


_REFUSED = {"opencv": refused("refuses it"), "mnn": refused("has none")}

RULES = (
    Rule(
        name="state-between-calls",
        types=("LSTM", "RNN"),
        says="a state that goes on from one call to the next",
        readers={
            reader: doubtful(
                "begins with 0 at each call, even where cont is 1 at its first step; "
                "expose_hidden gives the state as inputs and outputs"
            )
            for reader in (*_REFUSED, "rknn")
        },
        applies=lambda place: not place.op.expose_hidden,
    ),
    Rule(
        name="sequence",
        types=("LSTM", "RNN"),
        says="a sequence with cont",
        readers={"ncnn": doubtful("takes one stream and heeds cont at its start only")},
        applies=lambda _: True,
    ),
    Rule(
        name="long-sequence",
        types=("LSTM", "RNN"),
        says=f"more than {MAX_BYTES >> 20} MiB of recurrent weights in all steps",
        readers=_REFUSED,
        applies=lambda place: _nbytes(place) > MAX_BYTES,
    ),
    Rule(
        name="lstm",
        types=("LSTM",),
        says="LSTM",
        readers={**_REFUSED, "rknn": refused()},
        applies=lambda place: _nbytes(place) <= MAX_BYTES,
        rewrite=_lstm,
        instead="its steps, one behind the other",
        needs_values=True,
    ),
    Rule(
        name="rnn",
        types=("RNN",),
        says="RNN",
        readers=_REFUSED,
        applies=lambda place: _nbytes(place) <= MAX_BYTES,
        rewrite=_rnn,
        instead="its steps, one behind the other",
        needs_values=True,
    ),
    Rule(
        name="lstm-unit",
        types=("LSTMUnit",),
        says="LSTMUnit",
        readers=_REFUSED,
        applies=lambda _: True,
        rewrite=_lstm_unit,
        instead="its gates",
        needs_values=True,
    ),
)
