"""The name `caffe` for `runtime.pycaffe` in import statements."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from netspec import compatible

_PACKAGE = __name__.rpartition(".")[0]


class _Aliases(MetaPathFinder, Loader):
    """Finds `caffe.x` where `runtime.pycaffe.x` is; both are one module."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """Return how to import a module of `caffe`."""
        if name.partition(".")[0] != "caffe":
            return None
        if importlib.util.find_spec(_real(name)) is None:
            return None
        return ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the real module in the place of the new, empty one."""
        sys.modules[module.__name__] = importlib.import_module(_real(module.__name__))


def _real(name: str) -> str:
    return _PACKAGE + name.removeprefix("caffe")


def install() -> None:
    """Let `import caffe`, and all its modules, mean this package from now on.

    Also where another Caffe is installed. Calling it again does nothing.
    """
    if not any(isinstance(finder, _Aliases) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Aliases())
    for name in [n for n in sys.modules if n == "caffe" or n.startswith("caffe.")]:
        if not getattr(sys.modules[name], "__name__", "").startswith(_PACKAGE):
            del sys.modules[name]
    objects: Any = sys.modules  # what is imported need not be a module
    objects["caffe.layers"] = compatible.layers
    objects["caffe.params"] = compatible.params
