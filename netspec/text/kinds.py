"""Telling a net from a solver by the text: the first name that only one of them has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from netspec.files import is_file, read_bytes
from netspec.schema import NetParameter, SolverParameter

OF_NETS = frozenset(NetParameter.DESCRIPTOR.fields_by_name) | {"module", "import"}
OF_SOLVERS = frozenset(SolverParameter.DESCRIPTOR.fields_by_name)

_OTHERS = frozenset((".caffemodel", ".onnx", ".binaryproto", ".pb", ".solverstate"))
HEAD_BYTES = 1 << 16  # comments at the top are shorter

_TOKEN = re.compile(
    r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}<>]|[A-Za-z_]\w*\s*[:{<]?"""
)


def told_kind(text: str) -> str:
    """Return "net" or "solver" for text that tells, "" for any other."""
    for name in _outer_names(text):
        if name in OF_NETS and name not in OF_SOLVERS:
            return "net"
        if name in OF_SOLVERS and name not in OF_NETS:
            return "solver"
    return ""


def is_solver_file(path: str | Path) -> bool:
    """Tell whether a file is the text of a solver."""
    if not is_file(path) or Path(path).suffix.lower() in _OTHERS:
        return False
    return told_kind(read_bytes(path, HEAD_BYTES).decode(errors="replace")) == "solver"


def _outer_names(text: str) -> Iterator[str]:
    """Yield the names of fields outside all braces, as far as the text is regular."""
    depth = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0] in "#\"'":
            continue
        named = token[0] not in "{}<>"
        if named and depth == 0 and token[-1] in ":{<":
            yield token[:-1].rstrip()
        if token[-1] in "{<":
            depth += 1
        elif token[-1] in "}>":
            depth -= 1
