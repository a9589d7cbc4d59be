"""Whether text is that of a net or of a solver, as the names of its fields tell."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from netspec.errors import SpecError
from netspec.files import is_file, read_bytes
from netspec.schema import NetParameter, SolverParameter
from netspec.schema.kept import known_fields
from netspec.text.checks import BINARY_BYTE
from netspec.text.tokens import outer_fields

Kind: TypeAlias = Literal["net", "solver"]

_NET = frozenset(known_fields(NetParameter.DESCRIPTOR)) | {"module", "import"}
_SOLVER = frozenset(known_fields(SolverParameter.DESCRIPTOR))
# A name may stand ahead of either.
_OF_NETS = _NET - _SOLVER - {"name", "state"}
_OF_SOLVERS = _SOLVER - _NET
_NO_TEXT = frozenset((".caffemodel", ".onnx", ".binaryproto", ".pb", ".solverstate"))
HEAD_BYTES = 4096  # which tell text from a binary file
FIRST_BYTES = 1 << 20  # of text, in which a field tells
_NETS = ("net", "train_net")


def held(text: str) -> Kind | None:
    """Return what `text` is; None where its fields do not tell.

    Text with layers is a net, whatever else is in it.
    """
    found: Kind | None = None
    for name, _ in outer_fields(text):
        if name in _OF_NETS:
            return "net"
        if name in _OF_SOLVERS:
            found = "solver"
    return found


def is_solver_file(path: str | Path) -> bool:
    """Tell whether a file is the text of a solver."""
    if not is_file(path) or Path(path).suffix.lower() in _NO_TEXT:
        return False
    data = read_bytes(path, FIRST_BYTES)
    if BINARY_BYTE.search(data, 0, HEAD_BYTES):
        return False
    return held(data.decode(errors="replace")) == "solver"


def refuse_solver(text: str, source: str) -> None:
    """Raise `SpecError` where text that should be a net is a solver."""
    if held(text) != "solver":
        return
    named = dict(reversed([*outer_fields(text)]))
    net = next((named[field] for field in _NETS if named.get(field)), None)
    its = f"its net is {net}; give that" if net else "give the net that it trains"
    raise SpecError(f"{source}: is a solver, not a net; {its}")


def refuse_net(text: str, source: str) -> None:
    """Raise `SpecError` where text that should be a solver is a net."""
    if held(text) == "net":
        raise SpecError(
            f"{source}: is a net, not a solver; a solver file names it (`net: ...`) "
            f"and says how to train it (`base_lr`, `lr_policy`, `max_iter`, ...)"
        )
