"""Which forks a binary file may be from: those whose schema explains every field of it.

Every field is looked up by its number in all schemas at once. A schema is out where it
lacks the number, where what lies on the wire is of another type, or where an enum has
no such value. Of what is left, those go on that know the layer types, and in which no
layer has the parameters of another type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from netspec.errors import SpecError
from netspec.forks.catalogue import BVLC, REPEATED, Row
from netspec.forks.meanings import OURS, Meaning, Meanings
from netspec.forks.schemas import SCALARS
from netspec.schema import wire

_MAX_DEPTH = 60
_LARGE = 1 << 14  # bytes of a field that is not kept
_SMALL = 256  # bytes of a field that is looked at once
_TEXT_BYTES = 1 << 20  # of a text that is looked through for bytes that are none
_VARINTS = frozenset(("int32", "int64", "uint32", "uint64", "bool", "sint32", "sint64"))
_WIDTHS = {"float": 4, "fixed32": 4, "sfixed32": 4}
_WIDTHS |= {"double": 8, "fixed64": 8, "sfixed64": 8}
# Of layers in the current form: what says nothing about their fork.
_NET_LAYER, _NAME, _TYPE, _BOTTOM, _TOP, _BLOBS = 100, 1, 2, 3, 4, 7
# What protobuf writes of a negative number that has 32 bits.
_NEGATIVE = (1 << 64) - (1 << 31)

_Path: TypeAlias = tuple[int, ...]
_Place: TypeAlias = tuple[int, int]


@dataclass
class Told:
    """What a file tells of its fork.

    whole: the schemas that explain all of it. likely: those of them that also suit its
    layer types. doubts: the fields that they call differently, as "LayerParameter 147:
    a or b". unexplained: fields that no schema explains with all the rest, if `whole`
    is none.
    """

    whole: int
    likely: int
    doubts: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)


def tell(data: wire.Buffer | wire.Bytes, message: str, known: Meanings) -> Told:
    """Return which schemas may have written a serialized message.

    message: its name, "NetParameter" for example. Raises `SpecError` for bytes that are
    no message.
    """
    look = _Look(data, known)
    everyone = known.forks | sum(known.bits[each.word] for each in known.given)
    if message == "NetParameter":
        look.net(everyone)
    else:
        place = (0, look.walk.data.size)
        look.whole = look.message(message, place, everyone, (), 0)
    likely = look.likely(everyone)
    told = Told(look.whole, likely)
    if look.whole:
        told.doubts = look.doubts(likely)
    else:
        told.unexplained = list(look.unexplained)
    return told


class _Look:
    """One file, looked through once."""

    def __init__(self, data: wire.Buffer | wire.Bytes, known: Meanings) -> None:
        self.walk = wire.Walk(data)
        self.known = known
        self.whole = 0
        self.plain = known.bits[BVLC] | known.bits[OURS]
        self.types: dict[str, None] = {}
        self.plausible: list[int] = []
        # What a field was called, by its path of numbers, and by whom. The value of an
        # enum is a number more, below zero.
        self.called: dict[_Path, dict[tuple[str, str, str], int]] = {}
        self.current = False  # whether there are layers in the current form
        self.unexplained: dict[str, None] = {}
        self._seen: set[bytes] = set()
        self._known_fields: dict[tuple[_Path, str, int, bytes], int] = {}

    def net(self, everyone: int) -> None:
        """Look through a net, whose layers are many and alike."""
        layers = 0  # the schemas whose layers have the usual number
        for meaning in self.known.fields("NetParameter").get(_NET_LAYER, ()):
            if meaning.row.type == "LayerParameter":
                layers |= meaning.schemas
        others = everyone & ~layers
        live = everyone
        for each in self.walk.fields(0, self.walk.data.size):
            if each.number == _NET_LAYER and not isinstance(each.value, int):
                fits = self._layer(each, layers)
                if others:
                    fits |= self._field("NetParameter", each, others, (), 0)
                live &= fits
            else:
                live &= self._field("NetParameter", each, everyone, (), 0)
        self.whole = live

    def _layer(self, each: wire.Field, everyone: int) -> int:
        """Return the schemas that explain a layer in the current form."""
        self.current = True
        message, path = "LayerParameter", (each.number,)
        parts: list[bytes] = []
        live, rest, layer_type = everyone, [], ""
        alike = True  # others may be the same
        for inner in self.walk.fields(*self.walk.message(each)):
            if inner.number in (_NAME, _BOTTOM, _TOP):
                continue
            if inner.number == _TYPE and not isinstance(inner.value, int):
                layer_type = self.walk.text(inner)
                parts.append(layer_type.encode() + b"\0")
            elif self._is_array(message, inner):
                live &= self._field(message, inner, everyone, path, 1)
            else:
                rest.append(inner)
                alike &= inner.end - inner.begin < _LARGE
                if alike:
                    nbytes = inner.end - inner.begin
                    parts.append(bytes(self.walk.data.read(inner.begin, nbytes)))
        key = b"".join(parts)
        if alike and key in self._seen:
            return live
        self._seen.add(key)
        self.types[layer_type] = None
        params = self.known.params_of(layer_type)
        odd = 0
        for inner in rest:
            fits = self._field(message, inner, everyone, path, 1)
            live &= fits
            if params:
                for meaning in self.known.fields(message).get(inner.number, ()):
                    name = meaning.row.name
                    if name.endswith("_param") and name not in params:
                        odd |= meaning.schemas & fits
        self.plausible.append(~odd)
        return live

    def _is_array(self, message: str, inner: wire.Field) -> bool:
        if isinstance(inner.value, int):
            return False
        found = self.known.fields(message).get(inner.number, ())
        return any(meaning.row.type == "BlobProto" for meaning in found)

    def message(
        self, message: str, place: _Place, live: int, path: _Path, depth: int
    ) -> int:
        """Return those of `live` that explain every field of a message."""
        if depth > _MAX_DEPTH:
            raise SpecError("not a binary message: it is nested too deeply")
        try:
            for each in self.walk.fields(*place):
                live = self._field(message, each, live, path, depth)
                if not live:
                    return 0
        except SpecError:
            return 0
        return live

    def _field(
        self, message: str, each: wire.Field, live: int, path: _Path, depth: int
    ) -> int:
        """Return those of `live` that explain a field."""
        path = (*path, each.number)
        if depth == 0 or each.end - each.begin > _SMALL:
            return self._look_at(message, each, live, path, depth)
        raw = bytes(self.walk.data.read(each.begin, each.end - each.begin))
        key = (path, message, live, raw)
        fits = self._known_fields.get(key)
        if fits is None:
            fits = self._look_at(message, each, live, path, depth)
            self._known_fields[key] = fits
        return fits

    def _look_at(
        self, message: str, each: wire.Field, live: int, path: _Path, depth: int
    ) -> int:
        fits, place = 0, path
        before = dict(self.unexplained)
        found = self.known.fields(message).get(each.number, ())
        if isinstance(each.value, int) and any(
            self.known.is_enum(meaning.row.type) for meaning in found
        ):
            place = (*path, ~each.value)
        within: dict[str, None] = {}  # what no schema has of the value
        for meaning in found:
            schemas = meaning.schemas & live
            if schemas:
                self.unexplained = {}
                for said, suits in self._suits(meaning, each, schemas, path, depth):
                    fits |= suits
                    called = self.called.setdefault(place, {})
                    key = (message, meaning.row.name, said)
                    called[key] = called.get(key, 0) | suits
                if len(found) == 1 or meaning.schemas & self.plain:
                    within |= self.unexplained
        self.unexplained = before
        if not fits:
            self.unexplained |= within or {f"field {each.number} of {message}": None}
        return fits

    def _suits(
        self, meaning: Meaning, each: wire.Field, schemas: int, path: _Path, depth: int
    ) -> list[tuple[str, int]]:
        """Return what a value is, with those of `schemas` whose type it suits."""
        row = meaning.row
        if self.known.is_enum(row.type):
            return self._enum(row, each, schemas)
        if row.type not in SCALARS:
            if isinstance(each.value, int) or each.value.width != 1:
                return []
            place = self.walk.message(each)
            suits = self.message(row.type, place, schemas, path, depth + 1)
            return [("message", suits)] if suits else []
        return [(meaning.kind, schemas)] if self._is_scalar(row, each) else []

    def _is_scalar(self, row: Row, each: wire.Field) -> bool:
        kind, value = row.type, each.value
        if isinstance(value, int):
            return kind in _VARINTS and _in_range(kind, value)
        if width := _WIDTHS.get(kind):
            if value.width == width:
                return True
            packed = row.label == REPEATED and value.width == 1
            return packed and value.length % width == 0
        if value.width != 1:
            return False
        if kind in _VARINTS:
            return row.label == REPEATED and self._numbers(each) is not None
        return kind == "bytes" or self._is_text(each)

    def _enum(self, row: Row, each: wire.Field, schemas: int) -> list[tuple[str, int]]:
        if isinstance(each.value, int):
            numbers: Sequence[int] | None = [each.value]
        else:
            packed = row.label == REPEATED and each.value.width == 1
            numbers = self._numbers(each) if packed else None
        found = {"": schemas}
        for number in numbers or ():
            signed = number - (1 << 64) if number >= _NEGATIVE else number
            called = self.known.values(row.type).get(signed, ())
            found = {
                f"{words} {name}".strip(): has & left
                for words, left in found.items()
                for name, has in called
                if has & left
            }
        return [] if numbers is None else list(found.items())

    def _numbers(self, each: wire.Field) -> list[int] | None:
        """Return packed numbers, or None for what are none."""
        place, end = self.walk.message(each)
        found = []
        try:
            while place < end:
                number, place = self.walk.varint(place, end)
                found.append(number)
        except SpecError:
            return None
        return found

    def _is_text(self, each: wire.Field) -> bool:
        start, end = self.walk.message(each)
        if end - start > _TEXT_BYTES:
            return True
        try:
            bytes(self.walk.data.read(start, end - start)).decode()
        except UnicodeDecodeError:
            return False
        return True

    def likely(self, everyone: int) -> int:
        """Return those that explain all, and suit best otherwise."""
        left = self.whole
        if self.current:
            left = left & ~self.known.old or left
        for layer_type in self.types:
            knows = self.known.knows(layer_type)
            left = left & knows or left & self.known.unlisted or left
        for plausible in self.plausible:
            left = left & plausible or left
        # Files come from what trains; a reader's schema only follows those.
        given = everyone & ~self.known.forks
        for kinds in (("training",), ("training", "history")):
            of_kind = sum(
                1 << fork.place
                for fork in self.known.tables.forks
                if fork.kind in kinds
            )
            if left & (of_kind | given):
                left &= of_kind | given
                break
        if left & self.plain:  # an old fork would show by the types of its layers
            left &= ~self.known.old
            left = left & ~self._moved() or left
        return left

    def _moved(self) -> int:
        """Return the schemas that have a field of Caffe's, present here, elsewhere.

        Where a file is Caffe's as it stands, it is hardly of one that moved Caffe's own
        numbers and left no other trace.
        """
        bvlc = self.known.bits[BVLC]
        moved = 0
        for called in self.called.values():
            for (message, name, _), schemas in called.items():
                if schemas & bvlc:
                    moved |= self.known.elsewhere(message, name)
        return moved

    def doubts(self, likely: int) -> list[str]:
        """Return the fields that the likely schemas call differently, in words."""
        found: dict[str, None] = {}
        for path, called in self.called.items():
            names: dict[tuple[str, str], int] = {}
            for (_, name, said), schemas in called.items():
                if schemas & likely:
                    key = (name, said)
                    names[key] = names.get(key, 0) | schemas & likely
            if len(names) < 2:
                continue
            message, number = next(iter(called))[0], path[-1]
            number = number if number >= 0 else path[-2]
            plain = len({name for name, _ in names}) == len(names)
            words = [
                f"{name if plain else f'{name} ({said})'} of {self._some(schemas)}"
                for (name, said), schemas in names.items()
            ]
            found[f"field {number} of {message} is {' or '.join(words)}"] = None
        return list(found)

    def _some(self, schemas: int) -> str:
        words = [
            "BVLC" if word == OURS else word for word in self.known.in_order(schemas)
        ]
        words = list(dict.fromkeys("BVLC" if w == "bvlc" else w for w in words))
        more = f" and {len(words) - 3} more" if len(words) > 4 else ""
        return ", ".join(words[:3] if more else words) + more


def _in_range(kind: str, value: int) -> bool:
    if kind == "bool":
        return value < 2
    if kind == "uint32":
        return value < 1 << 32
    if kind == "int32":
        return value < 1 << 31 or value >= _NEGATIVE
    return True
