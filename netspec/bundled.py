"""The files of `models/`: in a wheel a part of this package, else beside it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netspec.errors import SpecError, did_you_mean

_IN_WHEEL = Path(__file__).with_name("models") / "sources"
_IN_CHECKOUT = Path(__file__).resolve().parents[1] / "models"
_SOLVER = "_solver"  # how the names of solver files end


def folder() -> Path:
    """Return the folder of the models."""
    return _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_CHECKOUT


def files() -> dict[str, Path]:
    """Return every file by its name without a suffix, and every package by its own.

    Nets are Python files and prototxts; solver files end in `_solver`; packages have
    layers in Python that some nets name.
    """
    found = {}
    for path in sorted(folder().glob("[a-z]*")):
        package = (path / "__init__.py").is_file()
        if package or path.suffix in (".py", ".prototxt"):
            found[path.stem] = path
    return found


def nets() -> dict[str, Path]:
    """Return the files that have a net, by name."""
    return {
        name: path
        for name, path in files().items()
        if path.suffix and not name.endswith(_SOLVER)
    }


def path_of(name: str) -> Path:
    """Return the file, or the folder of the package, of this name.

    name: without a suffix, or with that of the file. Raises `SpecError`.
    """
    known = files()
    for stem, path in known.items():
        if name in (stem, path.name):
            return path
    raise SpecError(
        f"{name!r} is no model of netspec{did_you_mean(name, known)} "
        f"(python -m netspec models lists all)"
    )


@contextmanager
def packages_last(module: str) -> Iterator[None]:
    """Let a package of the models be imported, for a block, where there is no other.

    module: the name that is imported, as in `rpn.proposal_layer`.
    """
    name = module.partition(".")[0]
    ours = files().get(name)
    place = str(folder())
    if ours is None or ours.suffix or name in sys.modules:
        yield
        return
    sys.path.append(place)
    try:
        yield
    finally:
        sys.path.remove(place)


def first_line(path: Path) -> str:
    """Return what a file says that it is, in a line."""
    if path.is_dir():
        path = path / "__init__.py"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:  # the comment at its top, up to the first stop
        comment = re.match(r"(?:#.*\n)*", text)
        words = re.sub(r"^# ?", "", comment[0] if comment else "", flags=re.MULTILINE)
        said = re.split(r"[.:;](?:\s|$)", " ".join(words.split()), maxsplit=1)[0]
    return (said.splitlines() or [""])[0].rstrip(".")


def neighbours(path: Path) -> list[Path]:
    """Return the files of the models that one imports, and those that these import."""
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        for name in _imported(waiting.pop()):
            beside = path.with_name(f"{name}.py")
            if beside.is_file() and beside != path and beside not in found:
                found[beside] = None
                waiting.append(beside)
    return list(found)


def _imported(path: Path) -> list[str]:
    if path.suffix != ".py":
        return []
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.append(str(node.module))
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names
