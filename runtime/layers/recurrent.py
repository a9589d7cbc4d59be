"""LSTM, RNN and LSTMUnit: sequences of T steps in N independent streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from netspec.ops import recurrent as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.layers.base import Kernel, register


class _Recurrent(Kernel):
    """What LSTM and RNN share: everything that is not in the loop over steps.

    `pre` (T, N, W) is what enters the units: products of the input, of the static
    input and of the state before, plus a bias. cont (T, N) multiplies the state before:
    0 begins a sequence. Without `expose_hidden` the final states become the initial
    ones of the next forward; they are zeros at first.
    """

    op: ops.LSTM | ops.RNN
    units: ClassVar[int] = 1  # W / D
    states: ClassVar[tuple[str, ...]] = ("h",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for what all steps compute, and for scratch of one step."""
        op = self.op
        steps, streams, size = op.timesteps, op.streams, op.num_output
        width = self.units * size
        specs = {
            "pre": ArraySpec((steps, streams, width), life="saved"),
            "held": ArraySpec((steps, streams, size), life="saved"),
            "dpre": ArraySpec((steps, streams, width)),
            "step": ArraySpec((streams, width)),
            "dstep": ArraySpec((streams, width)),
            "carry": ArraySpec((streams, size)),
            "sums": self.backend.channel_scratch((steps * streams, width, 1)),
            "product": ArraySpec((max(count(one.shape) for one in op.params),)),
        }
        if not op.expose_hidden:
            for state in self.states:
                specs[f"initial {state}"] = ArraySpec((streams, size), life="state")
                specs[f"final {state}"] = ArraySpec((streams, size), life="state")
        return specs

    def setup(self) -> None:
        """View sequences as rows, and find the states."""
        op, work = self.op, self.work
        rows, size = op.timesteps * op.streams, op.num_output
        self._x = self.x.reshape(rows, count(self.x.shape, 2))
        self._pre, self._dpre = (
            work[n].reshape(rows, work[n].shape[2]) for n in ("pre", "dpre")
        )
        self._held = work["held"].reshape(rows, size)
        self._cont = self.bottoms[1].reshape(op.timesteps, op.streams, 1)
        self._dx = None if self.dx is None else self.dx.reshape(self._x.shape)
        self._static = self._dstatic = None
        if op.static:
            shape = self.bottoms[2].shape
            self._static = self.bottoms[2].reshape(op.streams, count(shape, 1))
            if self.dbottoms[2] is not None:
                self._dstatic = self.dbottoms[2].reshape(self._static.shape)
        self._hidden_slot = 3 if op.static else 2
        flat = (op.streams, size)
        if op.expose_hidden:
            given = [*self.bottoms[-len(self.states) :]]
            final = [*self.tops[-len(self.states) :]]
        else:
            given = [work[f"initial {state}"] for state in self.states]
            final = [work[f"final {state}"] for state in self.states]
        self._initial = [state.reshape(flat) for state in given]
        self._final = [state.reshape(flat) for state in final]

    def go_on_from(self, other: Any) -> None:
        """Keep the states of the last pass where there are as many streams as then."""
        for state in () if self.op.expose_hidden else self.states:
            old, new = (kernel.work[f"final {state}"] for kernel in (other, self))
            if old.shape == new.shape:
                new[...] = old
            else:
                new.fill(0)

    def _enter(self) -> None:
        """Begin a forward: carry states over, and start `pre` with the inputs."""
        xp, params = self.xp, self.params
        if not self.op.expose_hidden:
            for initial, final in zip(self._initial, self._final, strict=True):
                xp.copyto(initial, final)
        xp.matmul(self._x, params[0].T, out=self._pre)
        xp.add(self._pre, params[1], out=self._pre)
        if self._static is not None:
            xp.matmul(self._static, params[2].T, out=self.work["step"])
            xp.add(self.work["pre"], self.work["step"], out=self.work["pre"])

    def _hold(self, step: int, before: Array) -> None:
        """Add the product of the state before, h (N, D), to `pre` of a step."""
        xp, work = self.xp, self.work
        held, pre = work["held"][step], work["pre"][step]
        xp.multiply(before, self._cont[step], out=held)
        xp.matmul(held, self.params[self._hidden_slot].T, out=work["step"])
        xp.add(pre, work["step"], out=pre)

    def _release(self, step: int) -> None:
        """Write the gradient of the state before a step into `carry`."""
        xp, carry = self.xp, self.work["carry"]
        weights = self.params[self._hidden_slot]
        xp.matmul(self.work["dpre"][step], weights, out=carry)
        xp.multiply(carry, self._cont[step], out=carry)

    def _leave(self, accumulate: Sequence[bool]) -> None:
        """Compute all gradients that follow from `dpre`."""
        xp, params, total = self.xp, self.params, self.work["step"]
        self._weights(0, self._dpre, self._x, accumulate)
        self._sum(1, self._dpre, accumulate)
        self._weights(self._hidden_slot, self._dpre, self._held, accumulate)
        if self._dx is not None:
            xp.matmul(self._dpre, params[0], out=self._dx)
        if self._static is not None:
            xp.sum(self.work["dpre"], axis=0, out=total)
            self._weights(2, total, self._static, accumulate)
            if self._dstatic is not None:
                xp.matmul(total, params[2], out=self._dstatic)

    def _weights(
        self, slot: int, drows: Array, rows: Array, accumulate: Sequence[bool]
    ) -> None:
        out = self.dparams[slot]
        if out is not None:
            product = self.work["product"][: out.size].reshape(out.shape)
            self.backend.gemm(
                drows.T, rows, out, accumulate=accumulate[slot], scratch=product
            )

    def _sum(self, slot: int, drows: Array, accumulate: Sequence[bool]) -> None:
        out = self.dparams[slot]
        if out is not None:
            self.backend.channel_sum(
                drows[:, :, None], out, self.work["sums"], accumulate=accumulate[slot]
            )


