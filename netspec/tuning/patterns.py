"""Layers by their names, by patterns and by the modules that they are in."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from netspec.errors import SpecError, did_you_mean

GLOB = frozenset("*?[")


def fits(name: str, pattern: str) -> bool:
    """Tell whether a layer is meant: by its name, or that of a module around it.

    `*` stands for any text, slashes included, `?` for one character, `[ab]` for one of
    those. The module of `stage1/conv1` is `stage1`.
    """
    wanted = pattern.rstrip("/")
    parts = name.split("/")
    paths = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return any(path == wanted or fnmatchcase(path, wanted) for path in paths)


def chosen(names: Sequence[str], pattern: str) -> list[str]:
    """Return the names that a pattern means, in order.

    Raises `SpecError` where there is none, with the nearest name.
    """
    if not isinstance(pattern, str) or not pattern.strip("/"):
        raise SpecError(
            f"a pattern is {pattern!r}; expected the name of a layer or module, in "
            f"which * stands for any text, such as 'conv*' or 'stage1/*'"
        )
    found = [name for name in dict.fromkeys(names) if fits(name, pattern)]
    if not found:
        modules = {
            "/".join(name.split("/")[:count])
            for name in names
            for count in range(1, name.count("/") + 1)
        }
        known = [*dict.fromkeys(names), *sorted(modules)]
        plain = pattern.translate({ord(sign): None for sign in GLOB}).rstrip("/")
        hint = did_you_mean(plain, known) or f"; its layers are {_some(names)}"
        raise SpecError(f"no layer or module of the net fits {pattern!r}{hint}")
    return found


def _some(names: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
