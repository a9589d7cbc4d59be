"""Whether data to test with are prepared as those to train with are."""

from __future__ import annotations

import numpy as np

from netspec.errors import SpecWarning
from netspec.notebooks import warn_user
from runtime.data.given.base import Dataset
from runtime.data.given.batches import RowBatches

MUCH = 10  # times as widely spread, or apart


def warn_of_unlike(train: Dataset, test: Dataset, *, by_function: bool) -> None:
    """Warn where the first input of tests has values of quite another size.

    Looked at are the first batches, with d the standard deviation of either: where one
    d is `MUCH` times the other, or the means are apart by `MUCH` times the larger d.
    Data that are not known by number are not read.

    by_function: whether a function is the transform of training alone.

    Warns with `SpecWarning`.
    """
    if not (isinstance(train, RowBatches) and isinstance(test, RowBatches)):
        return
    first, second = (data.batch(0)[0].astype(np.float64) for data in (train, test))
    if first.size < 2 or second.size < 2:
        return
    spreads = first.std(), second.std()
    low, high = sorted(spreads)
    if not (np.isfinite(high) and low > 0):
        return
    apart = abs(first.mean() - second.mean())
    if high < MUCH * low and apart < MUCH * high:
        return
    way = "; prepare both alike"
    if by_function:
        way = (
            ", and transform is a function, which is used in training alone; give "
            "validation_transform='same', or a function without what is random"
        )
    warn_user(
        f"input {train.names[0]!r} has other values in validation than in training: "
        f"mean {second.mean():.3g} and standard deviation {spreads[1]:.3g}, against "
        f"{first.mean():.3g} and {spreads[0]:.3g} in the first batch{way}",
        SpecWarning,
    )
