"""LSTMUnit, one step of an LSTM by itself, on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.recurrent import LSTMUnit as LSTMUnitOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.layers.recurrent_gates import lstm_gradient, lstm_unit
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.panel import ZERO
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel

ONE: Any = np.float32(1)


@kernel("pre gates c_before c tanh_c h cont streams size keeps")
def unit(record: Any, part: int, parts: int) -> None:
    """Compute c = cont f c' + i g and h = o tanh(c).

    Fields:
        pre, gates: (streams, 4 size), the gates' inputs, and the gates.
        c_before, c, tanh_c, h: (streams, size).
        cont: (streams,).
        keeps: 1 to store the gates and tanh_c, which the gradient needs.
    """
    a = carray(record, 1)[0]
    row = (a.size + LANES - 1) // LANES
    total = a.streams * row
    for number in range(total * part // parts, total * (part + 1) // parts):
        n, j = number // row, number % row * LANES
        at = 4 * (n * a.size + j)
        wide = 4 * (4 * n * a.size + j)
        lstm_unit(
            a.pre + wide,
            a.gates + wide,
            4 * a.size,
            a.c_before + at,
            a.c + at,
            a.tanh_c + at,
            a.h + at,
            a.h + at,
            f32(a.cont)[n],
            ONE,
            a.size - j,
            a.keeps,
        )


@kernel("gates dgates c_before tanh_c dh dc dc_before zeros streams size")
def unit_gradient(record: Any, part: int, parts: int) -> None:
    """Compute the gradients of the gates' inputs and of c'.

    Fields:
        gates, dgates: (streams, 4 size).
        c_before, tanh_c, dc_before: (streams, size).
        dh, dc: (streams, size), or 0 for zeros.
        zeros: (streams, size), scratch.
    """
    a = carray(record, 1)[0]
    row = (a.size + LANES - 1) // LANES
    total = a.streams * row
    for number in range(total * part // parts, total * (part + 1) // parts):
        n, j = number // row, number % row * LANES
        at = 4 * (n * a.size + j)
        wide = 4 * (4 * n * a.size + j)
        none = f32(a.zeros + at)
        for k in range(min(LANES, a.size - j)):
            none[k] = ZERO
        lstm_gradient(
            a.gates + wide,
            a.dgates + wide,
            4 * a.size,
            a.c_before + at,
            a.tanh_c + at,
            (a.zeros if a.dh == 0 else a.dh) + at,
            a.zeros + at,
            (a.zeros if a.dc == 0 else a.dc) + at,
            a.dc_before + at,
            ZERO,
            a.size - j,
        )


class LSTMUnit(LayerKernel[LSTMUnitOp]):
    """One step of an LSTM from the inputs of its gates; see the portable kernel."""

    options = ("num_output",)

    @classmethod
    def suits(cls, op: LSTMUnitOp) -> bool:
        """Whether there is something to compute."""
        return count(op.bottoms[0]) > 0

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for what the gradient needs, and room for gradients nobody wants."""
        if not self.node.backward:
            return {}
        state, gates = self.op.bottoms[:2]
        return {
            "gates": ArraySpec(gates, life="saved"),
            "tanh c": ArraySpec(state, life="saved"),
            "zeros": ArraySpec(state),
            "dc": ArraySpec(state),
            "dgates": ArraySpec(gates),
        }

    @property
    def _sizes(self) -> dict[str, Any]:
        _, streams, size = self.op.bottoms[0]
        serial = few(4 * streams * size)
        return {"streams": streams, "size": size, "serial": serial}

    def forward_calls(self) -> list[Call]:
        """Compute c and h."""
        keeps = self.node.backward
        one = unit(
            pre=self.bottoms[1],
            gates=self.work["gates"] if keeps else 0,
            c_before=self.x,
            c=self.tops[0],
            tanh_c=self.work["tanh c"] if keeps else 0,
            h=self.tops[1],
            cont=self.bottoms[2],
            keeps=keeps,
            **self._sizes,
        )
        return [one]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients; a top without gradient counts as 0."""
        dc_before, dgates = self.dbottoms[:2]
        if dc_before is None and dgates is None:
            return []
        work = self.work
        dc, dh = (0 if one is None else one for one in self.dtops)
        one = unit_gradient(
            gates=work["gates"],
            dgates=work["dgates"] if dgates is None else dgates,
            c_before=self.x,
            tanh_c=work["tanh c"],
            dh=dh,
            dc=dc,
            dc_before=work["dc"] if dc_before is None else dc_before,
            zeros=work["zeros"],
            **self._sizes,
        )
        return [one]
