"""What a field number of a message means, for all schemas at once.

The schemas are those of the catalogue, ours, and those that a user gave. A set of them
is a number with a bit for each, as in the catalogue.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from netspec import schema
from netspec.catalogue import LAYER_TYPES
from netspec.forks.catalogue import BVLC, Catalogue, Row
from netspec.forks.schemas import SCALARS

_SCALAR_NAMES = {number: name for name, number in SCALARS.items()}
# Of every layer, whatever its type.
COMMON_PARAMS = frozenset({"transform_param", "loss_param"})
OURS = "netspec"
UNLISTED = "*"  # in the place of a layer type: of forks whose types are not listed
# What a field is to a text or to a script: its name, and one of these.
_CLASSES = {"bool": "bool", "string": "string", "bytes": "bytes"}


@dataclass(frozen=True)
class Given:
    """A schema that is not of the catalogue: its word, and its messages by name."""

    word: str
    messages: Mapping[str, Any]
    enums: Mapping[str, Any]
    types: Mapping[str, str | None]


class Meaning(NamedTuple):
    """What a number means in some schemas: the field, and these schemas."""

    row: Row
    schemas: int

    @property
    def kind(self) -> str:
        """What a value is: "bool", "string", "bytes", "number" or its type."""
        if self.row.type in SCALARS:
            return _CLASSES.get(self.row.type, "number")
        return self.row.type


class Meanings:
    """All schemas side by side.

    words: of all schemas, in the order of their bits. forks: those of the catalogue.
    old: those that know layers in the old form only.
    """

    def __init__(self, tables: Catalogue, given: Sequence[Given]) -> None:
        self.tables = tables
        self.given = given
        self.forks = (1 << len(tables.forks)) - 1
        self._base = 1 << tables.by_word[BVLC].place
        words = [fork.word for fork in tables.forks] + [each.word for each in given]
        self.words = tuple(words)
        self.bits = {word: 1 << place for place, word in enumerate(words)}
        self._by_number: dict[str, Mapping[int, tuple[Meaning, ...]]] = {}
        self._values: dict[str, Mapping[int, tuple[tuple[str, int], ...]]] = {}
        self._knows: dict[str, int] = {}
        self._by_name: dict[str, Mapping[str, Sequence[Meaning]]] = {}
        self._params: dict[str, frozenset[str]] = {}
        self._elsewhere: dict[tuple[str, str], int] = {}
        self._enums: dict[str, bool] = {}
        old = (fork.word for fork in tables.forks if fork.form == "layers")
        self.old = sum(self.bits[word] for word in old)
        self.unlisted = tables.type_owners(UNLISTED)

    def in_order(self, schemas: int) -> list[str]:
        """Return the words of a set: what is given first, then the best known."""
        given = [each.word for each in self.given]
        words = [*given, *self.words[: len(self.words) - len(given)]]
        return [word for word in words if self.bits[word] & schemas]

    def fields(self, message: str) -> Mapping[int, tuple[Meaning, ...]]:
        """Return what each number of a message means."""
        found = self._by_number.get(message)
        if found is None:
            found = self._by_number[message] = self._read(message)
        return found

    def _read(self, message: str) -> Mapping[int, tuple[Meaning, ...]]:
        rows = self.tables.fields(message)
        own_names: dict[str, int] = {}
        own_numbers: dict[int, int] = {}
        for row in rows:
            if not row.forks & self._base:
                own_names[row.name] = own_names.get(row.name, 0) | row.forks
                own_numbers[row.number] = own_numbers.get(row.number, 0) | row.forks
        by_number: dict[int, list[Meaning]] = {}
        for row in rows:
            forks = row.forks
            if forks & self._base:
                others = own_names.get(row.name, 0) | own_numbers.get(row.number, 0)
                forks = self.forks & ~others
            by_number.setdefault(row.number, []).append(Meaning(row, forks))
        for each in self.given:
            if message in each.messages:
                for field in each.messages[message].fields:
                    row = row_of(field)
                    meaning = Meaning(row, self.bits[each.word])
                    by_number.setdefault(row.number, []).append(meaning)
        return {number: tuple(found) for number, found in by_number.items()}

    def named(self, message: str, field: str) -> Sequence[Meaning]:
        """Return what a name means in a message."""
        found = self._by_name.get(message)
        if found is None:
            by_name: dict[str, list[Meaning]] = {}
            for meanings in self.fields(message).values():
                for meaning in meanings:
                    by_name.setdefault(meaning.row.name, []).append(meaning)
            found = self._by_name[message] = by_name
        return found.get(field, ())

    def having(self, message: str, field: str) -> int:
        """Return the schemas in which a message has a field."""
        found = 0
        for meaning in self.named(message, field):
            found |= meaning.schemas
        return found

    def with_value(self, enum: str, value: str) -> int:
        """Return the schemas in which an enum has a value, by its name or number."""
        found = 0
        for number, called in self.values(enum).items():
            for name, schemas in called:
                if value in (name, str(number)):
                    found |= schemas
        return found

    def elsewhere(self, message: str, field: str) -> int:
        """Return the forks that have a field of Caffe's under another number."""
        key = (message, field)
        found = self._elsewhere.get(key)
        if found is None:
            rows = [r for r in self.tables.fields(message) if r.name == field]
            at = {row.number for row in rows if row.forks & self._base}
            others = [row.forks for row in rows if at and row.number not in at]
            found = self._elsewhere[key] = functools.reduce(operator.or_, others, 0)
        return found

    def is_enum(self, name: str) -> bool:
        """Tell whether a type is an enum."""
        found = self._enums.get(name)
        if found is None:
            found = name in self.tables.enums
            found = found or any(name in given.enums for given in self.given)
            self._enums[name] = found
        return found

    def values(self, enum: str) -> Mapping[int, tuple[tuple[str, int], ...]]:
        """Return what each number of an enum is called, with the schemas that do."""
        found = self._values.get(enum)
        if found is None:
            found = self._values[enum] = self._read_values(enum)
        return found

    def _read_values(self, enum: str) -> Mapping[int, tuple[tuple[str, int], ...]]:
        rows = self.tables.values(enum)
        own: dict[int | str, int] = {}
        for row in rows:
            if not row.forks & self._base:
                for key in (row.name, row.number):
                    own[key] = own.get(key, 0) | row.forks
        found: dict[int, list[tuple[str, int]]] = {}
        for row in rows:
            forks = row.forks
            if forks & self._base:
                others = own.get(row.name, 0) | own.get(row.number, 0)
                forks = self.forks & ~others
            found.setdefault(row.number, []).append((row.name, forks))
        for each in self.given:
            if enum in each.enums:
                for value in each.enums[enum].values:
                    called = (value.name, self.bits[each.word])
                    found.setdefault(value.number, []).append(called)
        return {number: tuple(called) for number, called in found.items()}

    def knows(self, layer_type: str) -> int:
        """Return the schemas that have a layer type; all of them, if none is known to.

        Of some forks the types are not listed, so they may have it nevertheless.
        """
        found = self._knows.get(layer_type)
        if found is None:
            found = self.tables.type_owners(layer_type)
            squashed = squash(layer_type)
            for meanings in self.fields("LayerParameter").values():
                for row, schemas in meanings:
                    if squash(row.name.removesuffix("_param")) == squashed:
                        found |= schemas
            if layer_type in LAYER_TYPES and not self.tables.type_owners(layer_type):
                found |= self.forks
            for each in self.given:
                if layer_type in each.types:
                    found |= self.bits[each.word]
            self._knows[layer_type] = found = found or -1
        return found

    def params_of(self, layer_type: str) -> frozenset[str]:
        """Return the parameters that a type reads, in any schema; none if unknown."""
        params = self._params.get(layer_type)
        if params is None:
            params = self._params[layer_type] = self._params_of(layer_type)
        return params

    def _params_of(self, layer_type: str) -> frozenset[str]:
        found = {
            name for names, _ in self.tables.types.get(layer_type, ()) for name in names
        }
        row = LAYER_TYPES.get(layer_type)
        if row is not None and row.param:
            found.add(row.param)
        for each in self.given:
            if param := each.types.get(layer_type):
                found.add(param)
        if found or row is not None or layer_type in self.tables.types:
            squashed = squash(layer_type)
            for meanings in self.fields("LayerParameter").values():
                for meaning in meanings:
                    name = meaning.row.name
                    if squash(name.removesuffix("_param")) == squashed:
                        found.add(name)
            return frozenset(found | COMMON_PARAMS)
        return frozenset()


