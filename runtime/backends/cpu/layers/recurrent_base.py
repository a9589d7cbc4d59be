"""What LSTM and RNN on compiled kernels have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeVar

from netspec.ops import recurrent as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.layers.elementwise import copied
from runtime.backends.cpu.layers.recurrent_code import (
    add_static,
    hold_state,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.gemm import sum_columns
from runtime.backends.cpu.machine.panel import PANEL, TILE_ROWS
from runtime.backends.cpu.machine.products import (
    SERIAL_PRODUCTS,
    Products,
    packed,
    packed_floats,
    panel_bytes,
    spread_row,
    workspace_bytes,
)
from runtime.backends.cpu.machine.sizes import few, round_up
from runtime.backends.layer_kernel import LayerKernel

OpT = TypeVar("OpT", ops.LSTM, ops.RNN)
CHUNK_FLOATS = 1 << 18  # of `pre` that are computed ahead of their steps


class Recurrent(LayerKernel[OpT]):
    """What LSTM and RNN share; see the portable kernels.

    The input of many steps is multiplied at once, a chunk that stays in the cache, and
    that of all steps for the gradients of weights and of the input. A step is a call;
    `pre` and `dpre` are (T, N, W), in rows that are longer than W, as `spread_row`
    says. Where no gradient is wanted, `pre` has one chunk.
    """

    options = ("num_output", "expose_hidden", "static", "timesteps", "streams")
    units: ClassVar[int] = 1  # W / D
    states: ClassVar[tuple[str, ...]] = ("h",)

    @classmethod
    def suits(cls, op: OpT) -> bool:
        """Whether there is something to compute."""
        return all(count(shape) > 0 for shape in (*op.bottoms, op.tops[0]))

    # ------------------------------------------------------------------ arrays

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for what all steps compute, packed weights, and scratch of one step."""
        op = self.op
        steps, streams, size = op.timesteps, op.streams, op.num_output
        self._row = spread_row(self.units * size)
        self._hold_row = spread_row(size)
        # The weights, and how they are packed, do not change from pass to pass.
        self._keeps = not self.train and not self.node.backward
        fitting = max(1, CHUNK_FLOATS // (streams * self._row))
        chunks = -(-steps // fitting)
        self._chunk = -(-steps // chunks)
        kept = steps if self.node.backward else self._chunk
        specs = {
            "pre": ArraySpec((kept, streams, self._row), life=self._life),
            "hold": ArraySpec((2, streams, self._hold_row)),
            "workspace": ArraySpec(
                (self.backend.threads * self._workspace_bytes(),), "uint8"
            ),
            **self._packed_specs(),
        }
        if op.static:
            specs["static"] = ArraySpec((streams, self._row))
        if self.node.backward:
            specs["dpre"] = ArraySpec((steps, streams, self._row))
        if not op.expose_hidden:
            for state in self.states:
                specs[f"initial {state}"] = ArraySpec((streams, size), life="state")
                specs[f"final {state}"] = ArraySpec((streams, size), life="state")
        return specs

    @property
    def _life(self) -> Literal["saved", "scratch"]:
        return "saved" if self.node.backward else "scratch"

    def _matrices(self) -> dict[str, tuple[int, int]]:
        """Return the slot of every matrix, and the groups of its rows."""
        static = {"static": (2, 1)} if self.op.static else {}
        return {"input": (0, 1), **static, "hidden": (2 + len(static), self.units)}

    def _packed_specs(self) -> dict[str, ArraySpec]:
        """Ask for packed weights: for all of them where they stay."""
        sizes: dict[str, int] = {}
        for name, (slot, groups) in self._matrices().items():
            rows, columns = self.op.params[slot].shape
            place = self._place(name)
            floats = packed_floats(columns, rows // groups, groups)
            sizes[place] = max(sizes.get(place, 0), floats)
            if self.node.backward:
                sizes["packed"] = max(sizes["packed"], packed_floats(rows, columns))
        if not self._keeps:
            return {name: ArraySpec((floats,)) for name, floats in sizes.items()}
        return {
            name: ArraySpec((floats,), life="state", content=name)
            for name, floats in sizes.items()
        }

    def _place(self, name: str) -> str:
        """Return the name of the array in which a matrix is packed for `forward`."""
        alone = self._keeps or name == "hidden"
        alone = alone or (name == "output" and not self.node.backward)
        return f"packed {name}" if alone else "packed"

    def _workspace_bytes(self) -> int:
        op = self.op
        shapes = [op.params[slot].shape for slot, _ in self._matrices().values()]
        times = [size for shape in shapes for size in shape]
        rows = op.timesteps * op.streams
        transposed = [(rows, shape[1]) for shape in shapes]
        if not self.node.backward:
            transposed = []
        return round_up(workspace_bytes(times, transposed), 64)

    def setup(self) -> None:
        """View sequences as rows, and find the states."""
        op, work = self.op, self.work
        rows, size = op.timesteps * op.streams, op.num_output
        self._products = Products(work["workspace"], self.backend.threads)
        self._x = self.x.reshape(rows, count(self.x.shape, 2))
        self._rows = work["pre"].reshape(-1, self._row)
        self._cont = self.bottoms[1]
        self._y = self.y.reshape(rows, size)
        flat = (op.streams, size)
        if op.expose_hidden:
            given = [*self.bottoms[-len(self.states) :]]
            final = [*self.tops[-len(self.states) :]]
        else:
            given = [work[f"initial {state}"] for state in self.states]
            final = [work[f"final {state}"] for state in self.states]
        self._initial = [state.reshape(flat) for state in given]
        self._final = [state.reshape(flat) for state in final]
        self._serial = (
            op.streams * count(self.params[self._matrices()["hidden"][0]].shape)
            < SERIAL_PRODUCTS
        )

    def go_on_from(self, other: Any) -> None:
        """Keep the states of the last pass where there are as many streams as then."""
        for state in () if self.op.expose_hidden else self.states:
            old, new = (kernel.work[f"final {state}"] for kernel in (other, self))
            if old.shape == new.shape:
                new[...] = old
            else:
                new.fill(0)

    # ------------------------------------------------------------------ products

    def _packed(self, name: str, *, ahead: bool) -> tuple[Call, Array]:
        """Return the call that packs a matrix for a pass, and where it lies then.

        ahead: for x W^T, else for dpre W.
        """
        slot, groups = self._matrices()[name]
        w = self.params[slot]
        rows, columns = w.shape
        if not ahead:
            target = self.work["packed"]
            return packed(w, target, rows, columns), target
        target = self.work[self._place(name)]
        call = packed(
            w,
            target,
            columns,
            rows // groups,
            groups=groups,
            transposed=True,
            constant=self._keeps,
        )
        return call, target

    def _times(
        self, name: str, x: Array, y: Array, bias: Array | None = None
    ) -> list[Call]:
        """Return the calls of y = x W^T + bias; the rows of both may be longer."""
        pack, target = self._packed(name, ahead=True)
        columns, depth = self.params[self._matrices()[name][0]].shape
        return [pack, self._products.times(x, target, y, columns, depth, bias=bias)]

    def _back(self, name: str, dy: Array, dx: Array) -> list[Call]:
        """Return the calls of dx = dy W; the rows of both may be longer."""
        pack, target = self._packed(name, ahead=False)
        depth, columns = self.params[self._matrices()[name][0]].shape
        return [pack, self._products.times(dy, target, dx, columns, depth)]

    def _weights(
        self, slot: int, drows: Array, rows: Array, flags: Sequence[bool], **more: Any
    ) -> list[Call]:
        """Return the calls of the gradient of a matrix, if it is wanted."""
        out = self.dparams[slot]
        if out is None:
            return []
        accumulate = flags[slot]
        return [
            self._products.transposed_times(
                drows, rows, out, accumulate=accumulate, **more
            )
        ]

    def _sum(self, drows: Array, out: Array | None, accumulate: bool) -> list[Call]:
        if out is None:
            return []
        return [
            sum_columns(
                x=drows,
                x_row=4 * drows.shape[1],
                out=out,
                rows=drows.shape[0],
                columns=out.size,
                accumulate=accumulate,
                serial=few(drows.size),
            )
        ]

    # ------------------------------------------------------------------ steps

    def _step_fields(self, target: Array, terms: int) -> dict[str, Any]:
        """Return the fields of `STEP`. terms: of a product with the packed weights."""
        streams, size = self.op.streams, self.op.num_output
        panels, threads = -(-size // PANEL), self.backend.threads
        divided = panels % threads and panels < 4 * threads
        shares = min(threads, -(-streams // TILE_ROWS)) if divided else 1
        return {
            "packed": target,
            "panel_bytes": panel_bytes(terms),
            "streams": streams,
            "size": size,
            "shares": shares,
            "row": 4 * self._row,
            "serial": self._serial,
            "units": panels * shares,
        }

    def _enter(self) -> list[Call]:
        """Carry states over, and pack the weights of the input and of the state."""
        op, work = self.op, self.work
        calls: list[Call] = []
        if not op.expose_hidden:
            for initial, final in zip(self._initial, self._final, strict=True):
                calls += copied(final, initial)
        if op.static:
            static = self.bottoms[2].reshape(op.streams, count(op.bottoms[2], 1))
            calls += self._times("static", static, work["static"])
        hold = hold_state(
            h=self._initial[0],
            cont=self._cont[0],
            hold=work["hold"][0],
            hold_row=4 * self._hold_row,
            streams=op.streams,
            size=op.num_output,
            serial=few(self._initial[0].size),
        )
        input_weights, self._w_x = self._packed("input", ahead=True)
        hidden_weights, self._w_h = self._packed("hidden", ahead=True)
        return [*calls, hold, input_weights, hidden_weights]

    def _rows_of(self, step: int) -> tuple[slice, slice]:
        """Return the rows of the chunk of steps from `step` on, in x and in `pre`."""
        streams, steps = self.op.streams, self.op.timesteps
        rows = slice(streams * step, streams * min(step + self._chunk, steps))
        if self.node.backward:
            return rows, rows
        return rows, slice(rows.stop - rows.start)

    def _chunk_calls(self, step: int) -> list[Call]:
        """Compute `pre` of a chunk of steps, but for what the states add."""
        op = self.op
        rows, places = self._rows_of(step)
        pre = self._rows[places]
        width = self.units * op.num_output
        calls = [
            self._products.times(
                self._x[rows],
                self._w_x,
                pre,
                width,
                self._x.shape[1],
                bias=self.params[1],
            )
        ]
        if op.static:
            add = add_static(
                pre=pre,
                pre_row=4 * self._row,
                static=self.work["static"],
                steps=len(pre) // op.streams,
                streams=op.streams,
                columns=width,
                serial=few(pre.size),
            )
            calls.append(add)
        return calls

    def _holds(self, step: int) -> dict[str, Any]:
        """Return the fields of a step that are about the state before it."""
        hold, steps = self.work["hold"], self.op.timesteps
        return {
            "hold": hold[step % 2],
            "hold_after": hold[(step + 1) % 2],
            "hold_row": 4 * self._hold_row,
            "cont_after": self._cont[min(step + 1, steps - 1)],
        }

    def _carries(self, step: int) -> dict[str, Any]:
        """Return the fields of a step that are about the gradient from behind it."""
        dpre, last = self.work["dpre"], self.op.timesteps - 1
        return {
            "dpre": dpre[step],
            "after": dpre[step + 1] if step < last else 0,
            "carry": self.work["hold"][0],
            "carry_row": 4 * self._hold_row,
            "cont_after": self._cont[min(step + 1, last)],
        }

    def _leave(self, h: Array, accumulate: Sequence[bool]) -> list[Call]:
        """Compute all gradients that follow from `dpre`.

        h: (T N, D), the states, in rows that may be longer.
        """
        op, work = self.op, self.work
        dpre = work["dpre"].reshape(self._rows.shape)
        hidden = self._matrices()["hidden"][0]
        calls = self._weights(0, dpre, self._x, accumulate)
        calls += self._sum(dpre, self.dparams[1], accumulate[1])
        calls += self._weights(
            hidden,
            dpre,
            h,
            accumulate,
            first=self._initial[0],
            scale=self._cont,
        )
        if self.dx is not None:
            calls += self._back("input", dpre, self.dx.reshape(self._x.shape))
        return calls + (self._leave_static(accumulate) if op.static else [])

    def _leave_static(self, accumulate: Sequence[bool]) -> list[Call]:
        op, dtotal = self.op, self.work["static"]
        shape = (op.streams, count(op.bottoms[2], 1))
        whole = self.work["dpre"].reshape(op.timesteps, -1)
        calls = self._sum(whole, dtotal, False)
        calls += self._weights(2, dtotal, self.bottoms[2].reshape(shape), accumulate)
        if self.dbottoms[2] is not None:
            calls += self._back("static", dtotal, self.dbottoms[2].reshape(shape))
        return calls
