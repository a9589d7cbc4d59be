"""The names that `L` and `P` have, and the errors for those that they do not have."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError, did_you_mean
from netspec.site import user_site


def layer_names(module: Mapping[str, Any]) -> list[str]:
    """Return what `dir(L)` lists: the layer functions, and nothing that they need."""
    return _names(module, inspect.isfunction)


def class_names(module: Mapping[str, Any]) -> list[str]:
    """Return what `dir(P)` lists: the layer types with named values."""
    return _names(module, inspect.isclass)


def _names(module: Mapping[str, Any], is_kind: Any) -> list[str]:
    own = (
        name
        for name, value in module.items()
        if is_kind(value) and value.__module__ == module["__name__"]
    )
    special = (name for name in module if name.startswith("__"))
    return sorted({*own, *special})


class NoSuchType(SpecError, AttributeError):
    """A layer type that is not in the catalogue."""


class Values(type):
    """The class of the classes in `P`: it says which values there are."""

    def __getattr__(cls, name: str) -> Any:
        known = [each for each in vars(cls) if each.isupper() or each[:1].isupper()]
        if name.startswith("__"):
            raise AttributeError(name)
        raise NoSuchType(
            f"{user_site()}: P.{cls.__name__} has no value {name!r}"
            f"{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
        )


def is_fork_type(name: str) -> bool:
    """Tell whether `L.name` is a layer type of a fork, or of a user's own schema."""
    if not name[:1].isupper():
        return False
    from netspec.forks.keywords import is_type  # which most nets do not need

    return is_type(name)


def no_such_layer(name: str) -> AttributeError:
    """Return the error of `L.name` for an unknown layer type."""
    if name.startswith("_"):
        return AttributeError(name)
    from netspec.language.foreign_words import type_here  # right names do without

    site = user_site()
    here = type_here(name)
    if here is not None:
        return NoSuchType(f"{site}: no layer type is named {name!r}; write {here}")
    hint = did_you_mean(name, LAYER_TYPES)
    return NoSuchType(
        f"{site}: no layer type is named {name!r}{hint or '.'} A type of your own is "
        f"called by netspec.layer({name!r}, ...)"
    )


def no_such_param(name: str, names: Mapping[str, Any]) -> AttributeError:
    """Return the error of `P.name` for an unknown type or one without enums.

    names: all that `P` has, by name.
    """
    if name.startswith("_"):
        return AttributeError(name)
    known = [each for each in class_names(names) if not each.startswith("_")]
    hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
    return NoSuchType(
        f"{user_site()}: no layer type with named values is called {name!r}{hint}"
    )
