"""What a rule is: when it holds, what readers make of it, what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from netspec.ops.base import Shape
from netspec.readers.draft import Made, Place
from netspec.schema import LayerParameter


class Fault(Enum):
    """What becomes of a layer in a reader."""

    SILENT = "computes wrong numbers without a word"
    REFUSED = "refuses it"
    DOUBTFUL = "may compute other numbers"


@dataclass(frozen=True)
class Finds:
    """What one reader makes of what a rule is about; `what` goes on after its name."""

    fault: Fault
    what: str


def silent(what: str) -> Finds:
    """Say that a reader computes something else, without a word."""
    return Finds(Fault.SILENT, what)


def refused(what: str = "refuses it") -> Finds:
    """Say that a reader raises an error, or gives no result."""
    return Finds(Fault.REFUSED, what)


def doubtful(what: str) -> Finds:
    """Say that the numbers may be wrong, for a reason that the net does not show."""
    return Finds(Fault.DOUBTFUL, what)


@dataclass(frozen=True)
class Rule:
    """One row of the table: something in a net that readers do not get right.

    name: short and unique, for reports and tests. types: the layer types that it looks
    at. says: what is in the net, as a noun: "k other than 1". readers: by name, those
    that need it, and what they make of it. applies: whether it holds for a layer of
    these types. For a reader whose fault it is, one of two may help:

    edit: changes the fields of the layer, which keeps its blobs. rewrite: returns
    layers that compute the same, from its bottoms to its tops (a layer that works in
    place has been given a bottom of its own first, unless that is an input of the net).
    needs_values: they change arrays, so nothing can be done for a net that is given
    without. instead: what they write, for the report.

    Afterwards `applies` must be false for all of them. Where neither is given, what the
    reader cannot do is refused, and what is doubtful warned of.
    """

    name: str
    types: tuple[str, ...]
    says: str
    readers: Mapping[str, Finds]
    applies: Callable[[Place], bool]
    edit: Callable[[Place], None] | None = None
    rewrite: Callable[[Place], Sequence[Made]] | None = None
    instead: str = ""
    needs_values: bool = False

    @property
    def mends(self) -> bool:
        """Whether something equal can be written."""
        return self.edit is not None or self.rewrite is not None

    def written(self, place: Place) -> Sequence[Made]:
        """Return the layers that compute the same."""
        return self.rewrite(place) if self.rewrite is not None else ()


def layer(
    kind: str, name: str, bottoms: Sequence[str], tops: Sequence[str], **options: Any
) -> LayerParameter:
    """Return a layer; options are its parameter messages, as dicts or messages."""
    return LayerParameter(name=name, type=kind, bottom=bottoms, top=tops, **options)


def chain(place: Place, *steps: tuple[str, str, dict[str, Any], Any]) -> list[Made]:
    """Return layers one behind the other, from the first bottom to the first top.

    steps: a suffix for the name, the type, the parameter messages and the arrays of
    each layer. The last one has the name of the layer that they replace, as some
    readers know outputs by the names of layers.
    """
    made = []
    blob, end = place.layer.bottom[0], place.layer.top[0]
    for index, (suffix, kind, options, arrays) in enumerate(steps):
        last = index == len(steps) - 1
        name = place.layer.name if last else place.fresh(suffix)
        top = end if last or blob == end else name
        made.append(Made(layer(kind, name, [blob], [top], **options), arrays))
        blob = top
    return made


def reshape(suffix: str, before: Shape, shape: Sequence[int]) -> tuple[Any, ...]:
    """Return a step of `chain`: another shape; a batch that stays is copied."""
    dims = list(shape)
    if before[:1] == tuple(shape[:1]):
        dims[0] = 0
    return (suffix, "Reshape", {"reshape_param": {"shape": {"dim": dims}}}, ())


def copy(name: str, bottom: str, top: str) -> Made:
    """Return a layer that copies a blob, and that no reader takes out of the net."""
    return Made(layer("Eltwise", name, [bottom] * 2, [top], eltwise_param=_MAX))


_MAX = {"operation": "MAX"}


def power(suffix: str, scale: float = 1, shift: float = 0) -> tuple[Any, ...]:
    """Return a step of `chain`: scale * x + shift."""
    return (suffix, "Power", {"power_param": {"scale": scale, "shift": shift}}, ())
