"""A net that is being rewritten: its layers, what each knows, and new names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.graph import build, is_inserted
from netspec.nets.state import State
from netspec.ops.base import Shape, label
from netspec.schema import TEST, LayerParameter, NetParameter
from netspec.weights import Model, complete


@dataclass
class Made:
    """A layer that a rule puts in the place of another one.

    arrays: the values of its parameters; None where those of the net are not known.
    """

    layer: LayerParameter
    arrays: Sequence[Any] | None = ()


@dataclass(eq=False)
class Place:
    """One layer in its net: what a rule looks at.

    op: its options and shapes, the `Op` of `netspec.ops` for its type. arrays: the
    values of its parameters, None where the net was given without any.
    """

    layer: LayerParameter
    op: Any
    arrays: list[Any] | None
    draft: Draft = field(repr=False)

    @property
    def type(self) -> str:
        """The layer's type."""
        return self.layer.type

    @property
    def label(self) -> str:
        """How messages name the layer."""
        return label(self.layer)

    @property
    def values(self) -> list[Any]:
        """The arrays of its parameters, for rules that need them."""
        return self.arrays or []

    @property
    def bottoms(self) -> tuple[Shape, ...]:
        """The shapes of the bottoms."""
        return tuple(self.op.bottoms)

    @property
    def tops(self) -> tuple[Shape, ...]:
        """The shapes of the tops."""
        return tuple(self.op.tops)

    def fresh(self, suffix: str) -> str:
        """Return a name that no layer or blob has: the layer's with a suffix."""
        return self.draft.fresh(f"{self.layer.name}_{suffix}")

    def producer(self, bottom: int = 0) -> Place | None:
        """Return the layer that wrote a bottom last, None for an input of the net."""
        return self.draft.writer(self.layer.bottom[bottom], before=self)

    def consumers(self, top: int = 0) -> list[Place]:
        """Return the layers that read what this one wrote, also in place."""
        return self.draft.readers(self.layer.top[top], after=self)

    def is_output(self, top: int = 0) -> bool:
        """Tell whether no layer reads a top."""
        return not self.consumers(top)


class Draft:
    """A net of one phase while rules rewrite it.

    model: its net has the layers of one phase and no rules; its weights, if any, are
    complete.
    """

    def __init__(self, model: Model) -> None:
        self._rest = NetParameter()
        self._rest.CopyFrom(model.net)
        del self._rest.layer[:]
        self._entries = [
            Made(_copy(layer), _arrays(model, layer)) for layer in model.net.layer
        ]
        self._given: set[str] = set()
        self.places: list[Place] = []
        self.build()

    def build(self) -> None:
        """Find the shapes and options of all layers again."""
        graph = build(self._message(), State(TEST))
        nodes = [node for node in graph.nodes if not is_inserted(graph, node)]
        for made, node in zip(self._entries, nodes, strict=True):
            if made.arrays is None and not node.op.params:
                made.arrays = ()
        self.places = [
            Place(
                made.layer,
                node.op,
                None if made.arrays is None else list(made.arrays),
                self,
            )
            for made, node in zip(self._entries, nodes, strict=True)
        ]

    @property
    def has_values(self) -> bool:
        """Whether the values of all parameters are known, so that more may be added."""
        return all(made.arrays is not None for made in self._entries)

    def model(self) -> Model:
        """Return the net as it is now, checked, with arrays of the right shapes."""
        net = self._message()
        if not self.has_values:
            return Model(net)
        weights = {
            made.layer.name: list(made.arrays or ())
            for made in self._entries
            if made.arrays
        }
        return complete(Model(net, weights), build(net, State(TEST)))

    def replace(self, place: Place, made: Sequence[Made]) -> None:
        """Put other layers in the place of one; `build` is for the caller to call."""
        index = self._index(place)
        self._entries[index : index + 1] = made
        del self.places[index]
        # Looked up by those that come later in the same pass.
        self.places[index:index] = [
            Place(each.layer, place.op, None, self) for each in made
        ]

    def overwritten_outputs(self, place: Place) -> list[str]:
        """Return the inputs that a layer overwrites and that are outputs then."""
        found = []
        for blob in set(place.layer.top) & set(place.layer.bottom):
            makers = [x for x in self.places if blob in x.layer.top]
            if makers[0].type == "Input" and not self.readers(blob, after=makers[-1]):
                found.append(blob)
        return found

    def own_top(self, place: Place, *, of_inputs: bool = False) -> None:
        """Give what a layer overwrites in place a name of its own, if it does so.

        Its top keeps its name, so that outputs keep theirs. of_inputs: also where it
        overwrites an input of the net, which keeps its name; then the top gets a new
        one.
        """
        for blob in set(place.layer.top) & set(place.layer.bottom):
            index = self._index(place)
            makers = [x for x in self.places[:index] if blob in x.layer.top]
            if makers[0].type != "Input":
                self._rename(blob, 0, index, readers_at=index)
            elif of_inputs:
                self._rename(blob, index, len(self.places), tops_of_first=True)

    def fresh(self, wanted: str) -> str:
        """Return `wanted`, or it with a number, if a layer or blob has that name."""
        taken = self._given.union(*(self._names(made.layer) for made in self._entries))
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}{number}"
        self._given.add(name)
        return name

    def writer(self, blob: str, before: Place) -> Place | None:
        """Return the last layer before a place that wrote a blob."""
        for place in reversed(self.places[: self._index(before)]):
            if blob in place.layer.top:
                return place
        return None

    def readers(self, blob: str, after: Place) -> list[Place]:
        """Return the layers after a place that read a blob, up to its next writer."""
        found = []
        for place in self.places[self._index(after) + 1 :]:
            if blob in place.layer.bottom:
                found.append(place)
            if blob in place.layer.top:
                break
        return found

    def _message(self) -> NetParameter:
        net = NetParameter()
        net.CopyFrom(self._rest)
        net.layer.extend(made.layer for made in self._entries)
        return net

    def _index(self, place: Place) -> int:
        for index, each in enumerate(self.places):
            if each is place:
                return index
        raise ValueError("the layer is no longer in the net")

    def _rename(
        self,
        blob: str,
        first: int,
        end: int,
        *,
        tops_of_first: bool = False,
        readers_at: int | None = None,
    ) -> None:
        """Rename a blob in the layers from `first` to `end`.

        tops_of_first: the bottoms of the first one stay. readers_at: a layer behind
        whose bottoms change too.
        """
        new = self.fresh(blob)
        for index in range(first, end):
            layer = self.places[index].layer
            if not (tops_of_first and index == first):
                _exchange(layer.bottom, blob, new)
            _exchange(layer.top, blob, new)
        if readers_at is not None:
            _exchange(self.places[readers_at].layer.bottom, blob, new)

    @staticmethod
    def _names(layer: LayerParameter) -> Iterator[str]:
        yield layer.name
        yield from layer.bottom
        yield from layer.top


def _exchange(names: Any, old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new


def _copy(layer: LayerParameter) -> LayerParameter:
    copy = LayerParameter()
    copy.CopyFrom(layer)
    return copy


def _arrays(model: Model, layer: LayerParameter) -> list[Any] | None:
    if model.weights is None:
        return None
    return list(model.weights.get(layer.name, ()))
