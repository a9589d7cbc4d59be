"""One input of a net, and what arrays suit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import Shape, count

EXACT, RELAXED = 2, 1  # how well a shape suits
CHANNELS = (1, 2, 3, 4)  # of an image whose channels may come last
REAL = "biuf"  # kinds of NumPy's types


@dataclass(frozen=True)
class Field:
    """An input: its name, and the shape of its array for one item."""

    name: str
    item: Shape

    def suits(self, shape: Shape) -> int:
        """Say how well the shape of an item suits: EXACT, RELAXED, or 0 for not.

        One value suits whatever its axes, and a grey image needs no axis of channels.
        """
        if shape == self.item:
            return EXACT
        one = count(shape) == 1 and count(self.item) == 1
        return RELAXED if one or self._grey(shape) else 0

    def _grey(self, shape: Shape) -> bool:
        return len(self.item) == 3 and self.item == (1, *shape)

    def check(self, shape: Shape, what: str) -> None:
        """Raise `ShapeError` for items of a shape that do not suit.

        what: whose items they are, as the message begins.
        """
        if not self.suits(shape):
            raise ShapeError(f"{what}: {self.wrong(shape)}")

    def wrong(self, shape: Shape) -> str:
        """Return what is wrong with a shape that does not suit, and what to do."""
        said = f"an item has shape {shape}, input {self.name!r} takes {self.item}"
        return f"{said}{self._way(shape)}"

    def _way(self, shape: Shape) -> str:
        item = self.item
        if len(item) == 3 and shape in (moved(item), (*item[1:], item[0])):
            return (
                "; the channels come last: give x.transpose(0, 3, 1, 2), as they come "
                "first here"
            )
        images = len(item) == len(shape) == 3
        if images and shape[2] in CHANNELS and shape[0] not in CHANNELS:
            return (
                "; channels come first here; if they are last, give "
                "x.transpose(0, 3, 1, 2)"
            )
        if len(shape) > 1 and shape[1:] == item and item:
            return (
                f"; the first dimension of an Input is the batch: write "
                f"shape=[64, {', '.join(map(str, shape))}]"
            )
        if count(item) == 1 and len(shape) == 1:
            return (
                "; it takes one value an item: if these are one-hot, give "
                "y.argmax(axis=1)"
            )
        if count(shape) == count(item):
            sizes = ", ".join(map(str, item))
            return f"; as many values: give x.reshape(-1, {sizes})"
        sizes = ", ".join(map(str, ("batch", *shape)))
        if images and shape[0] == item[0]:
            square = item[1] == item[2] <= min(shape[1:])
            cut = f"transform=dict(crop_size={item[1]}), which cuts, " if square else ""
            return f"; give images of that size, {cut}or give the Input shape [{sizes}]"
        return f"; change the data, or give the Input shape [{sizes}]"


def moved(item: Shape) -> Shape:
    """Return the shape of an image with its channels last."""
    return (*item[1:], item[0])


def fields_of(inputs: Mapping[str, Sequence[int]]) -> tuple[Field, ...]:
    """Return the inputs of a net as fields.

    inputs: the shapes of whole batches, by name, in order.

    Raises `SpecError` for inputs without a batch dimension, or for none.
    """
    if not inputs:
        raise SpecError(
            "the net has no inputs to fill: name them by "
            "n.data, n.label = L.Input(shape=...), or give no data"
        )
    fields = []
    for name, shape in inputs.items():
        if not shape:
            raise ShapeError(
                f"input {name!r} has shape (); the first dimension is the batch: write "
                f"shape=[64] for one value an item"
            )
        fields.append(Field(name, tuple(map(int, shape[1:]))))
    return tuple(fields)


def batch_of(inputs: Mapping[str, Sequence[int]], given: int | None) -> int:
    """Return the size of batches: what is given, or what the inputs say.

    Raises `SpecError` for one that is not above 0, or where inputs do not agree.
    """
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, int | np.integer):
            raise SpecError(f"batch_size is {given!r}; expected a whole number")
        if given < 1:
            raise SpecError(f"batch_size is {given}; expected at least 1")
        return int(given)
    sizes = {name: int(shape[0]) for name, shape in inputs.items()}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name!r} {size}" for name, size in sizes.items())
        raise ShapeError(
            f"the inputs have batches of different sizes: {said}; the first dimension "
            f"of every Input is the batch, so make them equal or give batch_size"
        )
    size = next(iter(sizes.values()))
    if size < 1:
        raise SpecError(f"the batch of the inputs is {size}; expected at least 1")
    return size


def as_numbers(values: Any, what: str) -> Any:
    """Return an array of real numbers; of objects that are such it is a copy.

    A table of pandas with columns of different types becomes objects.

    what: whose they are. Raises `SpecError` for anything else.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise SpecError(f"{what} has masked values; fill them (x.filled(0))")
    kind = values.dtype.kind
    if kind in REAL:
        return values
    odd: list[Any] = []
    if kind == "O" and isinstance(values, np.ndarray):
        odd = [one for one in values.flat if not isinstance(one, Real | np.bool_)][:1]
        if not odd:
            return np.asarray(values, np.float64)
    if kind in "US" or (odd and isinstance(odd[0], str | bytes)):
        said = f" ({values.dtype})" if kind in "US" else f", such as {odd[0]!r:.40}"
        raise SpecError(
            f"{what} holds text{said}; labels are numbers from 0: "
            f"np.unique(y, return_inverse=True)[1] makes them; image files are given "
            f"by one path, of a folder or of a text file with a path on every line"
        )
    if kind == "O":
        such = f", such as {odd[0]!r:.40}" if odd else ""
        raise SpecError(
            f"{what} holds objects, not numbers{such}: its items may have different "
            f"shapes, or it is no array of numbers"
        )
    raise SpecError(f"{what} holds {values.dtype}; expected real numbers")
