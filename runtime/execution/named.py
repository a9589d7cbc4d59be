"""Blobs, parameters and layers of a net by name, and how they look when shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from netspec.errors import SpecError, did_you_mean
from runtime.execution.blob import Blob
from runtime.html import Markup, line, output, table

BLOCK = 1 << 20  # values that statistics take at a time
HEADS = ("shape", "values", "min", "max", "mean", "std")
GAP = "  "  # between columns of text


class MissingName(SpecError, KeyError):
    """A name that a net does not have."""

    def __str__(self) -> str:  # that of KeyError shows the text in quotes
        return self.text


class Blobs(OrderedDict[str, Blob]):
    """The blobs of a net by name, as pycaffe has them.

    Those of the Split layers that a net inserts where several layers read a blob are in
    it, too, but not in what it shows: `hidden` are their names.
    """

    def __init__(self, blobs: Any = (), hidden: Collection[str] = ()) -> None:
        super().__init__(blobs)
        self.hidden = frozenset(hidden)

    def __missing__(self, name: str) -> NoReturn:
        raise MissingName(
            f"no blob {name!r} in this net{did_you_mean(str(name), self._shown())}"
        )

    def __setitem__(self, name: str, blob: Blob) -> None:
        if not isinstance(blob, Blob):
            raise SpecError(
                f"{name!r} is a blob of the net; write .data, as in "
                f"net.blobs[{name!r}].data = values"
            )
        super().__setitem__(name, blob)

    def _shown(self) -> list[str]:
        return [name for name in self if name not in self.hidden]

    def _ipython_key_completions_(self) -> list[str]:
        return self._shown()

    def __repr__(self) -> str:
        return columns((name, shape_text(self[name].shape)) for name in self._shown())

    def _repr_html_(self) -> str:
        rows = [(name, *statistics(self[name])) for name in self._shown()]
        return output(table(("blob", *HEADS), rows, range(2, 7)))


class Params(OrderedDict[str, list[Blob]]):
    """The parameters of a net by the name of their layer, as pycaffe has them."""

    def __setitem__(self, name: str, blobs: list[Blob]) -> None:
        if not all(isinstance(blob, Blob) for blob in blobs):
            raise SpecError(
                f"{name!r} has the parameters of a layer; write .data of one, as in "
                f"net.params[{name!r}][0].data = values"
            )
        super().__setitem__(name, blobs)

    def __missing__(self, name: str) -> NoReturn:
        raise MissingName(
            f"no parameters of a layer {name!r} in this net"
            f"{did_you_mean(str(name), self)}"
        )

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _all(self) -> Iterator[tuple[str, Blob]]:
        for name, blobs in self.items():
            for slot, blob in enumerate(blobs):
                yield f"{name}[{slot}]", blob

    def __repr__(self) -> str:
        return columns((name, shape_text(blob.shape)) for name, blob in self._all())

    def _repr_html_(self) -> str:
        rows = [(name, *statistics(blob)) for name, blob in self._all()]
        total = sum(blob.count for _, blob in self._all())
        heads = ("parameter", *HEADS)
        return output(table(heads, rows, range(2, 7)), line(f"{total:,} in all"))


class Layers(list[Any]):
    """The layers of a net in order; those that it inserts are not shown."""

    def __init__(self, layers: Iterable[Any], hidden: Collection[int] = ()) -> None:
        super().__init__(layers)
        self.hidden = frozenset(hidden)

    def _shown(self) -> list[tuple[str, str, str]]:
        return [
            (
                f"[{place}]",
                str(getattr(layer, "name", "") or type(layer).__name__),
                str(getattr(layer, "type", "")),
            )
            for place, layer in enumerate(self)
            if place not in self.hidden
        ]

    def __repr__(self) -> str:
        return columns(self._shown())

    def _repr_html_(self) -> str:
        return output(table(("place", "layer", "type"), self._shown()))


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape for people: 64 x 3 x 7 x 7."""
    return " x ".join(map(str, shape)) or "scalar"


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of text as columns, a line each."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (GAP.join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines) or "(none)"


def statistics(blob: Blob) -> tuple[str, ...]:
    """Return shape, number, min, max, mean and standard deviation, as text.

    They are computed now, in float64, from what is finite; how many values are not is
    told. A blob that is not kept has none.
    """
    shape, size = shape_text(blob.shape), f"{blob.count:,}"
    try:
        data = blob.data
    except SpecError:
        return shape, size, Markup('<span class="faint">not kept</span>'), "", "", ""
    if not data.size:
        return shape, size, "", "", "", ""
    least, largest, total, finite = np.inf, -np.inf, 0.0, 0
    for part in _blocks(data):
        least, largest = min(least, part.min()), max(largest, part.max())
        total, finite = total + part.sum(dtype=np.float64), finite + part.size
    if finite < data.size:
        size = f"{size}, {data.size - finite:,} not finite"
    if not finite:
        return shape, size, "", "", "", ""
    mean = total / finite
    squares = sum(float(np.square(part - mean).sum()) for part in _blocks(data))
    numbers = (least, largest, mean, (squares / finite) ** 0.5)
    return shape, size, *(f"{number:.4g}" for number in numbers)


def _blocks(data: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the finite values, some at a time."""
    flat = data.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK].astype(np.float64)
        finite = np.isfinite(part)
        part = part if finite.all() else part[finite]
        if part.size:
            yield part
