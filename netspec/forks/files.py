"""Binary messages of forks, read as ours and written in a fork's numbers."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from netspec.errors import FileError, SpecError, SpecWarning, join
from netspec.forks.catalogue import BVLC
from netspec.forks.chosen import Schema, in_force, known_meanings, schema_named
from netspec.forks.converting import from_ours, to_ours
from netspec.forks.kept import explaining, kept_texts
from netspec.forks.meanings import OURS
from netspec.forks.telling import Told, tell
from netspec.notebooks import warn_user
from netspec.schema import NetParameter, SolverState, wire
from netspec.schema.unread import bad_text

M = TypeVar("M", bound=Message)

MAX_TRIED = 12  # forks that a message is written for, to see whether they agree

_told: dict[str, str] = {}  # the forks of files that were read, by path


def fork_of(path: str | Path) -> str | None:
    """Return the fork that a binary file was read as, None for Caffe's own fields."""
    return _told.get(os.path.realpath(path))


def find_fork(
    data: wire.Buffer | wire.Bytes, kind: type[Message], path: str | Path
) -> str | None:
    """Return the fork whose numbers a binary message has, None for ours and Caffe's.

    That is the fork in force, if there is one. Otherwise the fields tell; where they do
    not, or no schema explains them, a `SpecWarning` says so and the answer is None.

    Raises `FileError` where the fork in force does not explain the file.
    """
    forced = in_force()
    if kind is SolverState and forced is None:
        return None  # has no layers that tell, and its reader says what does not fit
    known = known_meanings()
    try:
        told = tell(data, kind.DESCRIPTOR.name, known)
    except SpecError:
        return None  # whoever reads it says what is wrong
    if forced is not None and kind.DESCRIPTOR.name in forced.messages:
        if not told.whole & known.bits[forced.word]:
            raise FileError(
                f"{path}: is no {kind.DESCRIPTOR.name} of {forced.name}"
                f"{_why_not(told, forced.word)}"
            )
        word = None if forced.word in (BVLC, OURS) else forced.word
    elif not told.whole and not _parses(kind, data):
        return None  # broken, as whoever reads it says
    else:
        word = _judged(told, path)
    if word is None:
        _told.pop(os.path.realpath(path), None)
    else:
        _told[os.path.realpath(path)] = word
    return word


def _parses(kind: type[Message], data: wire.Buffer | wire.Bytes) -> bool:
    if not isinstance(data, bytes | bytearray | memoryview):
        return True  # too large to try
    try:
        message = kind.FromString(bytes(data))
    except (DecodeError, UnicodeDecodeError):
        return False
    return bad_text(message) is None


def _judged(told: Told, path: str | Path) -> str | None:
    known = known_meanings()
    words = known.in_order(told.likely)
    plain = bool(told.likely & (known.bits[OURS] | known.bits[BVLC]))
    if told.doubts:
        others = [word for word in words if word not in (OURS, BVLC)]
        warn_user(
            f"{path}: {_some(told.doubts)}; read as Caffe's own, with the bytes of "
            f"all others kept. Say which fork it is from: --fork {_some(others)}",
            SpecWarning,
        )
        return None
    if not told.whole:
        warn_user(
            f"{path}: no schema that is known here has all its fields: "
            f"{_some(told.unexplained) or 'no two agree'}; read as Caffe's own, with "
            f"the bytes of others kept. The schema of its fork can be given: --proto",
            SpecWarning,
        )
        return None
    return None if plain else words[0]


def _why_not(told: Told, word: str) -> str:
    others = known_meanings().in_order(told.likely)
    if others and told.whole:
        return f", whose schema has other fields; it may be of {_some(others)}"
    if told.unexplained:
        return f": no schema has {_some(told.unexplained)}; give its own by --proto"
    return f", whose schema has other fields than {word}'s"


def _some(words: list[str]) -> str:
    more = f" and {len(words) - 4} more" if len(words) > 5 else ""
    return ", ".join(words[:4] if more else words) + more


# ---------------------------------------------------------------- reading


