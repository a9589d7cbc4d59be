"""The compiled steps of LSTM and RNN, forward and backward.

A step is divided by hidden units, a panel of columns of each gate, so that the product
with the state before and what the units make of it are one kernel. Where there are few
panels the streams are divided too. What a step keeps between its kernels, `hold`, is
the state before times cont.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.layers.recurrent_gates import (
    lstm_gradient,
    lstm_unit,
    tanh_unit,
)
from runtime.backends.cpu.machine.compiled import carray, helper, kernel
from runtime.backends.cpu.machine.gemm import share
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.panel import (
    LOWEST,
    PANEL,
    PANEL_ROW,
    TILE_ROWS,
    ZERO,
    multiply_panel,
)
from runtime.backends.cpu.machine.simd import copy, f32

ONE: Any = np.float32(1)
STATE_TERMS = 4096 // PANEL  # of a panel that stay in half a first-level cache
MANY_ROWS = 4 * TILE_ROWS  # from which on that pays

# The fields of every step.
#
#   packed, panel_bytes: the weights of the state, as `gemm` packs them
#   streams, size: N and D
#   shares: into which the streams of a panel are divided
#   row: bytes from one stream of `pre`, `dpre` or of a gradient of them to the next
STEP = "packed panel_bytes streams size shares row "


@helper
def _unit(a: Any, number: int) -> tuple[int, int, int, int]:
    """Return the panel of a share of a step, its columns, and its streams."""
    panel = number // a.shares
    low, high = share(number % a.shares, a.shares, a.streams, TILE_ROWS)
    return panel, min(PANEL, a.size - panel * PANEL), low, high


@helper
def _units(a: Any) -> int:
    return (a.size + PANEL - 1) // PANEL * a.shares


@helper
def _add_state(a: Any, panel: int, c: int, columns: int, low: int, high: int) -> None:
    """Add the product of some streams' states with a panel to c, in rows as `pre`.

    For many streams terms are taken some at a time, so that tiles find the panel near.
    """
    terms = STATE_TERMS if high - low >= MANY_ROWS else a.size
    for k in range(0, a.size, terms):
        multiply_panel(
            a.hold + low * a.hold_row + 4 * k,
            a.hold_row,
            4,
            a.packed + panel * a.panel_bytes + k * PANEL_ROW,
            min(terms, a.size - k),
            c,
            a.row,
            high - low,
            columns,
            c,
            a.row,
            TILE_ROWS * a.row,
            LOWEST,
        )


@kernel("h cont hold hold_row streams size")
def hold_state(record: Any, part: int, parts: int) -> None:
    """Compute hold = cont h ahead of the first step.

    Fields:
        h: (streams, size).
        cont: (streams,).
        hold: (streams, size), `hold_row` bytes from one row to the next.
    """
    a = carray(record, 1)[0]
    for n in range(part, a.streams, parts):
        h, hold = f32(a.h + 4 * n * a.size), f32(a.hold + n * a.hold_row)
        cont = f32(a.cont)[n]
        for j in range(a.size):
            hold[j] = h[j] * cont


@kernel("pre pre_row static steps streams columns")
def add_static(record: Any, part: int, parts: int) -> None:
    """Add rows to those of every step.

    Fields:
        pre: (steps, streams, columns); `pre_row` bytes from one row to the next.
        static: (streams, columns), with the same distance between rows.
    """
    a = carray(record, 1)[0]
    rows = a.steps * a.streams
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        pre = f32(a.pre + row * a.pre_row)
        static = f32(a.static + row % a.streams * a.pre_row)
        for j in range(a.columns):
            pre[j] += static[j]


@kernel(
    STEP + "pre hold hold_after hold_row cont cont_after c_before c tanh_c h "
    "final_h final_c keeps"
)
def lstm_step(record: Any, part: int, parts: int) -> None:
    """Compute one step of an LSTM.

    Fields, beside those of `STEP`:
        pre: (streams, 4 size), the gates' inputs but for the state's; then the gates.
        hold, hold_after: (streams, size), cont times the state before, and what that is
            for the next step; `hold_row` bytes from one row to the next.
        cont, cont_after: (streams,).
        c_before, c, tanh_c, h: (streams, size); the first two may be one.
        keeps: 1 to store the gates and tanh_c, which the gradient needs.
        final_h, final_c: (streams, size), for copies of h and c, or 0.
    """
    a = carray(record, 1)[0]
    panels = (a.size + PANEL - 1) // PANEL
    units = _units(a)
    gate_bytes = 4 * a.size
    for number in range(units * part // parts, units * (part + 1) // parts):
        panel, columns, low, high = _unit(a, number)
        first = 4 * panel * PANEL
        for gate in range(4):
            c = a.pre + low * a.row + gate * gate_bytes + first
            _add_state(a, gate * panels + panel, c, columns, low, high)
        for n in range(low, high):
            at = first + n * gate_bytes
            for j in range(0, columns, LANES):
                pre = a.pre + n * a.row + first + 4 * j
                lstm_unit(
                    pre,
                    pre,
                    gate_bytes,
                    a.c_before + at + 4 * j,
                    a.c + at + 4 * j,
                    a.tanh_c + at + 4 * j,
                    a.h + at + 4 * j,
                    a.hold_after + n * a.hold_row + first + 4 * j,
                    f32(a.cont)[n],
                    f32(a.cont_after)[n],
                    columns - j,
                    a.keeps,
                )
            if a.final_h != 0:
                copy(a.final_h + at, a.h + at, columns)
                copy(a.final_c + at, a.c + at, columns)


@helper
def _carry(a: Any, panel: int, columns: int, low: int, high: int, terms: int) -> None:
    """Compute the gradient of the state behind a step, dpre W, or 0 where none is."""
    carry = a.carry + low * a.carry_row + 4 * panel * PANEL
    for n in range(high - low):
        row = f32(carry + n * a.carry_row)
        for j in range(columns):
            row[j] = ZERO
    if a.after != 0:
        multiply_panel(
            a.after + low * a.row,
            a.row,
            4,
            a.packed + panel * a.panel_bytes,
            terms,
            carry,
            a.carry_row,
            high - low,
            columns,
            carry,
            a.carry_row,
            TILE_ROWS * a.carry_row,
            LOWEST,
        )


@kernel(
    STEP + "pre dpre after carry carry_row cont_after dy c_before tanh_c dc",
)
def lstm_step_gradient(record: Any, part: int, parts: int) -> None:
    """Compute the gradient of the gates' inputs of one step.

    Fields, beside those of `STEP`:
        pre: (streams, 4 size), the gates.
        dpre, after: (streams, 4 size), the result, and that of the step behind, or 0.
        carry: (streams, size), scratch, `carry_row` bytes from one row to the next.
        cont_after: (streams,), of the step behind.
        dy, c_before, tanh_c: (streams, size).
        dc: (streams, size), from the step behind to the one before.
    """
    a = carray(record, 1)[0]
    units = _units(a)
    gate_bytes = 4 * a.size
    for number in range(units * part // parts, units * (part + 1) // parts):
        panel, columns, low, high = _unit(a, number)
        first = 4 * panel * PANEL
        _carry(a, panel, columns, low, high, 4 * a.size)
        for n in range(low, high):
            at = first + n * gate_bytes
            if a.after == 0:
                dc = f32(a.dc + at)
                for j in range(columns):
                    dc[j] = ZERO
            for j in range(0, columns, LANES):
                lstm_gradient(
                    a.pre + n * a.row + first + 4 * j,
                    a.dpre + n * a.row + first + 4 * j,
                    gate_bytes,
                    a.c_before + at + 4 * j,
                    a.tanh_c + at + 4 * j,
                    a.dy + at + 4 * j,
                    a.carry + n * a.carry_row + first + 4 * j,
                    a.dc + at + 4 * j,
                    a.dc + at + 4 * j,
                    f32(a.cont_after)[n],
                    columns - j,
                )


@kernel(STEP + "pre hold hold_after hold_row cont_after final")
def rnn_step(record: Any, part: int, parts: int) -> None:
    """Compute one step of an RNN, h = tanh(pre + hold W).

    Fields, beside those of `STEP`:
        pre: (streams, size), replaced by h.
        hold, hold_after: (streams, size), cont times the state before, and what that is
            for the next step; `hold_row` bytes from one row to the next.
        cont_after: (streams,).
        final: (streams, size), for a copy of h, or 0.
    """
    a = carray(record, 1)[0]
    units = _units(a)
    for number in range(units * part // parts, units * (part + 1) // parts):
        panel, columns, low, high = _unit(a, number)
        first = 4 * panel * PANEL
        c = a.pre + low * a.row + first
        _add_state(a, panel, c, columns, low, high)
        for n in range(low, high):
            h = a.pre + n * a.row + first
            held = a.hold_after + n * a.hold_row + first
            for j in range(0, columns, LANES):
                tanh_unit(h + 4 * j, held + 4 * j, f32(a.cont_after)[n], columns - j)
            if a.final != 0:
                copy(a.final + 4 * n * a.size + first, h, columns)


@kernel(STEP + "h dpre after carry carry_row cont_after")
def rnn_step_gradient(record: Any, part: int, parts: int) -> None:
    """Compute the gradient of what enters h of one step.

    Fields, beside those of `STEP`:
        h: (streams, size).
        dpre: (streams, size), the gradient of h by the output; replaced by the result.
        after: dpre of the step behind, or 0.
        carry: (streams, size), scratch, `carry_row` bytes from one row to the next.
        cont_after: (streams,), of the step behind.
    """
    a = carray(record, 1)[0]
    units = _units(a)
    for number in range(units * part // parts, units * (part + 1) // parts):
        panel, columns, low, high = _unit(a, number)
        first = 4 * panel * PANEL
        _carry(a, panel, columns, low, high, a.size)
        for n in range(low, high):
            h, dpre = f32(a.h + n * a.row + first), f32(a.dpre + n * a.row + first)
            carry, cont = f32(a.carry + n * a.carry_row + first), f32(a.cont_after)[n]
            for j in range(columns):
                dpre[j] = (dpre[j] + carry[j] * cont) * (ONE - h[j] * h[j])


@kernel("y count")
def tanh_in_place(record: Any, part: int, parts: int) -> None:
    """Compute y = tanh(y)."""
    a = carray(record, 1)[0]
    low, high = share(part, parts, a.count, LANES)
    for i in range(low, high, LANES):
        tanh_unit(a.y + 4 * i, a.y + 4 * i, ONE, high - i)


@kernel("y dy dx count")
def tanh_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = (1 - y^2) dy."""
    a = carray(record, 1)[0]
    y, dy, dx = f32(a.y), f32(a.dy), f32(a.dx)
    low, high = share(part, parts, a.count, LANES)
    for i in range(low, high):
        dx[i] = (ONE - y[i] * y[i]) * dy[i]