class _Unit:
    """The gates of one LSTM step, in both directions.

    Gate inputs (N, 4 D) in the order i, f, o, g are replaced by the gates' values.
    Shapes: cont (N, 1); c_before, c, tanh_c, h (N, D).
    """

    def __init__(self, kernel: Kernel, gates: Array, cont: Array) -> None:
        self._xp, self._backend = kernel.xp, kernel.backend
        size = gates.shape[1] // 4
        self._cont, self._size = cont, size
        self._squashed, self._g = gates[:, : 3 * size], gates[:, 3 * size :]
        self._i, self._f, self._o = (
            gates[:, n * size : (n + 1) * size] for n in range(3)
        )

    def forward(self, c_before: Array, c: Array, tanh_c: Array, h: Array) -> None:
        """Compute c = cont f c_before + i g and h = o tanh(c)."""
        xp = self._xp
        self._backend.sigmoid(self._squashed, out=self._squashed)
        xp.tanh(self._g, out=self._g)
        xp.multiply(self._f, self._cont, out=self._f)
        xp.multiply(self._i, self._g, out=c)
        xp.multiply(self._f, c_before, out=tanh_c)
        xp.add(c, tanh_c, out=c)
        xp.tanh(c, out=tanh_c)
        xp.multiply(self._o, tanh_c, out=h)

    def backward(
        self,
        c_before: Array,
        tanh_c: Array,
        dh: Array,
        dc: Array,
        dgates: Array,
        scratch: Array,
    ) -> None:
        """Write the gradient of the gate inputs; dc becomes that of c_before.

        dh and scratch (N, D) are overwritten. The slope of the forget gate is taken as
        f (1 - f) with cont in f, as Caffe does, which is exact for cont 0 and 1.
        """
        xp, size = self._xp, self._size
        di, df, do, dg = (dgates[:, n * size : (n + 1) * size] for n in range(4))
        xp.multiply(dh, tanh_c, out=do)
        self._slope(self._o, do, scratch)
        xp.multiply(dh, self._o, out=dh)
        xp.add(dc, dh, out=dc)
        xp.multiply(dh, tanh_c, out=dh)
        xp.multiply(dh, tanh_c, out=dh)
        xp.subtract(dc, dh, out=dc)  # dc + dh o (1 - tanh(c)^2)
        xp.multiply(dc, c_before, out=df)
        self._slope(self._f, df, scratch)
        xp.multiply(dc, self._g, out=di)
        self._slope(self._i, di, scratch)
        xp.multiply(self._g, self._g, out=dg)
        xp.subtract(1, dg, out=dg)
        xp.multiply(dg, self._i, out=dg)
        xp.multiply(dg, dc, out=dg)
        xp.multiply(dc, self._f, out=dc)

    def _slope(self, gate: Array, out: Array, scratch: Array) -> None:
        """Multiply `out` by gate (1 - gate)."""
        self._xp.subtract(1, gate, out=scratch)
        self._xp.multiply(scratch, gate, out=scratch)
        self._xp.multiply(out, scratch, out=out)


