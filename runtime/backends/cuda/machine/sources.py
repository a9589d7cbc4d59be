"""CUDA sources: the files of `kernels/` with what they include, and what they declare.

A source is C++ that reads in one piece: `#include "x.cuh"` is replaced by that file,
once. The parameters of its kernels are read from the text, so that arguments are
converted to the types that are declared there and a wrong number of them is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "kernels"
# Scalars that kernels may take; everything else must be a pointer.
SCALARS: dict[str, Any] = {
    "int": np.int32,
    "unsigned": np.uint32,
    "long long": np.int64,
    "float": np.float32,
}
# What the functions are called that make the threads of a block wait for each other.
_WAITS = re.compile(r"__syncthreads|\bblock_\w+\(")
_INCLUDE = re.compile(r'^#include "([\w.]+)"\n', re.MULTILINE)
_KERNEL = re.compile(
    r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)\s*\{"
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Function:
    """A kernel as its source declares it.

    parameters: NumPy's type of every scalar, `None` for a pointer. waits: whether its
    threads wait for each other.
    """

    name: str
    parameters: tuple[Any, ...]
    waits: bool


@cache
def text_of(file: str) -> str:
    """Return the source `file` of `kernels/` with its includes put in."""
    seen: set[str] = set()

    def read(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (FOLDER / name).read_text()
        return _INCLUDE.sub(lambda match: read(match[1]), text)

    return read(file)


@cache
def functions_of(file: str) -> dict[str, Function]:
    """Return the kernels of a source, by name."""
    return functions_in(text_of(file))


def functions_in(text: str) -> dict[str, Function]:
    """Return the kernels that a text declares, by name."""
    plain = _COMMENT.sub("", text)
    found = {}
    for match in _KERNEL.finditer(plain):
        name, declared = match[1], match[2]
        body = _body(plain, match.end())
        parameters = tuple(_type_of(one) for one in declared.split(",") if one.strip())
        found[name] = Function(name, parameters, bool(_WAITS.search(body)))
    return found


def _body(text: str, start: int) -> str:
    """Return the text from `start` to the brace that closes the one before it."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at]
    return text[start:]


def _type_of(declared: str) -> Any:
    if "*" in declared:
        return None
    words = declared.replace("const ", " ").split()
    kind = " ".join(words[:-1])
    if kind not in SCALARS:
        raise TypeError(
            f"kernel parameter {declared.strip()!r}: expected a pointer or one of "
            f"{', '.join(SCALARS)}"
        )
    return SCALARS[kind]


def files() -> list[str]:
    """Return the names of all sources."""
    return sorted(path.name for path in FOLDER.glob("*.cu"))
