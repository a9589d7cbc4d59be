"""The fork in force, and the schemas that a user gives.

Commands set it by `--fork` and `--proto`, scripts by `netspec.forks.use`. Everything
else asks here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netspec.errors import SpecError, did_you_mean
from netspec.forks.catalogue import catalogue
from netspec.forks.meanings import OURS, Given, Meanings, given_of, ours
from netspec.forks.schemas import schema_of


@dataclass(frozen=True, eq=False)
class Schema:
    """A schema in use: its word, its name in sentences, and its messages.

    old: whether it knows layers in the old form only.
    """

    word: str
    name: str
    messages: Mapping[str, Any]
    old: bool = False


@dataclass
class _State:
    """What is in force, and what users gave."""

    word: str | None = None
    given: tuple[Given, ...] = ()
    meanings: Meanings | None = None


_state = _State()
_schemas: dict[str, Schema] = {}


class Using:
    """A fork in force, until the end of a `with` block or of the program."""

    def __init__(self, word: str | None) -> None:
        self._before = _state.word
        _state.word = word

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _state.word = self._before


def use(fork: str | None) -> Using:
    """Take the schema of a fork for what is read, written and called from now on.

    fork: its word, as `python -m netspec.forks` lists them, its name, or None for none.
    As a context manager, until the end of the block.

        with netspec.forks.use("pspnet"):
            net = netspec.load("pspnet50.caffemodel")

    Raises `SpecError` for a fork that is not known.
    """
    return Using(None if fork is None else schema_named(fork).word)


def in_force() -> Schema | None:
    """Return the schema of the fork in force, if there is one."""
    return None if _state.word is None else schema_named(_state.word)


def schema_named(fork: str) -> Schema:
    """Return the schema of a fork by its word or its name.

    Raises `SpecError` for one that is not known.
    """
    found = _schemas.get(fork)
    if found is not None:
        return found
    for each in _state.given:
        if each.word == fork:
            found = Schema(each.word, each.word, each.messages)
            return _schemas.setdefault(fork, found)
    if fork == OURS:
        return _schemas.setdefault(fork, Schema(OURS, OURS, ours().messages))
    tables = catalogue()
    named = {each.name.lower(): each for each in tables.forks}
    entry = tables.by_word.get(fork) or named.get(fork.lower())
    if entry is None:
        words = [*(each.word for each in _state.given), *tables.by_word]
        raise SpecError(
            f"there is no fork {fork!r}{did_you_mean(fork, words)}; python -m "
            f"netspec.forks lists all"
        )
    messages = given_of(entry.word, schema_of(entry.word), {}).messages
    found = Schema(entry.word, entry.name, messages, entry.form == "layers")
    return _schemas.setdefault(entry.word, found)


def known_meanings() -> Meanings:
    """Return all schemas side by side: ours, those of forks, and users' own."""
    if _state.meanings is None:
        _state.meanings = Meanings(catalogue(), (*_state.given, ours()))
    return _state.meanings


def add_schema(given: Given) -> None:
    """Add a user's schema, or put it in the place of one of the same word."""
    kept = [each for each in _state.given if each.word != given.word]
    _state.given = (given, *kept)
    _state.meanings = None
    _schemas.pop(given.word, None)


def given_schemas() -> tuple[Given, ...]:
    """Return the schemas that users gave, the last one first."""
    return _state.given


def given_owners(message: str, field: str) -> list[str]:
    """Return the words of the schemas that users gave which have a field."""
    return [
        each.word
        for each in _state.given
        if message in each.messages and field in each.messages[message].fields_by_name
    ]
