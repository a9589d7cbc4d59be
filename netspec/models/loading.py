"""From a file of `models/` to a module that one can call."""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any, Literal

from netspec import bundled
from netspec.commands.model_files import choose_maker, makers_of
from netspec.commands.settings import check_names, parameters
from netspec.errors import SpecError, did_you_mean
from netspec.net_spec import NetSpec, load
from netspec.nets.deploy import deploy as derive
from netspec.schema import NetParameter

PACKAGE = __name__.rpartition(".")[0]

_LOADING = threading.RLock()


class Names(dict[str, str]):
    """Names of models, each with a line; shown as a table."""

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:<{width}}  {line}" for name, line in self.items())


class Source(str):
    """The text of a file, shown as it is; `path` is the file."""

    __slots__ = ("path",)

    path: Path

    def __repr__(self) -> str:
        return str(self)


class Model(types.ModuleType):
    """A file of `models/`: a module, and called, its net."""

    def __call__(
        self,
        *arguments: Any,
        deploy: bool = False,
        shapes: Mapping[str, Sequence[int]] | None = None,
        **options: Any,
    ) -> NetSpec:
        """Return the net for training and testing, or for use.

        deploy: return the net for use; where the file has none of its own, it is
        derived as `netspec.deploy` does, which `shapes` are for. arguments, options: of
        the file's function, that of the net for use with `deploy`; `inspect.signature`
        and `help` of the model show them.

        Raises `SpecError` for options that the function does not have, and what it
        raises.
        """
        makers = makers_of(self)
        path = Path(str(self.__file__))
        maker, given = choose_maker(path, makers, None, deploy)
        derived = deploy and maker is not makers.get("deploy") and not given
        given |= options
        size = None
        if derived and "batch_size" not in parameters(maker):
            size = given.pop("batch_size", None)
        what = f"netspec.models.{path.stem}"
        if shapes and not derived:
            raise SpecError(
                f"{what}: shapes are for a net for use that is derived, with "
                f"deploy=True; this one is made by {maker.__name__}()"
            )
        _check(maker, arguments, given, what)
        made = maker(*arguments, **given)
        if derived:
            made = derive(made, shapes=shapes, batch_size=size)
        return as_spec(made)

    def __repr__(self) -> str:
        name = self.__name__.rpartition(".")[2]
        return f"<model {name}{inspect.signature(self)} of {self.__file__}>"


def as_spec(net: NetSpec | NetParameter) -> NetSpec:
    """Return what a function of a model returns as a spec."""
    return net if isinstance(net, NetSpec) else load(net)


def names() -> list[str]:
    """Return the names of all models."""
    return list(bundled.nets())


def table() -> Names:
    """Return the names of all models, each with a line that says what it is."""
    return Names(
        {name: bundled.first_line(path) for name, path in bundled.nets().items()}
    )


def path(name: str) -> Path:
    """Return the file of a model or of a solver: `path("lenet_solver")`.

    Raises `SpecError` for a name that there is not.
    """
    return bundled.path_of(name)


def source(name: str) -> Source:
    """Return the text of the file of a model or of a solver; `.path` is the file.

    Raises `SpecError` for a name that there is not.
    """
    place = bundled.path_of(name)
    if place.is_dir():
        place = place / "__init__.py"
    text = Source(place.read_text(encoding="utf-8"))
    text.path = place
    return text


def get(name: str) -> Any:
    """Return the model of this name, for `netspec.models.NAME`.

    Raises `AttributeError` for another name.
    """
    known = bundled.nets() if not name.startswith("_") else {}
    if name not in known:
        hint = did_you_mean(name, known)
        raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}{hint}")
    if known[name].suffix == ".py":
        return importlib.import_module(f"{PACKAGE}.{name}")
    return _of_text(name, known[name])


def _of_text(name: str, file: Path) -> Any:
    """Return a function that returns the net of a prototxt."""

    def model(*, deploy: bool = False) -> NetSpec:
        return load(derive(str(file)) if deploy else str(file))

    model.__name__ = model.__qualname__ = name
    model.__doc__ = (
        f"{bundled.first_line(file)}.\n\n"
        f"deploy: return the net for use, derived as `netspec.deploy` does."
    )
    return model


def _check(
    maker: Any, arguments: Sequence[Any], given: Mapping[str, Any], what: str
) -> None:
    """Refuse arguments that a function does not have, or values that it names not."""
    check_names(maker, list(given), what)
    try:
        bound = inspect.signature(maker).bind(*arguments, **given)
    except TypeError as error:
        raise SpecError(f"{what}: {error}") from None
    hints = typing.get_type_hints(maker)
    for name, value in bound.arguments.items():
        kind = hints.get(name)
        if typing.get_origin(kind) is Literal and value not in typing.get_args(kind):
            known = ", ".join(map(repr, typing.get_args(kind)))
            raise SpecError(f"{what}: {name} is {value!r}; expected one of {known}")


def _described(module: types.ModuleType) -> tuple[inspect.Signature, str]:
    """Return how a model is called, and what is said of it."""
    path = Path(str(module.__file__))
    makers = makers_of(module)
    maker, _ = choose_maker(path, makers, None, deploy=False)
    signature = inspect.signature(maker)
    said = [str(module.__doc__).rstrip(), _line(path.stem, maker, [])]
    if "deploy" in makers:
        said.append(_line(path.stem, makers["deploy"], ["deploy=True"]))
    flag = inspect.Parameter("deploy", inspect.Parameter.KEYWORD_ONLY, default=False)
    known = list(signature.parameters.values())
    if "deploy" not in signature.parameters:
        named = [one for one in known if one.kind is not one.VAR_KEYWORD]
        signature = signature.replace(
            parameters=[*named, flag, *known[len(named) :]],
        )
    return signature, "\n\n".join(said) + "\n"


def _line(name: str, maker: Any, first: Sequence[str]) -> str:
    words = [*first, *map(str, inspect.signature(maker).parameters.values())]
    doc = inspect.getdoc(maker) or ""
    return f"{name}({', '.join(words)})\n    {doc.splitlines()[0] if doc else ''}"


class _Loader(SourceFileLoader):
    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return Model(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        with _neighbours():
            super().exec_module(module)
        signature, doc = _described(module)
        module.__signature__ = signature  # type: ignore[attr-defined]
        module.__doc__ = doc


class _Finder:
    """Finds `netspec.models.NAME` in the folder of the models."""

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        package, _, stem = name.rpartition(".")
        if package != PACKAGE:
            return None
        file = bundled.nets().get(stem)
        if file is None or file.suffix != ".py":
            return None
        place = str(file)
        return spec_from_file_location(name, place, loader=_Loader(name, place))


@contextmanager
def _neighbours() -> Iterator[None]:
    """Let models import each other by their bare names, for a block.

    Modules of the same names that a program has, or will have, stay its own.
    """
    ours = {
        name for name, path in bundled.files().items() if path.suffix != ".prototxt"
    }

    def take() -> dict[str, types.ModuleType]:
        found = [name for name in sys.modules if name.partition(".")[0] in ours]
        return {name: sys.modules.pop(name) for name in found}

    folder = str(bundled.folder())
    with _LOADING:
        kept = take()
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path.remove(folder)
            take()
            sys.modules.update(kept)


if not any(finder is _Finder for finder in sys.meta_path):
    sys.meta_path.append(_Finder)
