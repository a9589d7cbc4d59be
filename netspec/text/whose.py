"""Whose fields are that our schema lacks, in words."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.forks import owners

MAX_OWNERS = 3


def said_of(field: str, whose: Sequence[str] | None = None, what: str = "field") -> str:
    """Say whose a field is that our schema lacks.

    field: with its message, `PoolingParameter.norm_region`. whose: the forks, looked up
    by the name if not given.
    """
    if whose is None:
        message, _, name = field.partition(".")
        whose = owners(message, name)
    if not whose:
        return f"{field} is no {what} of Caffe, nor of a fork that is known here"
    return f"{field} is a {what} of {names(whose)}"


def names(whose: Sequence[str]) -> str:
    """Return the names of forks, the best known of many."""
    more = len(whose) - MAX_OWNERS
    shown = [*whose[:MAX_OWNERS], *([f"{more} more"] if more > 0 else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)
