"""Which edge every bottom and top of every layer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from netspec.errors import SpecError, joined
from netspec.graph.types import AUTOMATIC
from netspec.ops.base import label
from netspec.schema import LayerParameter


@dataclass
class Wires:
    """The connections of a net while it is built; edges are counted from 0.

    `in_place[layer][top]` tells whether that top has the name of the bottom at the same
    place. `names[edge]` is the edge's blob; `last` maps blobs to their last edge.
    """

    names: list[str] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)  # producer, top
    consumers: list[list[tuple[int, int]]] = field(default_factory=list)
    bottoms: list[tuple[int, ...]] = field(default_factory=list)
    tops: list[tuple[int, ...]] = field(default_factory=list)
    in_place: list[tuple[bool, ...]] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def new_edge(self, blob: str, producer: int, top: int) -> int:
        """Add an edge and return its index."""
        self.names.append(blob)
        self.ends.append((producer, top))
        self.consumers.append([])
        return len(self.names) - 1


def wire(layers: Sequence[LayerParameter], automatic: Sequence[int]) -> Wires:
    """Connect `layers`, in which every bottom is known to have a source.

    automatic: for every layer the number of tops beyond its named ones.

    Raises `SpecError` naming every blob that two layers produce.
    """
    wires = Wires()
    available: set[str] = set()
    mistakes = []
    for index, layer in enumerate(layers):
        bottoms = tuple(wires.last[blob] for blob in layer.bottom)
        for place, edge in enumerate(bottoms):
            wires.consumers[edge].append((index, place))
            available.discard(layer.bottom[place])
        tops, in_place = [], []
        for place, blob in enumerate(layer.top):
            same = place < len(layer.bottom) and layer.bottom[place] == blob
            if blob in wires.last and not same:
                mistakes.append(_two_producers(layers, wires, blob, layer))
            in_place.append(same)
            tops.append(wires.new_edge(blob, index, place))
            wires.last[blob] = tops[-1]
            available.add(blob)
        for place in range(automatic[index]):
            tops.append(wires.new_edge(AUTOMATIC, index, len(layer.top) + place))
            in_place.append(False)
        if layer.type == "Input":
            wires.inputs.extend(layer.top)
        wires.bottoms.append(bottoms)
        wires.tops.append(tuple(tops))
        wires.in_place.append(tuple(in_place))
    if mistakes:
        raise joined(mistakes)
    wires.outputs = sorted(available, key=lambda blob: blob.encode())
    return wires


def _two_producers(
    layers: Sequence[LayerParameter], wires: Wires, blob: str, layer: LayerParameter
) -> SpecError:
    other = layers[wires.ends[wires.last[blob]][0]]
    if other.name == layer.name and other is layer:
        return SpecError(
            f"top {blob!r} is listed twice; name the tops differently",
            layer=label(layer),
        )
    branch = any(
        bottom.startswith(f"{blob}_") and "_split_" in bottom for bottom in layer.bottom
    )
    if branch:
        return SpecError(
            f"top {blob!r} is also its bottom, but another layer uses that blob "
            f"before; a layer in place must be the first to use its bottom, so list it "
            f"earlier or give its top another name",
            layer=label(layer),
        )
    return SpecError(
        f"top {blob!r} is already produced by {label(other)}; give one of the two "
        f"another name",
        layer=label(layer),
    )
