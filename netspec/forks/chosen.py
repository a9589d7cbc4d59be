"""The fork in force, and the schemas that a user gives.

Commands set it by `--fork` and `--proto`, scripts by `netspec.forks.use`. Everything
else asks here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from netspec.errors import SpecError, did_you_mean
from netspec.forks.catalogue import catalogue
from netspec.forks.meanings import OURS, Given, Meanings, given_of, ours
from netspec.forks.schemas import schema_of
from netspec.schema.in_force import fork, set_fork
from netspec.schema.own import OwnSchema, in_use


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
    """All schemas, with those of users that they were made of."""

    meanings: Meanings | None = None
    own: tuple[OwnSchema, ...] = ()


_state = _State()
_schemas: dict[str, Schema] = {}


class Using:
    """A fork in force, until the end of a `with` block or of the program."""

    def __init__(self, word: str | None) -> None:
        self._before = fork()
        set_fork(word)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        set_fork(self._before)


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
    """Return the schema in force: of a fork, or else the last one that a user gave."""
    word = fork()
    if word is not None:
        return schema_named(word)
    own = in_use()
    return schema_named(own[-1].word) if own else None


def schema_named(fork: str) -> Schema:
    """Return the schema of a fork by its word or its name.

    Raises `SpecError` for one that is not known.
    """
    for own in reversed(in_use()):
        if own.word == fork:
            return _own_schema(own)
    found = _schemas.get(fork)
    if found is not None:
        return found
    if fork == OURS:
        return _schemas.setdefault(fork, Schema(OURS, OURS, ours().messages))
    tables = catalogue()
    named = {each.name.lower(): each for each in tables.forks}
    entry = tables.by_word.get(fork) or named.get(fork.lower())
    if entry is None:
        words = [*(own.word for own in in_use()), *tables.by_word]
        raise SpecError(
            f"there is no fork {fork!r}{did_you_mean(fork, words)}; python -m "
            f"netspec.forks lists all"
        )
    messages = given_of(entry.word, schema_of(entry.word), {}).messages
    found = Schema(entry.word, entry.name, messages, entry.form == "layers")
    return _schemas.setdefault(entry.word, found)


@cache
def _own_schema(own: OwnSchema) -> Schema:
    return Schema(own.word, own.path, own.messages)


def known_meanings() -> Meanings:
    """Return all schemas side by side: ours, those of forks, and users' own."""
    own = in_use()
    if _state.meanings is None or _state.own != own:
        given = [Given(each.word, each.messages, each.enums, {}) for each in own]
        _state.meanings, _state.own = Meanings(catalogue(), (*given[::-1], ours())), own
    return _state.meanings


def given_owners(message: str, field: str) -> list[str]:
    """Return the words of the schemas that users gave which have a field."""
    return [
        own.word
        for own in reversed(in_use())
        if message in own.messages and field in own.messages[message].fields_by_name
    ]


def given_value_owners(field: Any, values: Sequence[str]) -> list[str]:
    """Return the words of the schemas that users gave whose enum has all values.

    field: of our schema. values: names or numbers.
    """
    message, found = field.containing_type.name, []
    for own in reversed(in_use()):
        if message in own.messages:
            theirs = own.messages[message].fields_by_name.get(field.name)
            if theirs is not None and theirs.enum_type is not None:
                known = theirs.enum_type.values
                words = {text for v in known for text in (v.name, str(v.number))}
                if words.issuperset(values):
                    found.append(own.word)
    return found
