"""What is done to items on their way into a batch: Caffe's fields, or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.schema import TRAIN, LayerParameter, TransformationParameter
from runtime.counter_random import stream_keys
from runtime.data.augment import Augment, warn_of_unread
from runtime.data.datum import warn_of_scale
from runtime.data.given.base import Item
from runtime.data.given.field import Field
from runtime.data.given.items import put
from runtime.data.source import Arrays
from runtime.data.transform import Transform, crop_of

STREAM = 11  # of the random numbers of an item that a function gets


class Transforming(Protocol):
    """What writes items into a batch.

    costly: whether an item takes so long that several threads pay. sizes: whether it
    makes the size of pictures, so that those of files come as large as they are.
    """

    costly: bool
    sizes: bool

    def batch(self, items: Sequence[Item], start: int, out: Arrays) -> None:
        """Write items, of which the first is number `start` since the start."""

    def prepare(self, item: Item, number: int) -> Item:
        """Do what is done to each item by itself; may run in any thread."""


def transforming(
    transform: Any, fields: Sequence[Field], phase: int, seed: int
) -> Transforming | None:
    """Return what a `transform` argument says, or None where it is None.

    Raises `SpecError` for what is neither a function nor fields of
    TransformationParameter.
    """
    if transform is None:
        return None
    if isinstance(transform, TransformationParameter):
        return Pictures(fields, transform, phase, seed)
    if isinstance(transform, Mapping):
        return Pictures(fields, _message(transform), phase, seed)
    if callable(transform):
        return Calls(fields, transform, seed)
    raise SpecError(
        f"transform is {transform!r:.60}; expected a dict of fields of "
        f"TransformationParameter such as dict(crop_size=24, mirror=True), or a "
        f"function of an item's arrays and its random generator"
    )


def _message(given: Mapping[str, Any]) -> Any:
    known = TransformationParameter.DESCRIPTOR.fields_by_name
    message = TransformationParameter()
    for name, value in given.items():
        if name not in known:
            near = did_you_mean(str(name), known)
            raise SpecError(f"transform has no field {name!r}{near}")
        several = isinstance(value, list | tuple | np.ndarray)
        try:
            if known[name].is_repeated:
                getattr(message, name).extend(value if several else [value])
            elif isinstance(value, Mapping):
                part = type(getattr(message, name))(**value)
                getattr(message, name).CopyFrom(part)
            else:
                setattr(message, name, value)
        except (TypeError, ValueError, AttributeError) as error:
            raise SpecError(f"transform: {name} is {value!r:.60}: {error}") from error
    return message


class Pictures:
    """Crop, mirror, mean and scale of the first input; others go as they are.

    A crop is random in TRAIN and in the middle in TEST, where nothing is mirrored.
    """

    def __init__(
        self, fields: Sequence[Field], param: Any, phase: int, seed: int
    ) -> None:
        picture = fields[0]
        if len(picture.item) != 3:
            raise ShapeError(
                f"transform is for images (channels, height, width), but input "
                f"{picture.name!r} takes items of shape {picture.item}; give a function"
            )
        self._fields, self._phase, self._seed = fields, phase, seed
        layer = LayerParameter(name=picture.name, type="Input", top=[picture.name])
        layer.transform_param.CopyFrom(param)
        if phase != TRAIN:
            layer.transform_param.mirror = False
        self._layer = layer
        self._made: tuple[Augment, Transform] | None = None
        self.cuts = crop_of(layer) is not None
        self.sizes = self.cuts or param.HasField("resize_param")
        self.costly = param.HasField("resize_param") or param.HasField("noise_param")
        warn_of_unread(layer)

    def prepare(self, item: Item, number: int) -> Item:
        """Resize the picture and add noise, as `resize_param` and `noise_param` say."""
        augment, _ = self._of(item[0])
        return (augment.apply(_picture(item[0]), number)[0], *item[1:])

    def batch(self, items: Sequence[Item], start: int, out: Arrays) -> None:
        """Crop, mirror, subtract the mean and scale."""
        _, transform = self._of(items[0][0])
        pictures = [_picture(item[0]) for item in items]
        self._fields[0].check(transform.shape_of(pictures[0], start), "transform")
        transform.batch(pictures, start, out[0])
        for place, item in enumerate(items):
            put(self._fields[1:], item[1:], out[1:], place, start + place)

    def finish(self, first: Item, start: int, out: np.ndarray) -> None:
        """Transform pictures in a batch already, of which nothing is cut.

        first: an item; start: the number of the first one of the batch.
        """
        _, transform = self._of(first[0])
        transform.finish(start, out)

    def _of(self, first: np.ndarray) -> tuple[Augment, Transform]:
        if self._made is None:
            layer, first = self._layer, _picture(first)
            augment = Augment(layer, self._seed, len(first))
            resized = augment.apply(first, 0)[0]
            transform = Transform(layer, self._phase, self._seed, resized.shape)
            warn_of_scale(layer, first)
            self._made = augment, transform
        return self._made


class AsTheyAre:
    """Items without a transform, beside others that have one."""

    costly = sizes = False

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields

    def prepare(self, item: Item, number: int) -> Item:
        """Return the item."""
        return item

    def batch(self, items: Sequence[Item], start: int, out: Arrays) -> None:
        """Write items."""
        for place, item in enumerate(items):
            put(self._fields, item, out, place, start + place)


def _picture(values: np.ndarray) -> np.ndarray:
    """Return an image with an axis of channels."""
    if values.ndim == 2:
        return values[None]
    if values.ndim != 3:
        raise ShapeError(
            f"transform: an item has shape {values.shape}; expected an image (channels,"
            f" height, width)"
        )
    return values


class Calls:
    """A function that is called with every item and a random generator of its own.

    The generator follows from the seed and the number of the item since the start.
    """

    costly = sizes = True

    def __init__(
        self, fields: Sequence[Field], function: Callable[..., Any], seed: int
    ) -> None:
        self._fields, self._function, self._seed = fields, function, seed

    def prepare(self, item: Item, number: int) -> Item:
        """Call the function with copies of the arrays, which it may change."""
        with np.errstate(over="ignore"):  # what is infinite then is told of
            arrays = tuple(values.astype(np.float32) for values in item)
        keys = stream_keys(self._seed, self._fields[0].name, number, STREAM)
        rng = np.random.Generator(np.random.Philox(key=keys[0] << 32 | keys[1]))
        try:
            found = self._function(arrays, rng)
        except Exception as error:
            names = ", ".join(field.name for field in self._fields)
            error.add_note(
                f"raised by the function of transform, for item {number} since the "
                f"start; it is called with (arrays, rng), arrays a tuple ({names},)"
            )
            raise
        return self._arrays(found, arrays)

    def batch(self, items: Sequence[Item], start: int, out: Arrays) -> None:
        """Write items that are prepared."""
        for place, item in enumerate(items):
            put(self._fields, item, out, place, start + place)

    def _arrays(self, found: Any, given: Item) -> Item:
        names = [field.name for field in self._fields]
        if isinstance(found, Mapping):
            missing = [name for name in names if name not in found]
            if missing:
                raise SpecError(f"the function of transform returns no {missing[0]!r}")
            found = [found[name] for name in names]
        elif isinstance(found, np.ndarray) or not isinstance(found, Sequence):
            if found is None:
                raise SpecError(
                    "the function of transform returns None; it must return the arrays "
                    "of the item"
                )
            found = [found, *given[1:]]  # the first input; the others as they were
        if len(found) != len(names):
            raise SpecError(
                f"the function of transform returns {len(found)} arrays; expected "
                f"{len(names)}: {', '.join(names)}"
            )
        return tuple(np.asarray(values, np.float32) for values in found)


def is_for_images(transform: Any) -> bool:
    """Say whether a `transform` argument is fields of Caffe, which know phases."""
    return isinstance(transform, TransformationParameter | Mapping)
