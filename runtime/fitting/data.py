"""The data of a `fit`: to train, and to test after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.schema import TEST, TRAIN
from runtime.data.dataset import open_dataset, split_dataset
from runtime.data.given.arrays import is_array
from runtime.data.given.base import Dataset, Later
from runtime.data.given.parted import Parted
from runtime.data.given.streams import StreamBatches
from runtime.data.given.transforming import is_for_images
from runtime.fitting.alike import warn_of_unlike
from runtime.fitting.inputs import Inputs


@dataclass(frozen=True)
class Given:
    """What `fit` was given about data, as it was given."""

    data: Any = None
    validation: Any = None
    batch_size: int | None = None
    shuffle: bool = True
    transform: Any = None
    validation_transform: Any = None

    @property
    def splits(self) -> bool:
        """Whether the last part of the data is for testing."""
        number = isinstance(self.validation, int | float | np.number)
        return number and not isinstance(self.validation, bool)

    def goes_on(self, old: Given) -> bool:
        """Say whether this is what was given before, as far as it is given again."""
        whole = ("data", "shuffle", "transform")
        if self.data is None:
            return True
        return all(
            (name not in whole and getattr(self, name) is None)
            or same(getattr(self, name), getattr(old, name))
            for name in vars(self)
        )

    def check(self) -> None:
        """Raise `SpecError` for values that cannot be."""
        if self.splits and not 0 < float(self.validation) < 1:
            raise SpecError(
                f"validation is {self.validation!r}; as a number it is the part of the "
                f"data to test with, above 0 and below 1"
            )
        if self.data is None and self.validation is not None:
            raise SpecError(
                "validation is given, but no data, to which it belongs; a net that "
                "reads its own data has data layers to test with, too (include: TEST)"
            )
        if isinstance(self.data, Dataset) and self.validation is self.data:
            raise SpecError(
                "validation is the data set to train with, which can be read at one "
                "place at a time; open it a second time"
            )
        for name in ("batch_size", "transform"):
            if self.data is None and getattr(self, name) is not None:
                raise SpecError(f"{name} is given, but no data, to which it belongs")
        if not isinstance(self.shuffle, bool | np.bool_):
            raise SpecError(f"shuffle is {self.shuffle!r}; expected True or False")

    @property
    def test_transform(self) -> Any:
        """What is done to data for testing: Caffe's fields are, for TEST."""
        given = self.validation_transform
        same = isinstance(given, str) and given == "same"
        if same or (given is None and is_for_images(self.transform)):
            return self.transform
        return given


@dataclass(frozen=True)
class Opened:
    """The data sets of a `fit`; None where a net reads its own data."""

    train: Dataset | None
    test: Dataset | None

    def divided(self, parts: int) -> Opened:
        """Return them with every batch of training in so many parts."""
        if self.train is None or parts == 1:
            return self
        return Opened(Parted(self.train, parts), self.test)

    def close(self) -> None:
        """Close both."""
        for dataset in (self.train, self.test):
            if dataset is not None:
                dataset.close()


def open_data(given: Given, train: Inputs, test: Inputs | None, seed: int) -> Opened:
    """Open the data for nets with these inputs.

    Warns where those to test with have quite other values.

    Raises `SpecError`, `ShapeError` and `FileError`, naming the argument.
    """
    opened = _opened(given, train, test, seed)
    if opened.train is not None and opened.test is not None:
        alone = callable(given.transform) and given.test_transform is None
        warn_of_unlike(opened.train, opened.test, by_function=alone)
    return opened


def _opened(given: Given, train: Inputs, test: Inputs | None, seed: int) -> Opened:
    if given.data is None:
        if train.shapes and not train.own:
            raise SpecError(
                f"fit: no data are given, and the net has the inputs "
                f"{', '.join(train.shapes)} and no data layer; give "
                f"({', '.join(train.shapes)}) as arrays, or another kind of data"
            )
        return Opened(None, None)
    train.refuse_own("data")
    size = given.batch_size
    if given.splits:
        shapes = _same_inputs(train, test)
        return Opened(
            *split_dataset(
                given.data,
                shapes,
                float(given.validation),
                batch_size=size,
                shuffle=given.shuffle,
                seed=seed,
                transform=given.transform,
                test_transform=given.test_transform,
            )
        )
    first = open_dataset(
        given.data,
        train.shapes,
        batch_size=size,
        shuffle=given.shuffle,
        seed=seed,
        transform=given.transform,
        phase=TRAIN,
    )
    if given.validation is None or test is None:
        return Opened(first, None)
    test.refuse_own("validation")
    try:
        second = open_dataset(
            given.validation,
            test.shapes,
            batch_size=size,
            seed=seed,
            transform=given.test_transform,
            phase=TEST,
        )
    except SpecError as error:
        first.close()
        raise error.replaced(text=f"validation: {error.text}") from None
    except BaseException:
        first.close()
        raise
    if second.classes != first.classes and first.classes and second.classes:
        first.close()
        second.close()
        raise SpecError(
            f"validation has the classes {', '.join(second.classes)}, the data "
            f"{', '.join(first.classes)}; their folders must have equal names, as "
            f"labels are numbered by them"
        )
    return Opened(first, second)


def _same_inputs(train: Inputs, test: Inputs | None) -> Mapping[str, Any]:
    if test is not None:
        test.refuse_own("validation")
        if [*test.shapes] != [*train.shapes]:
            raise SpecError(
                f"validation is a part of the data, but the net has the inputs "
                f"{', '.join(train.shapes)} in TRAIN and "
                f"{', '.join(test.shapes) or 'none'} in TEST; give validation data of "
                f"their own"
            )
    return train.shapes


def can_begin_anew(dataset: Dataset | None) -> bool:
    """Say whether there are more epochs than one."""
    while isinstance(dataset, Later | Parted):
        dataset = dataset.dataset
    return not isinstance(dataset, StreamBatches) or dataset.again


def same(one: Any, other: Any) -> bool:
    """Say whether two values given as data are the same, as far as can be seen.

    Arrays of equal shape and type are if some thousand values spread over them are.
    """
    if one is other:
        return True
    if is_array(one) or is_array(other):
        return is_array(one) and is_array(other) and _same_arrays(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple | list):
        if len(one) != len(other):
            return False
        places = {*range(min(len(one), 4)), len(one) // 2, len(one) - 1} if one else ()
        return all(same(one[place], other[place]) for place in places)
    return _equal(one, other)


def _same_arrays(one: Any, other: Any) -> bool:
    if one.shape != other.shape or str(one.dtype) != str(other.dtype):
        return False
    first, second = np.asarray(one).reshape(-1), np.asarray(other).reshape(-1)
    step = max(1, first.size // LOOKED)
    return bool(np.array_equal(first[::step], second[::step]))


LOOKED = 4096  # values of an array that are compared


def _equal(one: Any, other: Any) -> bool:
    from runtime.training.same_function import is_again

    if callable(one) and is_again(one, other):
        return True
    code = getattr(one, "gi_code", None)
    if code is not None:  # generators: what is left of the old one is read on
        return bool(code == other.gi_code)
    try:
        return bool(one == other) or _counted_alike(one, other)
    except Exception:  # `==` of others may fail anyhow, and not all have a length
        return False


def _counted_alike(one: Any, other: Any) -> bool:
    """Say whether two objects that know no equality have equal lengths."""
    by_identity = vars(object)["__eq__"] is getattr(type(one), "__eq__", None)
    return by_identity and len(one) == len(other)
