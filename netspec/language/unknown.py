"""The errors for names that `L` and `P` do not have."""

from __future__ import annotations

from collections.abc import Iterable

from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError, did_you_mean
from netspec.site import user_site


class NoSuchType(SpecError, AttributeError):
    """A layer type that is not in the catalogue."""


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
    site = user_site()
    hint = did_you_mean(name, LAYER_TYPES)
    return NoSuchType(
        f"{site}: no layer type is named {name!r}{hint or '.'} A type of your own is "
        f"called by netspec.layer({name!r}, ...)"
    )


def no_such_param(name: str, names: Iterable[str]) -> AttributeError:
    """Return the error of `P.name` for an unknown type or one without enums.

    names: all that `P` has.
    """
    if name.startswith("_"):
        return AttributeError(name)
    known = [each for each in names if each[0].isupper() and each != "Any"]
    hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
    return NoSuchType(
        f"{user_site()}: no layer type with named values is called {name!r}{hint}"
    )
