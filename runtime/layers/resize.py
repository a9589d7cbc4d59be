"""Interp and Upsample: images of another size."""

from __future__ import annotations

from netspec.errors import SpecError
from netspec.ops import resize as ops
from netspec.ops.base import bottom_name, count, label
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers.base import register


@register
class Interp(OneGradient[ops.Interp]):
    """Interpolate bilinearly, with corners on corners.

        y = A x B^T, for every plane;  dx = A^T dy B

    A (H', h) and B (W', w) have the shares of the two nearest rows and columns, which
    are 1 and 0 where a place falls on one: place i is at i (h - 1) / (H' - 1), or at 0
    where H' is 1. What `pad_beg` and `pad_end` cut off has no part and no gradient.

    Shapes: x (N, C, H, W) -> y (N, C, H', W').
    Source: Chen and others, DeepLab, 2016, arXiv:1606.00915.
    """

    types = ("Interp",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the shares, and for planes between the two products."""
        (height, width), (n, c, rows, columns) = self.op.part, self.op.tops[0]
        specs = {
            "rows": ArraySpec((rows, height), life="state"),
            "columns": ArraySpec((width, columns), life="state"),
            "between": ArraySpec((n * c, rows, width)),
        }
        if self.op.begin or self.op.end:
            specs["part"] = ArraySpec((n * c, height, width))
        return specs

    def setup(self) -> None:
        """Fill the shares, and cut the part out as a view."""
        (height, width), (n, c, rows, columns) = self.op.part, self.op.tops[0]
        self._share(self.work["rows"], rows, height, transposed=False)
        self._share(self.work["columns"], columns, width, transposed=True)
        planes = (n * c, *self.op.bottoms[0][2:])
        begin = self.op.begin
        cut = (slice(None), *(slice(begin, begin + n) for n in (height, width)))
        self._part = self.work.get("part")
        self._x = self.x.reshape(planes)[cut]
        self._y = self.y.reshape(n * c, rows, columns)
        if self.dx is not None:
            self._dx = self.dx.reshape(planes)[cut]
            self._dy = self.dy.reshape(n * c, rows, columns)

    def _share(self, out: Array, places: int, size: int, *, transposed: bool) -> None:
        """Write the shares of `size` values in each of a number of places."""
        shares = out.T if transposed else out
        for place, (first, part) in enumerate(shares_of(places, size)):
            shares[place, first] = 1 - part
            if part:
                shares[place, first + 1] = part

    def forward(self) -> None:
        """Compute y."""
        xp, x = self.xp, self._x
        if self._part is not None:
            xp.copyto(self._part, x)
            x = self._part
        between = self.work["between"]
        xp.matmul(self.work["rows"], x, out=between)
        xp.matmul(between, self.work["columns"], out=self._y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, between = self.xp, self.work["between"]
        xp.matmul(self._dy, self.work["columns"].T, out=between)
        if self._part is None:
            xp.matmul(self.work["rows"].T, between, out=self._dx)
            return
        xp.matmul(self.work["rows"].T, between, out=self._part)
        dx.fill(0)
        xp.copyto(self._dx, self._part)


def shares_of(places: int, size: int) -> list[tuple[int, float]]:
    """Return for each place the value before it, and the share of the one behind."""
    found = []
    for place in range(places):
        numerator = place * (size - 1)
        first, rest = divmod(numerator, places - 1) if places > 1 else (0, 0)
        found.append((first, rest / (places - 1) if rest else 0.0))
    return found


@register
class Upsample(OneGradient[ops.Upsample]):
    """Repeat every value, or put it back where a max Pooling took it.

        repeated: y = x, s by t times;               dx = sum of dy over its copies
        masked:   y = 0, y[mask] = x in every plane; dx = dy[mask]

    A place beyond the plane is an error; on a device that is not waited for, its value
    goes to the first place of the plane.

    Shapes: x, mask (N, C, H, W) -> y (N, C, H', W').
    Sources: Badrinarayanan and others, SegNet, 2015, arXiv:1511.00561; Darknet.
    """

    types = ("Upsample",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the places in the whole blob."""
        if not self.op.masked:
            return {}
        size = count(self.op.bottoms[0])
        return {
            "index": ArraySpec((size,), "int64", life="saved"),
            "bad": ArraySpec((size,), "bool"),
            "high": ArraySpec((size,), "bool"),
            "clean": ArraySpec((size,)),
        }

    def setup(self) -> None:
        """View copies as axes of their own, or all planes as one row."""
        n, c, height, width = self.op.bottoms[0]
        if self.op.masked:
            plane = count(self.op.tops[0], 2)
            starts = self.xp.arange(n * c, dtype="int64") * plane
            self._starts = starts.reshape(n * c, 1)
            self._x, self._y = self.x.reshape(-1), self.y.reshape(-1)
            self._dx = None if self.dx is None else self.dx.reshape(-1)
            self._dy = None if self.dx is None else self.dy.reshape(-1)
            return
        rows, columns = self.op.scale
        copies = (n * c, height, rows, width, columns)
        self._x = self.x.reshape(n * c, height, 1, width, 1)
        self._y = self.y.reshape(copies)
        if self.dx is not None:
            self._dx = self.dx.reshape(n * c, height, width)
            self._dy = self.dy.reshape(copies)

    def forward(self) -> None:
        """Compute y."""
        if not self.op.masked:
            self.xp.copyto(self._y, self._x)
            return
        self._find()
        self.y.fill(0)
        self.backend.scatter(self._x, self.work["index"], self._y)

    def _find(self) -> None:
        """Read the mask as places in the whole blob, and check it."""
        xp, op, mask = self.xp, self.op, self.bottoms[1].reshape(-1)
        plane, index = count(op.tops[0], 2), self.work["index"]
        bad, high = self.work["bad"], self.work["high"]
        xp.less(mask, plane, out=bad)  # false for what is no number, too
        xp.logical_not(bad, out=bad)
        xp.less(mask, 0, out=high)
        xp.logical_or(bad, high, out=bad)
        if self.backend.anywhere(bad):
            place = int(bad.argmax())
            raise no_place(op, place, float(mask[place]))
        clean = self.work["clean"]
        xp.copyto(clean, mask)
        xp.copyto(clean, 0, where=bad)  # what is no number cannot be cast
        xp.copyto(index, clean, casting="unsafe")
        xp.clip(index, 0, plane - 1, out=index)
        rows = index.reshape(self._starts.shape[0], -1)
        xp.add(rows, self._starts, out=rows)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        if self.op.masked:
            self.backend.gather(self._dy, self.work["index"], self._dx)
        else:
            self.xp.sum(self._dy, axis=(2, 4), out=self._dx)


def no_place(op: ops.Upsample, place: int, value: float) -> SpecError:
    """Return the error for a value of the mask that is no place of a plane of y."""
    plane, (height, width) = count(op.tops[0], 2), op.tops[0][2:]
    return SpecError(
        f"{bottom_name(op.layer, 1)}, the mask, holds {value:g} at place {place}; "
        f"expected 0 to {plane - 1}, the places of a plane of {height} by {width}. "
        f"Take the second top of the Pooling that made planes of this size",
        layer=label(op.layer),
    )
