"""Whether values are numbers that a net can use, and labels those of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import warn_user

Numbers: TypeAlias = Sequence[int] | np.ndarray

BLOCK = 1 << 20  # values that are looked at together
EXACT_WHOLE = 1 << 24  # whole numbers up to here are exact in float32


@dataclass(frozen=True)
class Labels:
    """What a loss takes as labels: whole numbers from 0 to `classes` - 1.

    layer: as messages name it. ignored: labels beside these that do not count.
    """

    classes: int
    layer: str
    ignored: tuple[int, ...] = ()


def check_array(
    name: str, values: np.ndarray, labels: Labels | None, item_values: int
) -> None:
    """Look at all values of an array before they are used.

    item_values: how many of them make an item.

    Raises `SpecError` for what is not finite, and for labels that are no classes.
    Warns, with `SpecWarning`, of whole numbers that float32 cannot tell apart.
    """
    flat = values.reshape(-1) if values.flags.c_contiguous else values.ravel()
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        if block.dtype.kind == "f":
            _check_finite(name, block, start, item_values)
        if labels is not None:
            _check_labels(name, block, labels, start, item_values)
        elif _is_large(block):
            warn_user(
                f"{name!r} has whole numbers above {EXACT_WHOLE:,}, which float32 "
                f"rounds; make them smaller if they must stay apart",
                SpecWarning,
            )
            return


def _is_large(block: np.ndarray) -> bool:
    if block.dtype.kind not in "iu" or block.dtype.itemsize <= 2:
        return False
    return int(block.max()) > EXACT_WHOLE or int(block.min()) < -EXACT_WHOLE


def check_labels(name: str, values: np.ndarray, labels: Labels) -> None:
    """Look at an array of labels, one for each item.

    Raises `SpecError` for one that is no class.
    """
    flat = values.reshape(-1)
    item = max(1, flat.size // max(1, len(values)))
    for start in range(0, flat.size, BLOCK):
        _check_labels(name, flat[start : start + BLOCK], labels, start, item)


def _check_finite(name: str, block: np.ndarray, start: int, item: int) -> None:
    with np.errstate(all="ignore"):
        if np.isfinite(block.sum(dtype=np.float64)):
            return
    bad = ~np.isfinite(block.astype(np.float64, copy=False))
    if bad.any():
        place = int(bad.argmax())
        raise _not_finite(name, block[place], (start + place) // max(1, item))


def _not_finite(name: str, value: object, item: int) -> SpecError:
    said = "NaN" if np.isnan(value) else "an infinite value"  # type: ignore[call-overload]
    return SpecError(
        f"{name!r} has {said} in item {item} of the data; leave such items out, or put "
        f"numbers there (np.nan_to_num)"
    )


def _check_labels(
    name: str, block: np.ndarray, labels: Labels, start: int, item: int
) -> None:
    low, high = block.min(), block.max()
    whole = block.dtype.kind != "f" or bool((block == np.floor(block)).all())
    if whole and low >= 0 and high < labels.classes:
        return
    good = (block >= 0) & (block < labels.classes)
    for ignored in labels.ignored:
        good |= block == ignored
    if block.dtype.kind == "f":
        good &= block == np.floor(block)
    if good.all():
        return
    place = int((~good).argmax())
    value, number = block[place], (start + place) // max(1, item)
    raise SpecError(
        f"{name!r} has the label {value:g} in item {number} of the data; {labels.layer}"
        f" has {labels.classes} classes and takes whole numbers from 0 to "
        f"{labels.classes - 1}{_way(low, high, labels)}"
    )


def _way(low: float, high: float, labels: Labels) -> str:
    if low >= 1 and high == labels.classes:
        return "; the labels count from 1: give y - 1"
    if high >= labels.classes:
        return f"; give the layer below the loss num_output={int(high) + 1} or more"
    return "; if it marks what does not count, give the loss ignore_label"


class BatchCheck:
    """Looks at batches as they are read; see `check_array`.

    Only what `check_array` has not seen: `seen` are the names of those arrays.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Mapping[str, Labels],
        seen: frozenset[str] = frozenset(),
    ) -> None:
        self._names, self._seen = names, seen
        self.expect(labels)

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Look at labels, too, of the inputs of these names."""
        self._wanted = [
            (place, name, labels.get(name))
            for place, name in enumerate(self._names)
            if name not in self._seen
        ]

    def __call__(self, batch: Sequence[np.ndarray], numbers: Numbers) -> None:
        """Look at a batch of items with these numbers."""
        for place, name, labels in self._wanted:
            values = batch[place].reshape(-1)
            if not values.size:
                continue
            item = max(1, values.size // len(batch[place]))
            try:
                _check_finite(name, values, 0, item)
                if labels is not None:
                    _check_labels(name, values, labels, 0, item)
            except SpecError as error:
                raise _renumbered(error, numbers) from None


def _renumbered(error: SpecError, numbers: Numbers) -> SpecError:
    """Return an error about an item of a batch with its number in the data."""
    head, _, rest = error.text.partition(" in item ")
    place, _, tail = rest.partition(" of the data")
    return SpecError(f"{head} in item {int(numbers[int(place)])} of the data{tail}")
