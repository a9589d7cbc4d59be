"""The data that an option of a command names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError

DATA_HELP = (
    "arrays (.npz, .npy, .h5; several .npy for several inputs), an LMDB database, a "
    "folder with a folder of images for each class, or a list with a path and a label "
    "on every line"
)


def data_of(paths: Sequence[str]) -> Any:
    """Return the data: a path, or the arrays of several files."""
    if len(paths) == 1:
        return paths[0]
    return tuple(_array(path) for path in paths)


def _array(path: str) -> np.ndarray:
    if Path(path).suffix != ".npy":
        raise SpecError(
            f"{path}: several files are given as data, so each has to be an array, "
            f".npy; put arrays of other files into one .npz"
        )
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: {error}") from error
    return array