@cache
def message_class(schema: Schema, message: str) -> type[Message] | None:
    """Return the class of a message in the schema of a fork, None if it has none."""
    described = schema.messages.get(message)
    if described is None:
        return None
    found: type[Message] = message_factory.GetMessageClass(described)
    return found


def read_as_ours(data: bytes, kind: type[M], word: str) -> M:
    """Return a binary message of a fork as ours: by the names of its fields.

    Of a net no more than one layer is in memory as the fork's. Raises protobuf's
    `DecodeError` for bytes that are no message.
    """
    theirs = _their_class(word, kind)
    result = kind()
    if kind is not NetParameter:
        to_ours(theirs.FromString(data), result)
        return result
    layers = {
        field.number: field
        for field in theirs.DESCRIPTOR.fields
        if field.name in ("layer", "layers")
    }
    rest, net, walk = [], memoryview(data), wire.Walk(data)
    ours: Any = result
    for each in walk.fields(0, len(data)):
        field = layers.get(each.number)
        if field is None:
            rest.append(bytes(net[each.begin : each.end]))
            continue
        start, end = walk.message(each)
        described: Any = field.message_type
        one: Any = message_factory.GetMessageClass(described)
        to_ours(one.FromString(net[start:end]), getattr(ours, field.name).add())
    to_ours(theirs.FromString(b"".join(rest)), result)
    return result


# ---------------------------------------------------------------- writing


def fork_for(message: Message, source: str | Path | None = None) -> str | None:
    """Return the fork in whose numbers a message is written, None for our own.

    That is the fork in force, the one that the file `source` was read as, or else the
    one that has all its fields. Where several do, with different numbers, a
    `SpecWarning` lists them.
    """
    forced = in_force()
    if forced is not None and message.DESCRIPTOR.name in forced.messages:
        return None if forced.word in (BVLC, OURS) else forced.word
    told = fork_of(source) if source is not None else None
    if told is not None and told in known_meanings().bits:
        return told
    kept = next(kept_texts(message), None)
    if kept is None:
        return None
    known = known_meanings()
    words = known.in_order(explaining(message, known))
    words = [word for word in words if not schema_named(word).old]
    written: dict[bytes, str] = {}
    for word in words[:MAX_TRIED]:
        try:
            data = as_fork(message, word).SerializeToString(deterministic=True)
        except SpecError:
            continue
        written.setdefault(data, word)
    if len(written) == 1:
        return next(iter(written.values()))
    why = (
        f"{_some(list(written.values()))} have them with different numbers"
        if written
        else "no fork that is known here has them all"
    )
    warn_user(
        f"fields that Caffe lacks, such as {kept[1]!r:.60} in {kept[0]}, are written "
        f"as text, which only netspec reads: {why}; say which is meant: --fork NAME",
        SpecWarning,
    )
    return None


def binary(message: Message, word: str | None) -> bytes:
    """Return a message in the numbers of a fork, None for our own; see `as_fork`."""
    written = message if word is None else as_fork(message, word)
    data: bytes = written.SerializeToString()
    return data


def as_fork(message: Message, word: str) -> Message:
    """Return our message as one of a fork, with the fork's numbers.

    Raises `SpecError` naming what the fork cannot hold: fields and values that it has
    not, and layers in the current form where it knows the old one only.
    """
    schema = schema_named(word)
    theirs = _their_class(word, type(message))()
    name = message.DESCRIPTOR.name
    if schema.old and any(field.name == "layer" for field, _ in message.ListFields()):
        raise SpecError(
            f"{schema.name} knows layers in the old form only, `layers`, which is not "
            f"written; take a later fork, or none"
        )
    problems = list(dict.fromkeys(from_ours(message, theirs)))
    problems += [f"{path} must be given" for path in _missing(theirs)]
    if problems:
        raise SpecError(
            f"the {name} cannot be written for {schema.name}: {join(problems)}"
        )
    return theirs


def _missing(message: Any) -> list[str]:
    return message.FindInitializationErrors()


def _their_class(word: str, kind: type[Message]) -> type[Message]:
    schema = schema_named(word)
    name = kind.DESCRIPTOR.name
    found = message_class(schema, name)
    if found is None:
        raise SpecError(f"{schema.name} has no message {name}")
    return found
