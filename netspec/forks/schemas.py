"""The schema of a fork as descriptors: Caffe's, with what the fork has otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeAlias

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool

from netspec.forks.catalogue import BVLC, Catalogue, Fork, Row, Value, catalogue

SCALARS: Mapping[str, int] = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in FieldDescriptorProto.Type.items()
    if name not in ("TYPE_GROUP", "TYPE_MESSAGE", "TYPE_ENUM")
}


_Messages: TypeAlias = dict[str, FileDescriptorProto | DescriptorProto]


def build(tables: Catalogue, fork: Fork) -> FileDescriptorProto:
    """Return the schema of `fork`, in a package of its own.

    Raises `ValueError` naming what its rows contradict.
    """
    mine, base = 1 << fork.place, 1 << tables.by_word[BVLC].place
    package = "fork_" + "".join(c if c.isalnum() else "_" for c in fork.word)
    file = FileDescriptorProto(name=f"{package}.proto", package=package)
    messages: _Messages = {"": file}
    kinds: dict[str, bool] = {}  # whether a name is an enum
    values = {}
    for enum in tables.enums:
        found = _values(tables.values(enum), mine, base)
        if found:
            values[enum], kinds[enum] = found, True
    rows = {}
    for message, forks in tables.messages.items():
        if forks & (mine | base):
            rows[message] = _fields(message, tables.fields(message), mine, base)
            kinds[message] = False
    for message in sorted([*rows], key=lambda name: name.count(".")):
        _message(messages, message)
    for enum, members in values.items():
        owner, _, name = enum.rpartition(".")
        _enum(_message(messages, owner).enum_type.add(name=name), members)
    for message, fields in rows.items():
        described = _message(messages, message)
        if isinstance(described, DescriptorProto):
            described.field.extend(_field(package, message, r, kinds) for r in fields)
    return file


def _message(messages: _Messages, name: str) -> FileDescriptorProto | DescriptorProto:
    if name not in messages:
        owner, _, own = name.rpartition(".")
        parent = _message(messages, owner)
        if isinstance(parent, FileDescriptorProto):
            messages[name] = parent.message_type.add(name=own)
        else:
            messages[name] = parent.nested_type.add(name=own)
    return messages[name]


def _fields(message: str, rows: Iterable[Row], mine: int, base: int) -> list[Row]:
    """Return the fork's fields of a message, and Caffe's that stand beside them."""
    rows = list(rows)
    own = [row for row in rows if row.forks & mine]
    names = {row.name for row in own}
    numbers = {row.number for row in own}
    if len(names) < len(own) or len(numbers) < len(own):
        raise ValueError(f"{message}: two rows of one name or number")
    return own + [
        row
        for row in rows
        if row.forks & base and row.name not in names and row.number not in numbers
    ]


def _values(rows: Iterable[Value], mine: int, base: int) -> list[Value]:
    rows = list(rows)
    own = [row for row in rows if row.forks & mine]
    names = {row.name for row in own}
    numbers = {row.number for row in own}
    kept = [
        row
        for row in rows
        if row.forks & base and row.name not in names and row.number not in numbers
    ]
    return kept + own  # a default that is not given is the first


def _enum(enum: EnumDescriptorProto, values: Iterable[Value]) -> None:
    numbers = [value.number for value in values]
    if len(set(numbers)) < len(numbers):
        enum.options.allow_alias = True
    for value in values:
        enum.value.add(name=value.name, number=value.number)


def _field(
    package: str, message: str, row: Row, kinds: Mapping[str, bool]
) -> FieldDescriptorProto:
    field = FieldDescriptorProto(name=row.name, number=row.number)
    field.label = row.label  # type: ignore[assignment]
    if row.type in SCALARS:
        field.type = SCALARS[row.type]  # type: ignore[assignment]
    elif row.type in kinds:
        is_enum = kinds[row.type]
        field.type = field.TYPE_ENUM if is_enum else field.TYPE_MESSAGE
        field.type_name = f".{package}.{row.type}"
    else:
        raise ValueError(f"{message}.{row.name}: no type {row.type}")
    if row.default is not None:
        field.default_value = row.default
    if row.packed:
        field.options.packed = True
    return field


@cache
def schema_of(word: str) -> FileDescriptor:
    """Return the schema of a fork, in a pool of its own."""
    tables = catalogue()
    pool = DescriptorPool()
    described = build(tables, tables.by_word[word])
    pool.AddSerializedFile(described.SerializeToString())
    return pool.FindFileByName(described.name)
