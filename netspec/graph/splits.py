"""Split layers for blobs that are used more than once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from netspec.errors import MAX_TOLD, SpecError, did_you_mean, joined
from netspec.graph.types import Graph, Node
from netspec.nets.phases import PHASE_NAMES
from netspec.ops.base import bottom_name, label
from netspec.schema import LayerParameter, NetParameter

_Top = tuple[int, int]  # layer, top index


def insert_splits(
    net: NetParameter, left_out: Mapping[str, LayerParameter] | None = None
) -> NetParameter:
    """Return `net` with a Split layer after every top that is used more than once.

    A bottom is a use, so is a non-zero `loss_weight`. Such a weight moves to the first
    top of the Split. Names are Caffe's. left_out: blobs of layers that rules have taken
    out, for messages.

    Raises `SpecError` naming every bottom that no earlier layer produces.
    """
    sources = _sources(net.layer, left_out or {}, net.state.phase)
    uses = Counter(top for tops in sources for top in tops)
    weights = _weighted_tops(net.layer)
    uses.update(top for top, weight in weights.items() if weight)
    result = NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    taken: Counter[_Top] = Counter()
    for index, layer in enumerate(net.layer):
        new = result.layer.add()
        new.CopyFrom(layer)
        for place, top in enumerate(sources[index]):
            if uses[top] > 1:
                new.bottom[place] = _split_name(net, top, taken[top])
                taken[top] += 1
        for place in range(len(layer.top)):
            top = (index, place)
            if uses[top] > 1:
                weight = weights.get(top, 0.0)
                _add_split(result, net, top, uses[top], weight)
                if weight:
                    del new.loss_weight[:]
                    taken[top] += 1
    return result


def _sources(
    layers: Sequence[LayerParameter],
    left_out: Mapping[str, LayerParameter],
    phase: int,
) -> list[list[_Top]]:
    """Return, for every layer, the top that each of its bottoms reads."""
    last: dict[str, _Top] = {}
    sources = []
    mistakes: list[SpecError] = []
    for index, layer in enumerate(layers):
        found = []
        for place, blob in enumerate(layer.bottom):
            if blob in last:
                found.append(last[blob])
            else:
                known = last if len(mistakes) < MAX_TOLD else ()
                mistakes.append(unmade(layer, place, known, left_out, phase))
        sources.append(found)
        for place, blob in enumerate(layer.top):
            last[blob] = (index, place)
    if mistakes:
        raise joined(mistakes)
    return sources


def unmade(
    layer: LayerParameter,
    place: int,
    known: Iterable[str],
    left_out: Mapping[str, LayerParameter],
    phase: int,
) -> SpecError:
    """Return the error of a layer that reads a blob which no layer before it makes.

    known: blobs that may be meant. left_out: those that layers make which rules leave
    out in this phase.
    """
    blob = layer.bottom[place]
    if blob in left_out:
        other = left_out[blob]
        rules = [*other.include] or [*other.exclude]
        kind = "include" if other.include else "exclude"
        shown = " ".join(
            f"{kind} {{ {' '.join(str(rule).split())} }}" for rule in rules
        )
        why = (
            f" in phase {PHASE_NAMES[phase]}: {label(other)} makes it, but its rules "
            f"leave it out there ({shown})"
        )
    else:
        why = did_you_mean(blob, known) or "; add the layer that produces it"
    return SpecError(
        f"{bottom_name(layer, place)} is not the top of an earlier layer{why}",
        layer=label(layer),
    )


def _weighted_tops(layers: Sequence[LayerParameter]) -> dict[_Top, float]:
    last: dict[str, _Top] = {}
    weights: dict[_Top, float] = {}
    for index, layer in enumerate(layers):
        for place, blob in enumerate(layer.top):
            last[blob] = (index, place)
        for blob, weight in zip(layer.top, layer.loss_weight, strict=False):
            weights[last[blob]] = weight
    return weights


def _add_split(
    result: NetParameter, net: NetParameter, top: _Top, uses: int, weight: float
) -> None:
    layer = net.layer[top[0]]
    blob = layer.top[top[1]]
    split = result.layer.add()
    split.name = f"{blob}_{layer.name}_{top[1]}_split"
    split.type = "Split"
    split.bottom.append(blob)
    for place in range(uses):
        split.top.append(_split_name(net, top, place))
        if weight:
            split.loss_weight.append(weight if place == 0 else 0)


def _split_name(net: NetParameter, top: _Top, place: int) -> str:
    layer = net.layer[top[0]]
    return f"{layer.top[top[1]]}_{layer.name}_{top[1]}_split_{place}"


def is_inserted(graph: Graph, node: Node) -> bool:
    """Tell whether `node` is a Split that `insert_splits` added, by its name."""
    if node.type != "Split":
        return False
    edge = graph.edges[node.bottoms[0]]
    producer = graph.nodes[edge.producer].name
    return node.name == f"{edge.blob}_{producer}_{edge.top}_split"


def with_own_names(error: SpecError, layers: Iterable[LayerParameter]) -> SpecError:
    """Return an error with the blobs of inserted Splits under their own names."""
    text = error.text
    for layer in layers:
        if layer.type == "Split" and layer.name.endswith("_split"):
            for place, top in enumerate(layer.top):
                if top == f"{layer.name}_{place}":
                    text = text.replace(f"'{top}'", f"'{layer.bottom[0]}'")
    return error.replaced(text=text)


def counted_twice(graph: Graph, node: Node) -> tuple[float, float] | None:
    """Return the weights of a loss that counts in two places of the objective, or None.

    The one is that of the layer itself, the other that of the Split behind it: a weight
    that is given moves there if another layer reads the loss too, and a loss layer
    without one has weight 1. So it is in Caffe, whose gradient has the second alone.
    """
    for edge, weight in zip(node.tops, node.loss_weights, strict=True):
        for reader, _ in graph.edges[edge].consumers:
            split = graph.nodes[reader]
            if weight and split.loss_weights[0] and is_inserted(graph, split):
                return weight, split.loss_weights[0]
    return None