def squash(name: str) -> str:
    """Return a name without what spellings differ in: `prior_box` and `PriorBox`."""
    return name.replace("_", "").lower()


def row_of(field: Any) -> Row:
    """Return a field of a descriptor as a row of the catalogue."""
    kind = field.message_type or field.enum_type
    if kind is None:
        name = _SCALAR_NAMES[field.type]
    else:
        package = kind.file.package
        name = kind.full_name[len(package) + 1 :] if package else kind.full_name
    repeated = getattr(field, "is_repeated", None)
    if repeated is None:  # before protobuf 6
        repeated = field.label == FieldDescriptor.LABEL_REPEATED
    label = 3 if repeated else 1
    return Row(field.name, field.number, name, label, False, None, 0)


def given_of(word: str, file: Any, types: Mapping[str, str | None]) -> Given:
    """Return the schema of a file descriptor, under a word."""
    messages: dict[str, Any] = {}
    enums: dict[str, Any] = dict(file.enum_types_by_name)

    def add(found: Iterable[Any], prefix: str) -> None:
        for message in found:
            messages[prefix + message.name] = message
            for enum in message.enum_types:
                enums[f"{prefix}{message.name}.{enum.name}"] = enum
            add(message.nested_types, f"{prefix}{message.name}.")

    add(file.message_types_by_name.values(), "")
    return Given(word, messages, enums, types)


def ours() -> Given:
    """Return our own schema."""
    types = {name: row.param for name, row in LAYER_TYPES.items()}
    return given_of(OURS, schema.DESCRIPTOR, types)
