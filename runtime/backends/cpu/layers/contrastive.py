"""ContrastiveLoss on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netspec.ops.loss import ContrastiveLoss as ContrastiveLossOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.simd import f32, f64, u8
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.summing import join_sums
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers.loss import DISTANCE_OFFSET, no_similarity

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
OFFSET: Any = np.float32(DISTANCE_OFFSET)


@kernel("a b similarity totals factors strange rows width legacy", "margin")
def contrastive(record: Any, part: int, parts: int) -> None:
    """Compute the term of every pair, and what its difference counts in the gradient.

    Fields:
        a, b: (rows, width).
        similarity: (rows,); any but 0, cut to an integer, means similar.
        totals: float64 (rows,), the terms.
        factors: (rows,).
        strange: uint8 (rows,), gets 1 where a similarity is NaN.
        legacy: 1 for max(margin - d^2, 0), else 0.
    """
    r = carray(record, 1)[0]
    similarity, factors, strange = f32(r.similarity), f32(r.factors), u8(r.strange)
    margin = np.float32(r.margin)
    for row in range(r.rows * part // parts, r.rows * (part + 1) // parts):
        a, b = f32(r.a + 4 * row * r.width), f32(r.b + 4 * row * r.width)
        square = ZERO
        for i in range(r.width):
            square += (a[i] - b[i]) * (a[i] - b[i])
        distance = square if r.legacy != 0 else np.sqrt(square)
        short = margin - distance
        short = ZERO if short < 0 else short
        similar = similarity[row]
        strange[row] = np.uint8(similar != similar)
        if abs(similar) < 1:
            if r.legacy != 0:
                term, factor = short, -ONE if short > 0 else short
            else:
                term, factor = short * short, -short / (distance + OFFSET)
        else:
            term, factor = square, ONE
        f64(r.totals)[row] = term
        factors[row] = factor


@kernel("a b factors dloss dx rows width", "share")
def contrastive_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = dloss share factor (a - b) of every pair; see `contrastive`."""
    r = carray(record, 1)[0]
    share = f32(r.dloss)[0] * np.float32(r.share)
    for row in range(r.rows * part // parts, r.rows * (part + 1) // parts):
        at = 4 * row * r.width
        a, b, dx = f32(r.a + at), f32(r.b + at), f32(r.dx + at)
        factor = f32(r.factors)[row] * share
        for i in range(r.width):
            dx[i] = (a[i] - b[i]) * factor


class ContrastiveLoss(LayerKernel[ContrastiveLossOp]):
    """Pulls similar pairs together, pushes others apart; see the portable kernel."""

    options = ("margin", "legacy_version")

    @property
    def _sizes(self) -> dict[str, Any]:
        rows, width = self.op.bottoms[0][:2]
        return {"rows": rows, "width": width, "serial": few(rows * width)}

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for a few values a pair."""
        rows = (self.op.bottoms[0][0],)
        return {
            "totals": ArraySpec(rows, "float64"),
            "factors": ArraySpec(rows, life="saved"),
            "strange": ArraySpec(rows, "uint8", life="state"),  # looked at later
        }

    def forward_calls(self) -> list[Call]:
        """Compute the loss."""
        a, b, similarity = self.bottoms
        rows, totals = self.op.bottoms[0][0], self.work["totals"]
        terms = contrastive(
            a=a,
            b=b,
            similarity=similarity,
            totals=totals,
            factors=self.work["factors"],
            strange=self.work["strange"],
            legacy=self.op.legacy_version,
            margin=self.op.margin,
            **self._sizes,
        )
        loss = join_sums(
            totals=totals,
            counted=0,
            y=self.y,
            inverse=0,
            rows=1,
            chunks=rows,
            factor=0.5 / max(1, rows),
            divisor=1,
            serial=True,
        )
        return [terms, replace(loss, check=self._check)]

    def _check(self) -> None:
        strange = self.work["strange"]
        if strange.any():
            raise no_similarity(self.op, int(strange.argmax()))

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute da and db."""
        a, b, _ = self.bottoms
        return [
            contrastive_gradient(
                a=a,
                b=b,
                factors=self.work["factors"],
                dloss=self.dy,
                dx=dx,
                share=sign / max(1, self.op.bottoms[0][0]),
                **self._sizes,
            )
            for dx, sign in zip(self.dbottoms[:2], (1, -1), strict=True)
            if dx is not None
        ]
