"""LSTM and RNN: what they compute in each step, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import recurrent as ops
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.layers.stepwise import Stepwise
from runtime.backends.cuda.machine.launch import Call
from runtime.backends.cuda.machine.products import Product
from runtime.backends.cuda.tensor import CARRIERS, memory_of


class LSTM(Stepwise[ops.LSTM]):
    """See `runtime.layers.recurrent.LSTM`."""

    units = 4
    states = ("h", "c")

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the cells' states beside what all recurrent layers want."""
        step = self.streams * self.size
        cells = ArraySpec((self.steps * step,), "float32", life="saved")
        return {**super().arrays(), "c": cells, "dc": ArraySpec((step,), "float32")}

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute h step by step."""
        calls, work = self.enter(), self.work
        for step in range(self.steps):
            cont_next, held_next = self.next_of(step)
            calls.append(self.hold(step))
            pre = self.at(work["pre"], step)
            calls.append(
                self.unit_launch(
                    "lstm_step",
                    pre,
                    self.params[1],
                    work.get("fixed"),
                    self.at(self.bottoms[1], step),
                    self._c_before(step),
                    pre,  # the gates are what is kept
                    self.at(work["c"], step),
                    self.at(self.y, step),
                    cont_next,
                    held_next,
                    *self.final_of(step),
                )
            )
        return calls

    def _c_before(self, step: int) -> Array:
        return self.at(self.work["c"], step - 1) if step else self.initial[1]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the wanted gradients, last step first."""
        calls: list[Call] = []
        work = self.work
        for step in reversed(range(self.steps)):
            cont_next, _ = self.next_of(step)
            last = cont_next is None
            calls.append(
                self.unit_launch(
                    "lstm_step_gradient",
                    self.at(work["pre"], step),
                    self._c_before(step),
                    self.at(work["c"], step),
                    self.at(self.dy, step),
                    None if last else work["carry"],
                    cont_next,
                    None if last else work["dc"],
                    work["dc"],
                    self.at(work["dpre"], step),
                )
            )
            calls += self.release(step)
        return calls + self.leave(accumulate)


class RNN(Stepwise[ops.RNN]):
    """See `runtime.layers.recurrent.RNN`."""

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the states of all steps, and for what enters and leaves outputs."""
        carrier, size = CARRIERS[self.storage], (self.rows * self.size,)
        return {
            **super().arrays(),
            "pre": ArraySpec(size, "float32"),  # h is all that is kept
            "h": ArraySpec(size, carrier, life="saved"),
            "dsums": ArraySpec(size, carrier),
            "dh": ArraySpec(size, "float32"),
        }

    def products(self) -> dict[str, Product]:
        """Return the products, with those of the outputs."""
        rows, size, slot = self.rows, self.size, self.hidden + 1
        found = super().products()
        found["outputs"] = self.forward_product(rows, size, size)
        found["dh"] = self.backward_product(rows, size, size)
        if self.node.learn[slot]:
            for beta in (0, 1):
                product = self.weight_product(rows, size, size, beta)
                found[f"weights {slot} {beta}"] = product
        return found

    @property
    def _sums(self) -> Array:
        """What enters the outputs: in their own memory where that is float32."""
        return memory_of(self.y) if self.storage == "float32" else self.work["dh"]

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute h step by step, then all outputs at once."""
        calls, work, params = self.enter(), self.work, self.params
        for step in range(self.steps):
            cont_next, held_next = self.next_of(step)
            calls.append(self.hold(step))
            calls.append(
                self.unit_launch(
                    "rnn_step",
                    self.at(work["pre"], step),
                    params[1],
                    work.get("fixed"),
                    self.at(work["h"], step),
                    cont_next,
                    held_next,
                    *self.final_of(step),
                )
            )
        weights, size = self.weights[self.hidden + 1].memory, self.rows * self.size
        calls.append(self.call("outputs", work["h"], weights, self._sums))
        arguments = (self._sums, params[-1], self.y, size, self.size)
        return [*calls, self.all_launch("outputs", size, *arguments)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the wanted gradients, last step first."""
        work, slot, size = self.work, self.hidden + 1, self.rows * self.size
        dsums, dh = work["dsums"], work["dh"]
        arguments = (self.y, self.dy, dsums, size)
        calls: list[Call] = [self.all_launch("outputs_gradient", size, *arguments)]
        calls += self.weight_gradient(slot, dsums, work["h"], accumulate)
        calls += self.bias_gradient(slot + 1, dsums, accumulate)
        calls.append(self.call("dh", dsums, self.weights[slot].memory, dh))
        for step in reversed(range(self.steps)):
            cont_next, _ = self.next_of(step)
            calls.append(
                self.unit_launch(
                    "rnn_step_gradient",
                    self.at(work["h"], step),
                    self.at(dh, step),
                    None if cont_next is None else work["carry"],
                    cont_next,
                    self.at(work["dpre"], step),
                )
            )
            calls += self.release(step)
        return calls + self.leave(accumulate)
