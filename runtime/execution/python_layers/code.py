"""Which code a net may run: what the caller allows, and what the process registered."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from netspec import bundled
from netspec.errors import SpecError, UnsupportedError, did_you_mean
from netspec.ops.base import label
from netspec.ops.own_layer import DEFINED, Definition
from netspec.schema import LayerParameter
from runtime.execution.python_layers.layer import Layer

Kind: TypeAlias = type[Layer] | Definition
Allow: TypeAlias = bool | Iterable[str]  # True: any module; else their names

LayerT = TypeVar("LayerT", bound=type[Layer])

_REGISTERED: dict[tuple[str, str], type[Layer]] = {}


class CodeRefused(UnsupportedError):
    """A module that a net names and that nobody has allowed to be imported."""


class CannotImport(SpecError, ImportError):
    """The module of a layer that is allowed, but cannot be imported."""


def register_layer(kind: LayerT) -> LayerT:
    """Let nets of this process use a `Layer` class; a decorator.

    A net names it by its module and its name, `__main__` for one of a notebook or of
    the running script, and needs no `allow_python`.

    Raises `SpecError` for what is no class derived from `Layer`.
    """
    if not (isinstance(kind, type) and issubclass(kind, Layer)):
        raise SpecError(
            f"register_layer got {kind!r}; expected a class derived from runtime.Layer"
        )
    _REGISTERED[kind.__module__, kind.__qualname__] = kind
    return kind


def allowed_names(allow: Allow) -> bool | tuple[str, ...]:
    """Return what `allow_python` means.

    Raises `SpecError` for what is neither True nor False nor names of modules.
    """
    if isinstance(allow, bool):
        return allow
    if isinstance(allow, str):
        return (allow,)
    names = tuple(allow) if isinstance(allow, Iterable) else (allow,)
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong:
        raise SpecError(
            f"allow_python has {wrong[0]!r}; expected names of modules, as in "
            f"allow_python=['mylayers'], or True for any module"
        )
    return names


def find_classes(layers: Sequence[LayerParameter], allow: Allow) -> list[Kind]:
    """Return the class of every Python layer, importing its module if that is allowed.

    A name allows the module and, if it is a package, what is in it.

    Raises `UnsupportedError`, before anything is imported, where something is not
    allowed; `CannotImport` for a module that is not found; `SpecError` for a class that
    is not there or is none. What a module raises while it is imported keeps its type.
    """
    names = allowed_names(allow)
    refused = [layer for layer in layers if not _is_allowed(layer, names)]
    if refused:
        raise _refusal(refused)
    return [_class_of(layer) for layer in layers]


def key_of(layer: LayerParameter) -> tuple[str, str]:
    """Return the module and the class that a Python layer names."""
    return layer.python_param.module, layer.python_param.layer


def _is_allowed(layer: LayerParameter, names: bool | tuple[str, ...]) -> bool:
    if isinstance(names, bool):
        return names or _known(layer) is not None
    module = layer.python_param.module
    return _known(layer) is not None or any(
        module == name or module.startswith(f"{name}.") for name in names
    )


def _known(layer: LayerParameter) -> Kind | None:
    """Return a class that this process has registered."""
    return DEFINED.get(key_of(layer)) or _REGISTERED.get(key_of(layer))


def _refusal(layers: Sequence[LayerParameter]) -> CodeRefused:
    modules = list(dict.fromkeys(layer.python_param.module for layer in layers))
    wanted = ", ".join(
        f"{label(layer)} wants class {layer.python_param.layer!r} of module "
        f"{layer.python_param.module!r}"
        for layer in layers
    )
    options = " ".join(f"--allow-python {name}" for name in modules)
    return CodeRefused(
        f"{wanted}. A net file is data, so nothing was imported. If you trust this "
        f"code, allow it: allow_python={modules!r} in Python, {options} on the command "
        f"line; a class of your own program by netspec.layer or runtime.register_layer"
    )


def _class_of(layer: LayerParameter) -> Kind:
    found: Any = _known(layer)
    if found is not None:
        return found  # type: ignore[no-any-return]
    module_name, name = key_of(layer)
    if not module_name or not name:
        raise SpecError(
            "python_param must name a module and a layer, the class in it; got module "
            f"{module_name!r} and layer {name!r}",
            layer=label(layer),
        )
    module = _import(layer)
    found = _known(layer)  # the module may have registered it
    if found is None:
        found = getattr(module, name, None)
        found = getattr(found, "definition", found)
    if found is None:
        known = [n for n, value in vars(module).items() if isinstance(value, type)]
        raise SpecError(
            f"module {module_name!r} ({_place(module)}) has no class {name!r}"
            f"{did_you_mean(name, known)}{_of_a_program(module_name)}",
            layer=label(layer),
        )
    if isinstance(found, Definition):
        return found
    if not (isinstance(found, type) and issubclass(found, Layer)):
        raise SpecError(
            f"{module_name}.{name} is {found!r}; expected a class of netspec.layer, or "
            f"one derived from runtime.Layer, which caffe.Layer of runtime.pycaffe is. "
            f"Where another Caffe is installed, call runtime.pycaffe.install() first",
            layer=label(layer),
        )
    return found


def _of_a_program(module: str) -> str:
    if module != "__main__":
        return ""
    return (
        "; '__main__' is whatever program runs, so put a class that several programs "
        "use into a module of its own"
    )


def _import(layer: LayerParameter) -> Any:
    name = layer.python_param.module
    try:
        if not _is_there("caffe"):
            # Modules with layers import caffe. By name, as it stands above this file.
            importlib.import_module("runtime.pycaffe").install()
        with bundled.packages_last(name):
            return importlib.import_module(name)
    except ImportError as error:
        raise CannotImport(
            f"module {name!r} cannot be imported: {error}. It is looked for on "
            f"sys.path: the folder of the running script, or the current one with "
            f"python -m, and those of PYTHONPATH",
            layer=label(layer),
        ) from error
    except Exception as error:
        error.add_note(f"{label(layer)}: raised while module {name!r} was imported")
        raise


def _is_there(name: str) -> bool:
    if name in sys.modules:
        return True
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None  # a mere folder has none


def _place(module: Any) -> str:
    return getattr(module, "__file__", None) or "built in"
