"""Data of any kind as batches for the inputs of a net: `open_dataset`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError, SpecWarning, did_you_mean
from netspec.notebooks import warn_user
from netspec.schema import TEST, TRAIN
from runtime.data.given.arrays import ArrayRows, as_array, is_array, is_lazy
from runtime.data.given.base import Dataset as Dataset
from runtime.data.given.base import Part, Rows
from runtime.data.given.batches import RowBatches
from runtime.data.given.field import Field, batch_of, fields_of
from runtime.data.given.files import rows_of_file
from runtime.data.given.items import MapRows
from runtime.data.given.pictures import (
    DatabaseRows,
    ImageRows,
    folder_rows,
    image_rows,
    is_image,
    list_rows,
)
from runtime.data.given.several import SeveralRows
from runtime.data.given.streams import (
    BATCHES,
    Stream,
    StreamBatches,
    kind_of,
    wants_epoch,
)
from runtime.data.given.transforming import AsTheyAre, transforming
from runtime.data.given.values import Labels
from runtime.data.given.whole import WholeBatches

ARRAY_FILES = (".npz", ".npy", ".h5", ".hdf5", ".hdf")
SEVERAL_FILES = (".npz", ".h5", ".hdf5", ".hdf")  # that have all inputs each
LMDB_MAGIC, LMDB_MAGIC_AT = b"\xde\xc0\xef\xbe", 16


def open_dataset(
    data: Any,
    inputs: Mapping[str, Sequence[int]],
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
    transform: Any = None,
    phase: int = TRAIN,
    labels: Mapping[str, Labels] | None = None,
) -> Dataset:
    """Return data of any kind as batches for the inputs of a net.

    data: one array, or a tuple of arrays in the order of the inputs, or a dict by their
        names, with the items along the first axis; a path: an LMDB database, a `.npz`,
        `.npy` or HDF5 file (its arrays are called as the inputs, or data and label, x
        and y), a folder of images with a folder for each class, a text file with the
        path and the label of an image on every line; a list of `.npz` or HDF5 files,
        whose items follow each other; an object with `__len__` and `__getitem__`; any
        iterable, a generator, or a function that returns one, each time for another
        epoch (if it takes an argument, that is the epoch's number).
        What the last four give is an item or a whole batch, as its shapes say: those of
        the inputs less their first axis are an item, one axis more in front a batch.
    inputs: the shapes of the input blobs, by name, in order; the first axis of each is
        the batch.
    batch_size: instead of the inputs' own; batches that come whole keep their sizes.
    shuffle: another order of the items in every epoch, or of batches that come whole;
        iterables keep their order.
    transform: a dict of fields of Caffe's TransformationParameter, or its message, for
        images in the first input; or a function that is called with an item's arrays
        (a tuple, float32 copies) and a `numpy.random.Generator` that follows from the
        seed and the item's number, and returns the arrays.
    phase: TRAIN, or TEST for crops from the middle and without mirroring.
    labels: which inputs hold labels of how many classes, to be checked.

    Values become float32 batch by batch. Labels may be (N,) or (N, 1); grey images
    (N, H, W) suit inputs (batch, 1, H, W).

    Raises `SpecError` and `ShapeError` for data that do not suit or that no net can
    use, `FileError` for files.
    """
    fields = fields_of(inputs)
    if isinstance(data, Dataset):
        return _checked(data, fields)
    size = batch_of(inputs, batch_size)
    made = transforming(transform, fields, phase, seed)
    keep = made is not None and made.sizes
    opening = _Opening(fields, inputs, labels or {}, shuffle, made is not None, keep)
    found = opening.of(data)
    how: dict[str, Any] = {"transform": made, "labels": labels or {}}
    if isinstance(found, Stream):
        return StreamBatches(fields, found, opening.split, inputs, size, **how)
    how |= {"shuffle": shuffle, "seed": seed}
    if isinstance(found, Rows):
        return RowBatches(fields, found, size, **how)
    return WholeBatches(fields, found, opening.split, **how)


def split_dataset(
    data: Any,
    inputs: Mapping[str, Sequence[int]],
    fraction: float,
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
    transform: Any = None,
    test_transform: Any = None,
) -> tuple[Dataset, Dataset]:
    """Return two data sets: of the first items to train, of the last ones to test.

    fraction: the part of the items that is for testing, rounded, at least one. Images
        of a folder are taken by chance instead, by the seed, as they are sorted by
        their classes.
    transform, test_transform: of the items of either.
    The rest is as of `open_dataset`. Items for testing come in order.

    Warns, with `SpecWarning`, where there are labels to test that are never trained.

    Raises `SpecError` where items are not known by number, or there is only one.
    """
    fields = fields_of(inputs)
    made = transforming(transform, fields, TRAIN, seed)
    test = transforming(test_transform, fields, TEST, seed)
    transformed = not (made is None and test is None)
    if transformed:
        made, test = made or AsTheyAre(fields), test or AsTheyAre(fields)
    keep = made is not None and made.sizes
    opening = _Opening(fields, inputs, {}, True, transformed, keep)
    rows = None if isinstance(data, Dataset) else opening.of(data)
    if not isinstance(rows, Rows):
        raise SpecError(
            f"validation is the fraction {fraction:g}, but these data come in their own"
            f" order, not by number; give validation data of their own"
        )
    count = max(1, round(fraction * rows.count))
    if count >= rows.count:
        raise SpecError(
            f"validation is the fraction {fraction:g} of {rows.count} items, which "
            f"leaves none to train"
        )
    numbers = np.arange(rows.count)
    if rows.classes:
        np.random.default_rng([seed, rows.count]).shuffle(numbers)
        numbers = np.concatenate([np.sort(numbers[:-count]), np.sort(numbers[-count:])])
    size, lock = batch_of(inputs, batch_size), Lock()
    first = Part(rows, numbers[:-count], lock)
    tested = rows
    if isinstance(rows, ImageRows):
        tested = rows.sized(keep_size=test is not None and test.sizes)
    last = Part(tested, numbers[-count:], lock)
    if isinstance(rows, ArrayRows):
        rows.warn_of_missing(len(numbers) - count)
    how: dict[str, Any] = {"seed": seed, "labels": {}}
    return (
        RowBatches(fields, first, size, shuffle=shuffle, transform=made, **how),
        RowBatches(fields, last, size, shuffle=False, transform=test, **how),
    )


def _checked(data: Dataset, fields: Sequence[Field]) -> Dataset:
    names = tuple(field.name for field in fields)
    if data.names != names:
        raise SpecError(
            f"the data set fills {', '.join(data.names)}, the inputs are "
            f"{', '.join(names)}"
        )
    for field, shape in zip(fields, data.shapes, strict=True):
        field.check(tuple(shape[1:]), "the data set")
    return data


class _Opening:
    """From what was given to rows, a stream, or an object that gives whole batches."""

    def __init__(
        self,
        fields: Sequence[Field],
        inputs: Mapping[str, Sequence[int]],
        labels: Mapping[str, Labels],
        shuffle: bool,
        transformed: bool,
        keep_size: bool,
    ) -> None:
        self._fields, self._inputs, self._labels = fields, inputs, labels
        self._shuffle, self._transformed = shuffle, transformed
        self._names = [field.name for field in fields]
        self._keep = keep_size
        self._warned = False

    def of(self, data: Any) -> Any:
        """Return the rows, the stream or the object."""
        if isinstance(data, str | os.PathLike):
            return self._of_path(Path(os.fspath(data)))
        if isinstance(data, bytes) or data is None:
            raise self._unknown(data)
        if isinstance(data, Mapping) or is_array(data) or is_lazy(data):
            return self._of_arrays(self.split(data))
        if isinstance(data, tuple | list):
            return self._of_list(data)
        if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
            return self._of_sequence(data)
        if hasattr(data, "__iter__"):
            return Stream(data)
        if callable(data):
            return self._of_function(data)
        raise self._unknown(data)

    def split(self, given: Any) -> list[Any]:
        """Return what was given together as one value for each input."""
        names = self._names
        if isinstance(given, Mapping):
            return self._by_name(given)
        together = isinstance(given, tuple | list) and len(given) == len(names)
        if together and (len(names) > 1 or not np.isscalar(given[0])):
            return list(given)
        if len(names) == 1 and not isinstance(given, tuple):
            return [given]
        listed = ", ".join(names)
        if isinstance(given, tuple | list):
            raise SpecError(
                f"{_counted(len(given))} given together, but the net has "
                f"{len(names)} input{'s' * (len(names) > 1)}: {listed}; give one for "
                f"each, in this order or as a dict by names"
            )
        raise SpecError(
            f"one {type(given).__name__} is given, but the net has {len(names)} inputs:"
            f" {listed}; give one array for each, ({listed}), or a dict by names"
        )

    def _by_name(self, given: Mapping[Any, Any]) -> list[Any]:
        for name in self._names:
            if name not in given:
                near = did_you_mean(name, map(str, given))
                raise SpecError(
                    f"the data have {', '.join(map(repr, given)) or 'nothing'}, but no "
                    f"{name!r}, which is an input of the net{near}"
                )
        more = [name for name in given if name not in self._names]
        if more and not self._warned:
            self._warned = True
            warn_user(
                f"the data have {', '.join(map(repr, more))}, which no input of the "
                f"net is called; they are not used",
                SpecWarning,
            )
        return [given[name] for name in self._names]

    def _of_arrays(self, values: Sequence[Any]) -> ArrayRows:
        pairs = zip(values, self._names, strict=True)
        arrays = [as_array(value, name) for value, name in pairs]
        self._look_for_swap(arrays)
        transformed = self._transformed
        return ArrayRows(self._fields, arrays, self._labels, transformed=transformed)

    def _look_for_swap(self, arrays: Sequence[Any]) -> None:
        """Refuse arrays that suit the inputs in the other order alone."""
        fields = self._fields
        if len(fields) != 2 or self._transformed:
            return
        shapes = [tuple(array.shape[1:]) for array in arrays]
        if all(f.suits(s) for f, s in zip(fields, shapes, strict=True)):
            return
        if all(f.suits(s) for f, s in zip(fields, reversed(shapes), strict=True)):
            raise SpecError(
                f"the two arrays are in the other order: the inputs of the net are "
                f"{' and '.join(self._names)}; give (second, first), or a dict by names"
            )

    def _of_list(self, data: Sequence[Any]) -> Any:
        """Tell arrays for the inputs from a sequence of items or of batches."""
        if not len(data):
            raise SpecError("the data have no items")
        if all(isinstance(one, str | os.PathLike) for one in data):
            paths = [Path(os.fspath(one)) for one in data]
            if all(path.suffix in SEVERAL_FILES for path in paths):
                return SeveralRows([self._of_path(path) for path in paths])
        several = all(isinstance(one, tuple | Mapping) for one in data)
        if several and not (isinstance(data, tuple) and len(data) == len(self._names)):
            return self._of_sequence(data)
        if several and any(isinstance(one, Mapping) for one in data):
            return self._of_sequence(data)
        if isinstance(data, tuple) or len(self._names) > 1:
            return self._of_arrays(self.split(data))
        if is_array(data[0]) and np.ndim(data[0]):
            return self._of_sequence(data)
        return self._of_arrays([data])

    def _of_sequence(self, data: Any) -> Any:
        if not len(data):
            raise SpecError("the data have no items")
        first = self.split(data[0])
        transformed = self._transformed
        kind = kind_of(self._fields, first, self._inputs, transformed=transformed)
        if kind == BATCHES:
            return data
        return MapRows(self._fields, data, self.split, transformed=transformed)

    def _of_function(self, function: Callable[..., Any]) -> Any:
        if wants_epoch(function):
            return Stream(function)
        found = function()
        if isinstance(found, Iterator):
            return Stream(function, found)
        if isinstance(found, tuple | Mapping | str | os.PathLike) or is_array(found):
            return self.of(found)
        return Stream(function, found)

    def _of_path(self, path: Path) -> Any:
        fields = self._fields
        how = {"keep_size": self._keep}
        try:
            if not path.exists():
                raise FileError(f"{path}: there is no such file or folder")
            if path.is_dir() and not (path / "data.mdb").exists():
                return folder_rows(path, fields, **how)
            if path.is_dir() or _is_database(path):
                return DatabaseRows(fields, path, shuffled=self._shuffle)
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"{path}: cannot be read: {error.strerror}") from error
        if is_image(path) and len(fields) == 1:
            return image_rows(path, fields, **how)
        if path.suffix in ARRAY_FILES:
            given: dict[str, Any] = {"shuffled": self._shuffle}
            given["transformed"] = self._transformed
            return rows_of_file(path, fields, self._labels, **given)
        return list_rows(path, fields, **how)

    def _unknown(self, data: Any) -> SpecError:
        return SpecError(
            f"data is {data!r:.60}, which cannot be read; expected arrays, a dict by "
            f"the names of the inputs ({', '.join(self._names)}), a path, an iterable "
            f"or a function that returns one"
        )


def _counted(count: int) -> str:
    return "1 array is" if count == 1 else f"{count} arrays are"


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(LMDB_MAGIC_AT + len(LMDB_MAGIC))
    return start[LMDB_MAGIC_AT:] == LMDB_MAGIC
