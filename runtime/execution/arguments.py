"""Arguments of nets and solvers: what they are made of, checked in the user's words."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import SpecError, UnsupportedError, did_you_mean, shown

DTYPES = ("float32", "float64")


def path_of(value: Any, what: str) -> Path:
    """Return a path; raises `SpecError` for what is none."""
    if isinstance(value, str | os.PathLike) and os.fspath(value) != "":
        return Path(os.fspath(value))
    raise SpecError(f"{what} is {shown(value)}; expected the path of a file")


def integer(value: Any, what: str, least: int | None = None) -> int:
    """Return a whole number, also one of NumPy's; raises `SpecError` for others."""
    expected = "a whole number" + ("" if least is None else f" from {least}")
    try:
        number = operator.index(value)
    except TypeError:
        whole = isinstance(value, float) and value.is_integer()
        fix = f"; write {int(value)}" if whole else ""
        said = f"{what} is {shown(value)}; expected {expected}{fix}"
        raise SpecError(said) from None
    if isinstance(value, bool) or (least is not None and number < least):
        raise SpecError(f"{what} is {value!r}; expected {expected}")
    return number


def optional_bool(value: Any, what: str) -> bool | None:
    """Return True, False or None; raises `SpecError` for anything else."""
    if value is None or isinstance(value, bool):
        return value
    raise SpecError(f"{what} is {shown(value)}; expected True, False or None")


def names_of(value: Any, what: str) -> list[str]:
    """Return names that are given as one or as several; raises `SpecError`."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        names = list(value)
        if all(isinstance(name, str) for name in names):
            return names
    raise SpecError(f"{what} is {shown(value)}; expected names")


def dtype_of(value: Any) -> str:
    """Return the name of a type of numbers that nets have; raises `SpecError`."""
    try:
        name = np.dtype(value).name
    except TypeError:
        name = str(value)
    if value is None or name not in DTYPES:
        near = did_you_mean(name, DTYPES) if isinstance(value, str) else ""
        raise SpecError(
            f"dtype is {shown(value)}{near}; expected one of {', '.join(DTYPES)}. "
            f"Blobs of 16 bits are precision='fp16' and 'bf16', on a GPU"
        )
    return name


def layer_name(value: Any, what: str) -> str | None:
    """Return the name of a layer, or None; raises `SpecError` for anything else."""
    if value is None or isinstance(value, str):
        return value
    raise SpecError(f"{what} is {shown(value)}; expected the name of a layer")


def blobs_and_inputs(
    given: Any, inputs: Sequence[str], named: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """Return what the first argument of `forward` means: names, or values of inputs.

    Names of blobs as pycaffe has them; a dict of inputs; an array where the net has one
    input. Raises `SpecError` for anything else.
    """
    if given is None:
        return [], dict(named)
    if isinstance(given, Mapping):
        return [], {**given, **named}
    if isinstance(given, str):
        return [given], dict(named)
    if not hasattr(given, "__array__") and isinstance(given, Iterable):
        names = list(given)
        if all(isinstance(name, str) for name in names):
            return names, dict(named)
    elif isinstance(given, np.ndarray) and given.dtype.kind in "UO":
        return names_of(given.tolist(), "blobs"), dict(named)
    if len(inputs) == 1 and not named:
        return [], {inputs[0]: given}
    fix = ", ".join(f"{name}=..." for name in inputs)
    raise SpecError(
        f"forward: the first argument is {shown(given)}; it is for the names of blobs. "
        + (f"Give inputs by name: forward({fix})" if fix else "This net has no inputs")
    )


def refuse_copy(what: str, instead: str) -> UnsupportedError:
    """Return the error for what can be neither copied nor pickled."""
    return UnsupportedError(
        f"a {what} cannot be copied or pickled, as it has compiled code, threads and "
        f"memory of its own; {instead}"
    )
