"""The name `caffe` for `runtime.pycaffe` in import statements.

Scripts of forks of Caffe import modules that only the fork has, such as
`caffe.model_libs`. These are looked for in the `caffe` folders on `sys.path`, after our
own; nothing else of the fork is imported, its `__init__.py` included.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from netspec import compatible

_PACKAGE = __name__.rpartition(".")[0]
_FOLDER = str(Path(__file__).parent)


class SearchPath(list[str]):
    """Our folder, what a script adds, and the folders `caffe` now on `sys.path`."""

    def __init__(self) -> None:
        super().__init__([_FOLDER])

    def __iter__(self) -> Iterator[str]:
        own = [*super().__iter__()]
        yield from own
        yield from (folder for folder in _on_path() if folder not in own)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, folder: object) -> bool:
        return folder in [*self]

    def __repr__(self) -> str:
        return repr([*self])


def _others() -> list[str]:
    """Return where modules are looked for that are not ours."""
    return [*sys.modules[_PACKAGE].__path__][1:]


def _on_path() -> list[str]:
    """Return the folders of other packages named caffe."""
    folders = [Path(place or ".", "caffe") for place in sys.path]
    return [str(folder) for folder in dict.fromkeys(folders) if folder.is_dir()]


class _Aliases(MetaPathFinder, Loader):
    """Finds `caffe.x` where `runtime.pycaffe.x` is; both are one module.

    So are both where only another `caffe` has x.
    """

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """Return how to import a module of `caffe`, also by its name here."""
        if name.startswith(f"{_PACKAGE}."):
            return self._theirs(name)
        if name.partition(".")[0] != "caffe":
            return None
        if name == "caffe":
            return ModuleSpec(name, self)
        parent = name.rpartition(".")[0]
        if parent == "caffe":
            if PathFinder.find_spec(name, [_FOLDER]) is not None:
                return ModuleSpec(name, self)
            if PathFinder.find_spec(name, _others()) is None:
                raise ModuleNotFoundError(_not_found(name), name=name)
            return None
        around = getattr(sys.modules.get(parent), "__name__", "")
        if not around.startswith(f"{_PACKAGE}."):
            return None  # a package of theirs looks in its own folder
        found = importlib.util.find_spec(_real(name))
        return None if found is None else ModuleSpec(name, self)

    def _theirs(self, name: str) -> ModuleSpec | None:
        """Return how `from caffe import x` gets what only another caffe has."""
        child = name.removeprefix(f"{_PACKAGE}.")
        if "." in child or PathFinder.find_spec(name, [_FOLDER]) is not None:
            return None
        alias = f"caffe.{child}"
        if PathFinder.find_spec(alias, _others()) is None:
            return None
        return ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the real module in the place of the new, empty one."""
        name = module.__name__
        if name.startswith(f"{_PACKAGE}."):
            real = f"caffe{name.removeprefix(_PACKAGE)}"
        else:
            real = _real(name)
        sys.modules[name] = importlib.import_module(real)


def _real(name: str) -> str:
    return _PACKAGE + name.removeprefix("caffe")


def _not_found(name: str) -> str:
    found = _others()
    there = f"in {', '.join(found)}" if found else "in a folder caffe on sys.path"
    return (
        f"No module named {name!r}: it is not one of Caffe's own, nor {there}. If a "
        f"fork of Caffe has it, put the folder around the fork's caffe, such as "
        f"FORK/python, on sys.path or PYTHONPATH"
    )


def install() -> None:
    """Let `import caffe`, and all its modules, mean this package from now on.

    Also where another Caffe is installed; its modules that are missing here are found
    behind ours. Calling it again does nothing.
    """
    if not any(isinstance(finder, _Aliases) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Aliases())
    for name in [n for n in sys.modules if n == "caffe" or n.startswith("caffe.")]:
        if not getattr(sys.modules[name], "__name__", "").startswith(_PACKAGE):
            del sys.modules[name]
    sys.modules[_PACKAGE].__path__ = SearchPath()
    objects: Any = sys.modules  # what is imported need not be a module
    objects["caffe.layers"] = compatible.layers
    objects["caffe.params"] = compatible.params
