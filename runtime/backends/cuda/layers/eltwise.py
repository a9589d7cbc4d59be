"""Eltwise, and the gradient of Split: blobs of one shape, element by element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from netspec.ops.base import count
from netspec.ops.eltwise import Eltwise as EltwiseOp
from netspec.ops.reshape import Split as SplitOp
from runtime.arrays import ArraySpec
from runtime.backends.cuda.layer import CudaLayer, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel, Launch
from runtime.backends.cuda.tensor import Blob, place_of

MOST = 8  # blobs of one launch
MOST_CHOICES = 256  # that a byte tells apart

_SUM = CudaKernel("eltwise.cu", "weighted_sum")
_COPIES = CudaKernel("eltwise.cu", "scaled_copies")
_PRODUCT = CudaKernel("eltwise.cu", "product")
_PRODUCT_GRADIENT = CudaKernel("eltwise.cu", "product_gradient")
_MAXIMUM = CudaKernel("eltwise.cu", "maximum")
_CHOSEN = CudaKernel("eltwise.cu", "chosen_copies")
_FILL = CudaKernel("fill.cu", "fill")


def _eight(given: Sequence[Any], rest: Any) -> list[Any]:
    return [*given, *(rest,) * (MOST - len(given))]


def _groups(given: Sequence[Any], most: int = MOST) -> Iterator[tuple[int, list[Any]]]:
    for first in range(0, len(given), most):
        yield first, list(given[first : first + most])


class _Elements(CudaLayer[Any]):
    def _every(self, kernel: CudaKernel, like: Blob, *arguments: Any) -> Launch:
        """Return a launch over all elements of `like`, 16 bytes a thread."""
        size = count(like.shape)
        pack = 16 // place_of(like).itemsize
        return self.strided(kernel, size, *arguments, size, per_thread=pack)

    def sum_calls(
        self, blobs: Sequence[Blob], coeff: Sequence[float], out: Blob
    ) -> list[Call]:
        """Return the calls that make a blob the weighted sum of others."""
        if not count(out.shape):
            return []
        if not blobs:
            kernel = stored_as(_FILL, out)
            return [self.strided(kernel, count(out.shape), out, count(out.shape), 0.0)]
        calls: list[Call] = []
        pairs = list(zip(blobs, coeff, strict=True))
        done = 0
        while done < len(pairs):
            # What goes on from a sum so far has one place fewer.
            group = pairs[done : done + MOST - (1 if done else 0)]
            done += len(group)
            if calls:
                group = [(out, 1.0), *group]
            kernel = stored_as(_SUM, out, BLOBS=len(group))
            arrays = _eight([blob for blob, _ in group], None)
            factors = _eight([factor for _, factor in group], 0.0)
            calls.append(self._every(kernel, out, *arrays, *factors, out))
        return calls


class Split(_Elements):
    """The gradients of all tops added up in one launch; see the portable kernel."""

    op: SplitOp

    def forward_calls(self) -> list[Call]:
        """Return nothing: every y is x."""
        return []

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that add the gradients up."""
        if self.dx is None:
            return []
        gradients = [dy for dy in self.dtops if dy is not None]
        return self.sum_calls(gradients, (1.0,) * len(gradients), self.dx)


class Eltwise(_Elements):
    """Join blobs of one shape; see the portable kernel.

    One launch for up to eight blobs, each read once; the gradient reads dy once. A
    maximum keeps a byte an element, the number of the blob that had it.
    """

    options = ("operation", "coeff", "stable_prod_grad")
    op: EltwiseOp

    @classmethod
    def suits(cls, op: EltwiseOp) -> bool:
        """Whether the blobs are not too many."""
        most = {"SUM": None, "PROD": MOST, "MAX": MOST_CHOICES}[op.operation]
        return most is None or len(op.bottoms) <= most

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the choices of a maximum where a gradient needs them."""
        if self.op.operation == "MAX" and any(self.node.propagate):
            size = count(self.op.tops[0])
            return {"chosen": ArraySpec((size,), "uint8", life="saved")}
        return {}

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute y."""
        y, operation = self.y, self.op.operation
        if operation == "SUM":
            return self.sum_calls(self.bottoms, self.op.coeff, y)
        if not count(y.shape):
            return []
        if operation == "PROD":
            kernel = stored_as(_PRODUCT, y, BLOBS=len(self.bottoms))
            return [self._every(kernel, y, *_eight(self.bottoms, None), y)]
        chosen = self.work.get("chosen")
        return [
            self._every(
                stored_as(_MAXIMUM, y, BLOBS=len(group), GOES_ON=int(first > 0)),
                y,
                *_eight(group, None),
                y,
                chosen,
                first,
            )
            for first, group in _groups(self.bottoms)
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute every dx_i."""
        y, dy, operation = self.y, self.dy, self.op.operation
        if not count(y.shape) or all(dx is None for dx in self.dbottoms):
            return []
        if operation == "PROD":
            kernel = stored_as(_PRODUCT_GRADIENT, dy, BLOBS=len(self.bottoms))
            factors, results = _eight(self.bottoms, None), _eight(self.dbottoms, None)
            whole = None if self.op.stable_prod_grad else y
            return [self._every(kernel, dy, *factors, whole, dy, *results)]
        calls: list[Call] = []
        for first, group in _groups(self.dbottoms):
            if all(dx is None for dx in group):
                continue
            results = _eight(group, None)
            if operation == "SUM":
                kernel = stored_as(_COPIES, dy, BLOBS=len(group))
                coeff = _eight(self.op.coeff[first : first + MOST], 0.0)
                calls.append(self._every(kernel, dy, dy, *coeff, *results))
            else:
                kernel = stored_as(_CHOSEN, dy, BLOBS=len(group))
                chosen = self.work["chosen"]
                call = self._every(kernel, dy, dy, chosen, *results, first)
                calls.append(call)
        if operation == "SUM" and len(calls) > 1:
            calls.reverse()  # the first gradient may be written over dy
        return calls
