"""`Normalized`: BatchNorm and what follows it, as one: Scale, a sum, a ReLU.

y = max(0, (x - mean) inverse gamma + beta + added), each part where there is one. x is
read twice (measured, then used) and y written; the gradient reads x and dy twice and
writes dx. The mask of the ReLU is computed again from x, or read from the sign of y
where something is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layer import CudaLayer, same_place
from runtime.backends.cuda.layers.normalization import (
    MASK_BY_SIGN,
    MASK_BY_VALUE,
    PASS_MASKED,
    PASS_SCALED,
    BatchNorm,
    Scale,
)
from runtime.backends.cuda.machine.launch import Call
from runtime.backends.cuda.tensor import Blob, Tensor, place_of
from runtime.layers.base import Kernel

Calls = Mapping[int, Sequence[Call]]


class Normalized:
    """The layers of one group, neighbours in this order.

    Args:
        scale: a Scale in place, or None.
        total: an Eltwise that adds another blob, or None. BatchNorm and Scale then work
            in place, and nobody keeps their blob.
        relu: a ReLU in place, or None.
        ahead: the kernel that computes x and can write it where x is kept, or None.
        keeps_top: whether somebody keeps the blob that BatchNorm has for a top.
    """

    def __init__(
        self,
        norm: BatchNorm,
        scale: Scale | None,
        total: Kernel[Any] | None,
        relu: Kernel[Any] | None,
        ahead: CudaLayer[Any] | None,
        *,
        keeps_top: bool,
    ) -> None:
        self._norm, self._scale, self._total, self._relu = norm, scale, total, relu
        self._ahead, self._keeps_top = ahead, keeps_top
        members = (norm, scale, total, relu)
        self._nodes = [one.node.index for one in members if one is not None]
        self._learns = any(one.node.backward for one in members if one is not None)
        if scale is not None and not norm.op.use_global_stats and norm.node.backward:
            scale.behind = norm

    @property
    def last(self) -> int:
        """The number of the last node."""
        return self._nodes[-1]

    # ------------------------------------------------------------ forward

    def forward(self) -> Calls:
        """Return other calls for the nodes; none where they run one by one."""
        norm = self._norm
        if norm.op.use_global_stats:
            # What was normalized is not kept: the gradients take layers one by one.
            joins = not self._learns
        else:
            joins = norm.node.backward or self._total is None
        if not joins or (self._total is not None and not self._adds_alike):
            return {}
        source = self._x_ahead()
        calls: dict[int, Sequence[Call]] = {index: [] for index in self._nodes}
        if source is not None:
            calls |= self._redirected(source)
        elif len(self._nodes) == 1:
            return {}
        x = norm.x if source is None else source
        calls[norm.node.index] = norm.statistics(x)
        rectified = self._relu is not None
        if self._total is None:
            one = norm.applied(x, norm.y, self._scale, rectified=rectified)
            calls[norm.node.index] = [*calls[norm.node.index], one]
        else:
            # Its top has memory from its own step on; x is there until then.
            added = self._total.bottoms[self._other]
            top = self._total.tops[0]
            options: Any = {"added": added, "rectified": rectified}
            one = norm.applied(x, top, self._scale, **options)
            calls[self._total.node.index] = [one]
        return calls

    def _x_ahead(self) -> Blob | None:
        """Return the memory in which x is kept, where a kernel can write it."""
        if self._ahead is None or "x" not in self._norm.work:
            return None
        x = self._norm.x
        if not same_place(x, self._ahead.tops[0]):
            return None
        memory = self._norm.work["x"]
        if isinstance(x, Tensor):
            return Tensor(memory, x.shape, x.place)
        return memory.reshape(x.shape)

    def _redirected(self, x: Blob) -> Calls:
        """Return the calls of the kernel ahead, which then writes x elsewhere."""
        ahead: Any = self._ahead
        tops = ahead.tops
        ahead.tops = (x,)
        try:
            return {ahead.node.index: ahead.forward_calls()}
        finally:
            ahead.tops = tops

    # ------------------------------------------------------------ backward

    def backward(self, flags: Mapping[int, Sequence[bool]]) -> Calls:
        """Return other calls for the nodes; none where they run one by one."""
        norm = self._norm
        known = all(index in flags for index in self._nodes)
        if norm.op.use_global_stats or norm.dx is None or len(self._nodes) < 2:
            return {}
        if not known or not norm.node.backward:
            return {}
        if self._total is not None:
            return self._backward_of_sum(flags) if self._adds_alike else {}
        calls: dict[int, Sequence[Call]] = {index: [] for index in self._nodes}
        mask = MASK_BY_VALUE if self._relu is not None else 0
        options: dict[str, Any] = {}
        if norm.dx is not norm.dy and self._keeps_top:
            # The blob between has its own gradient, that of what was normalized.
            scaled = self._scale is not None
            passes = PASS_SCALED if scaled else PASS_MASKED
            options = {"passed": norm.dy, "passes": passes}
        calls[norm.node.index] = [
            *norm.summed(norm.dy, self._scale, self._added_to(flags), mask=mask),
            norm.derived(norm.dy, norm.dx, self._scale, mask=mask, **options),
        ]
        return calls

    def _backward_of_sum(self, flags: Mapping[int, Sequence[bool]]) -> Calls:
        """Return the calls where a sum is part of the group.

        The ReLU leaves its gradient over dy, and the memory of the other gradients is
        there one step later, so that the sums are made at the step of the ReLU.
        """
        norm, total = self._norm, self._total
        if total is None or norm.dx is None:
            return {}
        calls: dict[int, Sequence[Call]] = {index: [] for index in self._nodes}
        dy, given = total.dtops[0], self._added_to(flags)
        first: dict[str, Any] = {}
        if self._relu is not None:
            first = {"sign": total.tops[0], "mask": MASK_BY_SIGN}
            first |= {"passed": dy, "passes": PASS_MASKED}
        sums = norm.summed(dy, self._scale, given, **first)
        other = total.dbottoms[self._other]
        passed = {} if other is None else {"passed": other, "passes": PASS_MASKED}
        derived = norm.derived(dy, norm.dx, self._scale, **passed)
        if self._relu is None:
            calls[total.node.index] = [*sums, derived]
        else:
            calls[self._relu.node.index] = sums
            calls[total.node.index] = [derived]
        return calls

    def _added_to(self, flags: Mapping[int, Sequence[bool]]) -> Sequence[bool]:
        return (False,) if self._scale is None else flags[self._scale.node.index]

    # ------------------------------------------------------------ the sum

    @property
    def _other(self) -> int:
        """Which bottom of the sum is added to what was normalized."""
        node: Any = self._total.node if self._total is not None else None
        before = self._scale if self._scale is not None else self._norm
        return 1 if node.bottoms[0] == before.node.tops[0] else 0

    @property
    def _adds_alike(self) -> bool:
        """Whether all blobs of the sum lie as what was normalized does."""
        total: Any = self._total
        place = place_of(self._norm.y)
        blobs = (*total.bottoms, *total.tops, *total.dbottoms, *total.dtops)
        return all(place_of(one) == place for one in blobs if one is not None)
