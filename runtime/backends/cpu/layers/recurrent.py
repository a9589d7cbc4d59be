"""LSTM and RNN on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import recurrent as ops
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.layers.recurrent_base import Recurrent
from runtime.backends.cpu.layers.recurrent_code import (
    lstm_step,
    lstm_step_gradient,
    rnn_step,
    rnn_step_gradient,
    tanh_gradient,
    tanh_in_place,
)
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.sizes import few


class LSTM(Recurrent[ops.LSTM]):
    """Long short-term memory over T steps; see the portable kernel."""

    units = 4
    states = ("h", "c")

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the cells' states beside what all recurrent layers want."""
        shape = self.op.tops[0]
        if not self.node.backward:
            return {**super().arrays(), "c": ArraySpec(shape[1:])}
        return {
            **super().arrays(),
            "c": ArraySpec(shape, life="saved"),
            "tanh c": ArraySpec(shape, life="saved"),
            "dc": ArraySpec(shape[1:]),
        }

    def forward_calls(self) -> list[Call]:
        """Compute h, and the final states."""
        work, last = self.work, self.op.timesteps - 1
        keeps = self.node.backward
        calls = self._enter()
        fields = self._step_fields(self._w_h, self.op.num_output)
        c_before = self._initial[1]
        for step in range(last + 1):
            if step % self._chunk == 0:
                calls += self._chunk_calls(step)
            c = work["c"][step] if keeps else work["c"]
            one = lstm_step(
                **fields,
                **self._holds(step),
                pre=work["pre"][step if keeps else step % self._chunk],
                cont=self._cont[step],
                c_before=c_before,
                c=c,
                tanh_c=work["tanh c"][step] if keeps else 0,
                h=self.y[step],
                final_h=self._final[0] if step == last else 0,
                final_c=self._final[1] if step == last else 0,
                keeps=keeps,
            )
            calls.append(one)
            c_before = c
        return calls

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients, last step first."""
        work = self.work
        pack, target = self._packed("hidden", ahead=False)
        calls = [pack]
        fields = self._step_fields(target, self.units * self.op.num_output)
        before = [self._initial[1], *work["c"][:-1]]
        for step in reversed(range(self.op.timesteps)):
            one = lstm_step_gradient(
                **fields,
                **self._carries(step),
                pre=work["pre"][step],
                dy=self.dy[step],
                c_before=before[step],
                tanh_c=work["tanh c"][step],
                dc=work["dc"],
            )
            calls.append(one)
        return calls + self._leave(self._y, accumulate)


class RNN(Recurrent[ops.RNN]):
    """A simple recurrent network over T steps; see the portable kernel.

    Its states h take the place of `pre`.
    """

    def _matrices(self) -> dict[str, tuple[int, int]]:
        return {**super()._matrices(), "output": (len(self.op.params) - 2, 1)}

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the gradient of what enters y beside what recurrent layers want."""
        specs = super().arrays()
        if self.node.backward:
            specs["dout"] = ArraySpec(self.op.tops[0])
        return specs

    def forward_calls(self) -> list[Call]:
        """Compute h step by step, then the outputs of all steps, or of a chunk."""
        keeps, steps = self.node.backward, self.op.timesteps
        calls = self._enter()
        output_weights, w_o = self._packed("output", ahead=True)
        fields = self._step_fields(self._w_h, self.op.num_output)
        if not keeps:
            calls.append(output_weights)
        for first in range(0, steps, self._chunk):
            calls += self._chunk_calls(first)
            for step in range(first, min(first + self._chunk, steps)):
                pre = self.work["pre"][step if keeps else step - first]
                final = self._final[0] if step == steps - 1 else 0
                one = rnn_step(**fields, **self._holds(step), pre=pre, final=final)
                calls.append(one)
            if not keeps:
                calls.append(self._outputs(w_o, *self._rows_of(first)))
        if keeps:
            calls += [output_weights, self._outputs(w_o, slice(None), slice(None))]
        size = self.y.size
        return [*calls, tanh_in_place(y=self.y, count=size, serial=few(size))]

    def _outputs(self, weights: Array, rows: slice, places: slice) -> Call:
        """Return the product that makes some rows of y, but for tanh."""
        size = self.op.num_output
        return self._products.times(
            self._rows[places],
            weights,
            self._y[rows],
            size,
            size,
            bias=self.params[-1],
        )

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients, last step first."""
        work, last = self.work, len(self.params)
        dout, dpre = work["dout"], work["dpre"]
        rows = dout.reshape(self._y.shape)
        size = dout.size
        through = tanh_gradient(
            y=self.y, dy=self.dy, dx=dout, count=size, serial=few(size)
        )
        calls = [through]
        calls += self._weights(last - 2, rows, self._rows, accumulate)
        calls += self._sum(rows, self.dparams[-1], accumulate[last - 1])
        calls += self._back("output", rows, dpre.reshape(self._rows.shape))
        pack, target = self._packed("hidden", ahead=False)
        calls.append(pack)
        fields = self._step_fields(target, self.op.num_output)
        for step in reversed(range(self.op.timesteps)):
            h = work["pre"][step]
            calls.append(rnn_step_gradient(**fields, **self._carries(step), h=h))
        return calls + self._leave(self._rows, accumulate)
