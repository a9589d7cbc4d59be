"""The catalogue of forks: what their schemas have beside Caffe's.

It is compressed JSON, generated from `tools/forks`, and read when first asked for. In
it a set of forks is a number with a bit for each, so that questions to all forks at
once are cheap.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

BVLC = "bvlc"
OPTIONAL, REQUIRED, REPEATED = 1, 2, 3  # as FieldDescriptorProto has them


class Fork(NamedTuple):
    """A fork: the word that options take, its name, and where its facts are from.

    kind: "training" for a fork that trains, "reader" for what reads files of others,
    "history" for a branch or a pull request of Caffe itself. form: "layer", or "layers"
    for an old schema that has no other. place: its bit.
    """

    word: str
    name: str
    kind: str
    form: str
    repository: str
    branch: str
    commit: str
    date: str
    place: int


class Row(NamedTuple):
    """A field of a message in the schemas of some forks.

    type: a scalar, or the name of a message or an enum. label: OPTIONAL, REQUIRED or
    REPEATED. default: as text. forks: the bits of the forks.
    """

    name: str
    number: int
    type: str
    label: int
    packed: bool
    default: str | None
    forks: int


class Value(NamedTuple):
    """A value of an enum in the schemas of some forks."""

    name: str
    number: int
    forks: int


class Catalogue:
    """All tables. Messages and enums in others have a dot in their name.

    messages: the set of the forks that have it, by its name. types: for a layer type,
    the parameters that its code reads, its own first, and the forks where it does.
    """

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self.forks = tuple(
            Fork(*[*cells, place]) for place, cells in enumerate(stored["forks"])
        )
        self.by_word = {fork.word: fork for fork in self.forks}
        self._fields: Mapping[str, Sequence[Any]] = stored["fields"]
        self._enums: Mapping[str, Sequence[Any]] = stored["enums"]
        self.types: Mapping[str, Sequence[tuple[Sequence[str], int]]] = stored["types"]
        self.messages: Mapping[str, int] = stored["messages"]
        self.enums: Sequence[str] = tuple(self._enums)

    def fields(self, message: str) -> tuple[Row, ...]:
        """Return all rows of a message, Caffe's own among them."""
        return tuple(Row(*cells) for cells in self._fields.get(message, ()))

    def values(self, enum: str) -> tuple[Value, ...]:
        """Return all values of an enum."""
        return tuple(Value(*cells) for cells in self._enums.get(enum, ()))

    def in_mask(self, mask: int) -> Iterator[Fork]:
        """Yield the forks of a set, the best known first."""
        return (fork for fork in self.forks if mask >> fork.place & 1)

    def owners(self, message: str, field: str) -> int:
        """Return the set of the forks that add `field` to `message`."""
        mask = 0
        for cells in self._fields.get(message, ()):
            if cells[0] == field:
                mask |= cells[-1]
        bvlc = 1 << self.by_word[BVLC].place
        return 0 if mask & bvlc else mask

    def type_owners(self, layer_type: str) -> int:
        """Return the set of the forks that add a layer type."""
        mask = 0
        for _, forks in self.types.get(layer_type, ()):
            mask |= forks
        return mask


@cache
def catalogue() -> Catalogue:
    """Return the catalogue; the first call reads it."""
    stored = Path(__file__).with_name("catalogue.bin").read_bytes()
    return Catalogue(json.loads(zlib.decompress(stored)))
