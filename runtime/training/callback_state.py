"""The states of callbacks in snapshots: JSON, and the bytes of arrays behind it.

One state is a line of JSON in UTF-8, with the name of its callback, the state itself
and the types and shapes of its arrays, and after that line the bytes of the arrays in
this order. In the state stand, where JSON has no word for them,

    {"$array": 0}       the array of that number
    {"$float": "nan"}   a number that is not finite
    {"$dict": {...}}    a dict that has such a word as its key
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError

KINDS = "biufcSUmM"  # of NumPy's types: those whose values are bytes
WORDS = ("$array", "$float", "$dict")
SOLVER = ""  # the name of the state that is the solver's own

States = dict[str, dict[str, Any]]  # by the names of callbacks


def packed(name: str, state: Mapping[str, Any]) -> bytes:
    """Return the state of a callback as bytes.

    Raises `SpecError` for what can be neither JSON nor an array.
    """
    if not isinstance(state, Mapping):
        raise SpecError(
            f"state_dict of callback {name!r} must return a dict, "
            f"got {type(state).__name__}"
        )
    arrays: list[np.ndarray] = []
    if strange := [key for key in state if not isinstance(key, str)]:
        raise SpecError(
            f"state_dict of callback {name!r} has the key {strange[0]!r}; its keys must"
            f" be strings"
        )
    plain = {key: _plain(value, _at(key), arrays) for key, value in state.items()}
    types = [{"type": one.dtype.str, "shape": one.shape} for one in arrays]
    head = json.dumps(
        {"name": name, "state": plain, "arrays": types}, allow_nan=False
    ).encode()
    return b"".join([head, b"\n", *(one.tobytes() for one in arrays)])


def unpacked(data: Sequence[bytes], where: Any) -> States:
    """Return the states that `packed` made bytes of, by their names.

    Raises `FileError` naming `where` for bytes that are something else.
    """
    states: States = {}
    for one in data:
        try:
            head, _, rest = one.partition(b"\n")
            told = json.loads(head)
            arrays, at = [], 0
            for row in told["arrays"]:
                dtype, shape = np.dtype(row["type"]), tuple(map(int, row["shape"]))
                if dtype.kind not in KINDS or min((0, *shape)) < 0:
                    raise ValueError(f"{dtype}, {shape}")
                nbytes = math.prod(shape) * dtype.itemsize
                values = np.frombuffer(rest[at : at + nbytes], np.uint8)
                arrays.append(values.view(dtype).reshape(shape).copy())
                at += nbytes
            state = {k: _restored(v, arrays) for k, v in told["state"].items()}
            states[str(told["name"])] = state
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise FileError(
                f"{where}: the state of a callback in it is broken ({error}); take "
                f"another snapshot"
            ) from error
    return states


def _at(key: Any) -> str:
    return f"[{key!r}]"


def _plain(value: Any, place: str, arrays: list[np.ndarray]) -> Any:
    """Return a value as JSON has it; arrays are put aside."""
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in KINDS:
        arrays.append(np.ascontiguousarray(value).reshape(value.shape))
        return {"$array": len(arrays) - 1}
    if isinstance(value, list | tuple):
        return [_plain(v, place + _at(i), arrays) for i, v in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        found = {key: _plain(v, place + _at(key), arrays) for key, v in value.items()}
        return {"$dict": found} if any(word in found for word in WORDS) else found
    what = type(value).__name__
    if isinstance(value, Mapping):
        what = "dict with keys that are no strings"
    elif isinstance(value, np.ndarray | np.generic):
        what = f"array of {value.dtype}"
    raise SpecError(
        f"state_dict(){place} is a {what}, which a snapshot cannot keep; it keeps "
        f"numbers, strings, None and arrays, and lists and dicts of them"
    )


def _restored(value: Any, arrays: Sequence[np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_restored(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        array = arrays[value["$array"]]
        return array if array.ndim else array[()]
    if "$float" in value:
        return float(value["$float"])
    value = value.get("$dict", value)
    return {key: _restored(one, arrays) for key, one in value.items()}
