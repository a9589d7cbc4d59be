"""The net of a model file: a Python file with a function that returns one.

The function is the one named like the file (`lenet` in `lenet.py`), `net`, or the only
public one. A `NetSpec` at the top of the file does as well.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from netspec import bundled
from netspec.commands.settings import check_names, parameters, parse_settings
from netspec.errors import FileError, NetspecError, ShapeError, SpecError, did_you_mean
from netspec.language.folder import Folder
from netspec.nets.deploy import deploy as derive
from netspec.nets.module_paths import known_paths
from netspec.nets.phases import one_phase
from netspec.nets.settled import settled
from netspec.schema import NetParameter
from netspec.site import shown_path
from netspec.text import is_strict, refuse_unknown

USUAL = "net"  # what a net function is called in a file of any name


def load_model(
    path: str | Path,
    *,
    net: str | None = None,
    deploy: bool = False,
    phase: int | None = None,
    batch_size: int | None = None,
    settings: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    level: int = 0,
    stages: Sequence[str] = (),
    paths: dict[str, str] | None = None,
    **arguments: Any,
) -> NetParameter:
    """Return the net of a Python file.

    net: the name of the function or `NetSpec` to take. deploy: take the net for use,
    without data and losses. phase: keep the layers of this phase only. batch_size,
    arguments: parameters of the function; settings: the same as text, "name=value".
    shapes: of tops of data layers, for a net for use that has to be derived. level,
    stages: what rules see beside the phase, where that is given or the net derived.
    paths: gets the paths of modules that names do not show; see `known_paths`.

    Raises `FileError` for a file that cannot be read, `SpecError` for everything that
    goes wrong in it, naming its line.
    """
    path = Path(path)
    module = _load(path)
    makers = makers_of(module)
    maker, given = choose_maker(path, makers, net, deploy)
    derived = deploy and maker is not makers.get("deploy") and "deploy" not in given
    if batch_size is not None and not (derived and _has_no(maker, "batch_size")):
        given["batch_size"] = batch_size
    given.update(arguments)
    if isinstance(maker, Folder):
        if given or settings:
            raise SpecError(f"{path}: the net is no function, so it has no parameters")
        result: Any = maker
    else:
        check_names(maker, list(given), str(path))
        given.update(parse_settings(maker, settings))
        result = _call(path, maker, given)
    message = _message(path, maker, result)
    if paths is not None:
        paths.update(known_paths(result))
    if is_strict():
        refuse_unknown(message, str(path))
    if shapes and not derived:
        raise SpecError(
            f"{path}: shapes are for a net for use that is derived from the one for "
            f"training; {'its own deploy makes it' if deploy else 'add --deploy'}"
        )
    if level or stages:
        message = settled(message, level, stages)
    if derived:
        message = derive(message, shapes=shapes, batch_size=batch_size)
    return message if phase is None else one_phase(message, phase)


def load_for_use(
    path: str | Path, shapes: Mapping[str, Sequence[int]], **how: Any
) -> NetParameter:
    """Return the net for use of a model file.

    shapes: of data, for a net that has to be derived and whose data only files tell.
    how: other arguments of `load_model`.
    """
    try:
        return load_model(path, deploy=True, **how)
    except ShapeError:
        if not shapes:
            raise
    return load_model(path, deploy=True, shapes=shapes, **how)


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path}: is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _located(path, error) from error
    finally:
        sys.path.remove(folder)
    return module


def makers_of(module: ModuleType) -> dict[str, Any]:
    """Return the public functions of a module's own, and its NetSpecs."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, Folder)
            or (inspect.isfunction(value) and value.__module__ == module.__name__)
        )
    }


def choose_maker(
    path: Path, makers: Mapping[str, Any], net: str | None, deploy: bool
) -> tuple[Any, dict[str, Any]]:
    """Return the function or NetSpec to take, and the arguments that choose the net."""
    if net is None and deploy and "deploy" in makers:
        return makers["deploy"], {}
    maker = _named(path, makers, net) if net else _default(path, makers)
    if not deploy:
        return maker, {}
    return maker, {} if _has_no(maker, "deploy") else {"deploy": True}


def _has_no(maker: Any, name: str) -> bool:
    return isinstance(maker, Folder) or name not in parameters(maker)


def _named(path: Path, makers: Mapping[str, Any], name: str) -> Any:
    if name not in makers:
        hint = did_you_mean(name, makers)
        raise SpecError(f"{path}: has no function {name!r}{hint} ({_list(makers)})")
    return makers[name]


def _default(path: Path, makers: Mapping[str, Any]) -> Any:
    name = path.stem.replace("-", "_")
    for usual in (name, USUAL):
        if usual in makers:
            return makers[usual]
    others = [key for key in makers if key != "deploy"]
    if len(others) == 1:
        return makers[others[0]]
    raise SpecError(
        f"{path}: which net? Name its function {name}(), or choose one with --net "
        f"({_list(makers)})"
    )


def _list(makers: Mapping[str, Any]) -> str:
    return f"the file has {', '.join(makers) or 'no functions'}"


def _call(path: Path, maker: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    missing = [
        name
        for name, parameter in inspect.signature(maker).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind
        not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        and name not in given
    ]
    if missing:
        words = " ".join(f"--set {name}=..." for name in missing)
        raise SpecError(f"{path}: {maker.__name__}() needs more; add {words}")
    try:
        return maker(**given)
    except Exception as error:
        raise _located(path, error) from error


def _message(path: Path, maker: Any, result: Any) -> NetParameter:
    if isinstance(result, NetParameter):
        return result
    if not hasattr(result, "to_proto"):
        name = getattr(maker, "__name__", "net")
        raise SpecError(
            f"{path}: {name}() returns {result!r}; expected a NetSpec or a NetParameter"
        )
    try:
        message: NetParameter = result.to_proto()
    except Exception as error:
        raise _located(path, error) from error
    return message


def _located(path: Path, error: Exception) -> NetspecError:
    """Return `error` as one of ours, with the lines of the user's file in it."""
    if isinstance(error, SyntaxError):
        where = f"{error.filename or path}:{error.lineno or 1}"
        return SpecError(f"{shown_path(where)}: {error.msg}")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path) or frame.filename == str(path.resolve())
    ]
    lines = [f"{shown_path(frame.filename)}:{frame.lineno}" for frame in frames]
    if isinstance(error, NetspecError):
        # It names the innermost line itself.
        calls = [line for line in lines if line not in str(error)]
        trail = f" (called from {', '.join(reversed(calls))})" if calls else ""
        kind = FileError if isinstance(error, FileError) else SpecError
        return kind(f"{error}{trail}")
    where = lines[-1] if lines else str(path)
    hint = _of_models(error.name) if isinstance(error, ModuleNotFoundError) else ""
    return SpecError(f"{where}: {type(error).__name__}: {error}{hint}")


def _of_models(name: str | None) -> str:
    """Return what to do about a module that is not found and is one of the models."""
    if name not in bundled.files():
        return ""
    return (
        f"; it is a model of netspec: write from netspec.models import {name}, or copy "
        f"it with python -m netspec models {name} -o {name}.py"
    )