@register
class LSTM(_Recurrent):
    """Long short-term memory over T steps, unrolled.

        i, f, o, g = W_x x + b + W_s static + W_h (cont h'), squashed
        c = cont f c' + i g;  h = o tanh(c)

    Parameters: W_x (4 D, I), b (4 D,), [W_s (4 D, S),] W_h (4 D, D). States that come
    in or go out as blobs get and give no gradient, as in Caffe.

    Shapes: x (T, N, I...), cont (T, N) -> h (T, N, D); states (1, N, D).
    Source: Donahue et al., Long-term recurrent convolutional networks, 2015,
    arXiv:1411.4389.
    """

    types = ("LSTM",)
    units = 4
    states = ("h", "c")

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the cells' states beside what all recurrent layers want."""
        shape = self.op.tops[0]
        return {
            **super().arrays(),
            "c": ArraySpec(shape, life="saved"),
            "tanh c": ArraySpec(shape, life="saved"),
            "dc": ArraySpec(shape[1:]),
            "slope": ArraySpec(shape[1:]),
        }

    def setup(self) -> None:
        """Bind a unit to every step."""
        super().setup()
        cells = self.work["c"]
        self._units = [
            _Unit(self, gates, cont)
            for gates, cont in zip(self.work["pre"], self._cont, strict=True)
        ]
        self._c_before = [self._initial[1], *cells[:-1]]
        self._h_before = [self._initial[0], *self.y[:-1]]

    def forward(self) -> None:
        """Compute h step by step."""
        cells, tanh_c = self.work["c"], self.work["tanh c"]
        self._enter()
        for step, unit in enumerate(self._units):
            self._hold(step, self._h_before[step])
            unit.forward(self._c_before[step], cells[step], tanh_c[step], self.y[step])
        self.xp.copyto(self._final[0], self.y[-1])
        self.xp.copyto(self._final[1], cells[-1])

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients, last step first."""
        xp, work = self.xp, self.work
        carry, dc = work["carry"], work["dc"]
        carry.fill(0)
        dc.fill(0)
        for step in reversed(range(len(self._units))):
            xp.add(carry, self.dy[step], out=carry)
            self._units[step].backward(
                self._c_before[step],
                work["tanh c"][step],
                carry,
                dc,
                work["dpre"][step],
                work["slope"],
            )
            self._release(step)
        self._leave(accumulate)


@register
class RNN(_Recurrent):
    """A simple recurrent network over T steps, unrolled.

        h = tanh(W_x x + b + W_s static + W_h (cont h'));  y = tanh(W_o h + b_o)

    Parameters: W_x (D, I), b (D,), [W_s (D, S),] W_h (D, D), W_o (D, D), b_o (D,). The
    state that comes in or goes out as a blob gets and gives no gradient, as in Caffe.

    Shapes: x (T, N, I...), cont (T, N) -> y (T, N, D); states (1, N, D).
    """

    types = ("RNN",)

    def setup(self) -> None:
        """View the outputs as rows; h is kept in `pre`."""
        super().setup()
        self._h = self.work["pre"]
        self._rows = self.y.reshape(self._pre.shape)
        self._before = [self._initial[0], *self._h[:-1]]

    def forward(self) -> None:
        """Compute h step by step, then all outputs at once."""
        xp = self.xp
        self._enter()
        for step, before in enumerate(self._before):
            self._hold(step, before)
            h = self._h[step]
            xp.tanh(h, out=h)
        xp.copyto(self._final[0], self._h[-1])
        xp.matmul(self._pre, self.params[-2].T, out=self._rows)
        xp.add(self._rows, self.params[-1], out=self._rows)
        xp.tanh(self._rows, out=self._rows)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients, last step first."""
        xp, work, last = self.xp, self.work, len(self.params)
        dpre, carry, spare = work["dpre"], work["carry"], work["dstep"]
        self._through_tanh(self.y, self.dy, dpre)
        self._weights(last - 2, self._dpre, self._pre, accumulate)
        self._sum(last - 1, self._dpre, accumulate)
        carry.fill(0)
        for step in reversed(range(len(dpre))):
            # dpre[step] is the gradient of what enters y; then, of what enters h.
            xp.matmul(dpre[step], self.params[-2], out=spare)
            xp.add(carry, spare, out=carry)
            self._through_tanh(self._h[step], carry, dpre[step])
            self._release(step)
        self._leave(accumulate)

    def _through_tanh(self, y: Array, dy: Array, dx: Array) -> None:
        xp = self.xp
        xp.multiply(y, y, out=dx)
        xp.subtract(1, dx, out=dx)
        xp.multiply(dx, dy, out=dx)


@register
class LSTMUnit(Kernel[ops.LSTMUnit]):
    """One step of an LSTM, from the inputs of its gates.

        i, f, o, g = squashed gate inputs;  c = cont f c' + i g;  h = o tanh(c)

    Shapes: c' (1, N, D), gates (1, N, 4 D), cont (1, N) -> c, h (1, N, D).
    """

    types = ("LSTMUnit",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the gates and what the gradient needs."""
        _, streams, size = self.op.bottoms[0]
        return {
            "gates": ArraySpec((streams, 4 * size), life="saved"),
            "tanh c": ArraySpec((streams, size), life="saved"),
            "dh": ArraySpec((streams, size)),
            "dc": ArraySpec((streams, size)),
            "dgates": ArraySpec((streams, 4 * size)),
            "slope": ArraySpec((streams, size)),
        }

    def setup(self) -> None:
        """Bind the unit."""
        self._unit = _Unit(self, self.work["gates"], self.bottoms[2].reshape(-1, 1))

    def forward(self) -> None:
        """Compute c and h."""
        work = self.work
        self.xp.copyto(work["gates"], self.bottoms[1][0])
        c, h = self.tops[0][0], self.tops[1][0]
        self._unit.forward(self.x[0], c, work["tanh c"], h)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients; a top without gradient counts as 0."""
        xp, work = self.xp, self.work
        for name, dtop in zip(("dc", "dh"), self.dtops, strict=True):
            if dtop is None:
                work[name].fill(0)
            else:
                xp.copyto(work[name], dtop[0])
        names = ("tanh c", "dh", "dc", "dgates", "slope")
        self._unit.backward(self.x[0], *(work[name] for name in names))
        for gradient, name in zip(self.dbottoms, ("dc", "dgates"), strict=False):
            if gradient is not None:
                xp.copyto(gradient[0], work[name])
