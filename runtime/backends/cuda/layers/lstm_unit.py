"""LSTMUnit: one step of an LSTM by itself."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.recurrent import LSTMUnit as LSTMUnitOp
from runtime.arrays import ArraySpec
from runtime.backends.cuda.layer import CudaLayer, Wanted
from runtime.backends.cuda.machine.launch import Call, CudaKernel

THREADS = 128  # of a block
_FORWARD = CudaKernel("recurrent.cu", "lstm_step")
_BACKWARD = CudaKernel("recurrent.cu", "lstm_step_gradient")


class LSTMUnit(CudaLayer[LSTMUnitOp]):
    """See `runtime.layers.recurrent.LSTMUnit`; all of its blobs are float32."""

    options = ("num_output",)

    @classmethod
    def suits(cls, op: LSTMUnitOp) -> bool:
        """Take what is not empty and can be counted."""
        return 0 < 4 * count(op.bottoms[0]) < 2**31

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want Caffe's order and float32."""
        bottoms = Wanted(("first",) * 3, (False,) * 3)
        return bottoms, Wanted(("first",) * 2, (False,) * 2)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the values of the gates."""
        return {"gates": ArraySpec(self.op.bottoms[1], "float32", life="saved")}

    def forward_calls(self) -> list[Call]:
        """Return the call that computes c and h."""
        c_before, sums, cont = self.bottoms
        c, h = self.tops
        plain, gates = (None, None), self.work["gates"]
        inputs = (sums, *plain, cont, c_before)
        outputs = (gates, c, h, *plain, *plain)
        return [self._launch(_FORWARD, *inputs, *outputs)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that computes the gradients; a missing one counts as 0."""
        dc_before, dgates = self.dbottoms[:2]
        dc, dh = self.dtops
        if dc_before is None and dgates is None:
            return []
        inputs = (self.work["gates"], self.bottoms[0], self.tops[0])
        gradients = (dh, None, None, dc, dc_before, dgates)
        return [self._launch(_BACKWARD, *inputs, *gradients)]

    def _launch(self, kernel: CudaKernel, *arguments: object) -> Call:
        _, streams, size = self.op.bottoms[0]
        blocks = -(-streams * size // THREADS)
        kernel = kernel.with_defines(STORE="float")
        return self.launch(kernel, (blocks,), (THREADS,), *arguments, streams, size)
