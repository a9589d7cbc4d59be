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
        split: the kernel of a Split right above that adds gradients up, or None.
        ahead: the kernel that computes x and can write it where x is kept, or None.
        keeps_top: whether somebody keeps the blob that BatchNorm has for a top.
    """

    def __init__(
        self,
        norm: BatchNorm,
        scale: Scale | None,
        total: Kernel[Any] | None,
        relu: Kernel[Any] | None,
        split: CudaLayer[Any] | None,
        ahead: CudaLayer[Any] | None,
        *,
        keeps_top: bool,
    ) -> None:
        self._norm, self._scale, self._total, self._relu = norm, scale, total, relu
        self._split, self._ahead, self._keeps_top = split, ahead, keeps_top
        members = (norm, scale, total, relu)
        self._nodes = [one.node.index for one in members if one is not None]
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
        if self._total is not None:
            # Statistics must still be there at the step of the sum.
            lasts = norm.op.use_global_stats or norm.node.backward
            if not lasts or not self._adds_alike:
                return {}
        at = self._applied_at()
        if at is None:
            return {}
        source = self._x_ahead()
        calls: dict[int, Sequence[Call]] = {index: [] for index in self._nodes}
        if source is not None:
            calls |= self._redirected(source)
        elif len(self._nodes) == 1:
            return {}
        x = norm.x if source is None else source
        rectified = self._relu is not None
        if self._total is None:
            run = norm.normalized(x, norm.y, self._scale, rectified=rectified)
            calls[at] = run
        else:
            added = self._total.bottoms[self._other]
            top = self._total.tops[0]
            options: Any = {"added": added, "rectified": rectified}
            one = norm.applied(x, top, self._scale, **options)
            calls[norm.node.index] = norm.statistics(x)
            calls[at] = [one]
        return calls

    def _applied_at(self) -> int | None:
        """Return the step at which x becomes the last top, or None for none.

        The top of a sum, and what a Scale keeps of what remembered statistics leave,
        have memory from their own steps on. x is there until then if it is in place.
        """
        norm, scale = self._norm, self._scale
        if self._total is not None:
            return self._total.node.index
        if norm.op.use_global_stats and scale is not None and "x" in scale.work:
            return scale.node.index if norm.x is norm.y else None
        return norm.node.index

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
        """Return other calls for the nodes; none where they run one by one.

        Two launches sum the gradient over the channels, one computes dx. The sums are
        made at the first step that can: where a Split above adds two gradients up, the
        same launch does that; where a ReLU has the sign of a sum for a mask, at its
        step, as that blob may be gone later, and the other gradients' memory is not
        there yet. Such a launch leaves the masked gradient where the ReLU leaves it.
        """
        norm, total, relu = self._norm, self._total, self._relu
        known = all(index in flags for index in self._nodes)
        if norm.op.use_global_stats or norm.dx is None or not norm.node.backward:
            return {}
        if not known or (total is not None and not self._adds_alike):
            return {}
        parts = self._parts_of_dy(flags)
        calls: dict[int, Sequence[Call]] = {index: [] for index in self._nodes}
        if len(calls) < 2 and parts is None:
            return {}
        end = norm if total is None else total
        dy, at = end.dtops[0], end.node.index
        mask = 0 if relu is None else MASK_BY_VALUE
        first: dict[str, Any] = {"mask": mask}
        if relu is not None and total is not None:
            at, mask = relu.node.index, MASK_BY_SIGN
            first = {"mask": mask, "sign": total.tops[0]}
        given, passed = self._added_to(flags), self._passed(norm.dx)
        if parts is None and mask != MASK_BY_SIGN:
            options = {"mask": mask, **passed}
            run = norm.gradients(dy, norm.dx, self._scale, given, **options)
            return {**calls, at: run}
        # Later, dy is what this leaves: behind the mask.
        first |= {"passed": dy, "passes": PASS_MASKED}
        source = dy
        if parts is not None:
            source, first["more"], at = *parts, self.last + 1
        calls[at] = norm.summed(source, self._scale, given, **first)
        calls[end.node.index] = [norm.derived(dy, norm.dx, self._scale, **passed)]
        return calls

    def _parts_of_dy(
        self, flags: Mapping[int, Sequence[bool]]
    ) -> Sequence[Blob] | None:
        """Return the two gradients that a Split right above adds up."""
        split = self._split
        if split is None or split.node.index not in flags:
            return None
        dy = (self._norm if self._total is None else self._total).dtops[0]
        parts = [one for one in split.dtops if one is not None]
        apart = split.dx is dy and all(one is not dy for one in parts)
        return parts if len(parts) == 2 and apart and same_place(dy, *parts) else None

    def _passed(self, dx: Blob) -> dict[str, Any]:
        """Return what the launch that computes dx leaves in other gradients."""
        if self._total is not None:
            other = self._total.dbottoms[self._other]
            return {"passed": other, "passes": PASS_MASKED} if other is not None else {}
        dy = self._norm.dy
        if dx is dy or not self._keeps_top:
            return {}
        # The blob between has a gradient of its own, that of what was normalized.
        passes = PASS_MASKED if self._scale is None else PASS_SCALED
        return {"passed": dy, "passes": passes}

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
