"""What can be said of a net that does not check, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netspec.catalogue.check import check_arity
from netspec.errors import SpecError, UnknownShape, did_you_mean, joined
from netspec.graph.build import build_kept, tops_of_data
from netspec.graph.splits import is_inserted
from netspec.nets.filter import kept_layers, kept_net
from netspec.nets.given import check_given
from netspec.nets.state import State
from netspec.ops import known_types
from netspec.ops.base import Op, Shape, bottom_name, label
from netspec.ops.data import infer_with
from netspec.schema import LayerParameter, NetParameter


@dataclass(frozen=True)
class Diagnosis:
    """The layers of a net in one state, with what is known of each.

    `layers` are those of the message that was diagnosed. `ops` has None where a mistake
    at or above the layer hides its shapes, or where only a file would tell them.
    `mistakes` has None for a layer that is right. `error` is what building the net
    would say; None where it is right, or where nothing but shapes in files is missing.
    """

    layers: tuple[LayerParameter, ...]
    ops: tuple[Op | None, ...]
    mistakes: tuple[SpecError | None, ...]
    error: SpecError | None


def diagnose(
    net: NetParameter,
    state: State,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Diagnosis:
    """Build a `net` in the current form as far as that goes; see `build_kept`.

    Raises `SpecError` only for `shapes` of what is not a data layer.
    """
    given = shapes or {}
    try:
        layers = kept_layers(net, state)
        graph = build_kept(kept_net(net, state), shapes=given)
    except SpecError as error:
        return _search(net, state, given, error)
    ops = [node.op for node in graph.nodes if not is_inserted(graph, node)]
    return Diagnosis(tuple(layers), tuple(ops), (None,) * len(ops), None)


def _search(
    net: NetParameter,
    state: State,
    given: Mapping[str, Sequence[int]],
    error: SpecError,
) -> Diagnosis:
    """Find the layers that `error` is about, and what is known of the others."""
    try:
        layers = kept_layers(net, state)
    except SpecError:
        layers = list(net.layer)
    known = [layer for layer in layers if layer.type in known_types()]
    check_given(given, tops_of_data(known))
    walk = _Walk(given)
    for layer in layers:
        walk.read(layer)
    found = [mistake for mistake in walk.mistakes if mistake is not None]
    if found:
        error = joined(found)
    elif walk.unknown:
        return Diagnosis(tuple(layers), tuple(walk.ops), (None,) * len(layers), None)
    else:  # what only the whole net shows, such as parameters that cannot be shared
        text = str(error)
        walk.mistakes = [error if label(layer) in text else None for layer in layers]
    return Diagnosis(tuple(layers), tuple(walk.ops), tuple(walk.mistakes), error)


class _Walk:
    """Layers read one after the other, as long as shapes are known."""

    def __init__(self, given: Mapping[str, Sequence[int]]) -> None:
        self.given = given
        self.shapes: dict[str, Shape | None] = {}
        self.ops: list[Op | None] = []
        self.mistakes: list[SpecError | None] = []
        self.unknown = False

    def read(self, layer: LayerParameter) -> None:
        """Read one layer, or note why that cannot be done."""
        op: Op | None = None
        mistake: SpecError | None = None
        try:
            op = self._infer(layer)
        except UnknownShape:
            self.unknown = True
        except SpecError as error:
            mistake = error
        self.ops.append(op)
        self.mistakes.append(mistake)
        for place, top in enumerate(layer.top):
            self.shapes[top] = op.tops[place] if op else None

    def _infer(self, layer: LayerParameter) -> Op | None:
        types = known_types()
        if layer.type not in types:
            hint = did_you_mean(layer.type, types)
            raise SpecError(
                f"unknown layer type {layer.type!r}{hint}", layer=label(layer)
            )
        check_arity(layer)
        for place, blob in enumerate(layer.bottom):
            if blob not in self.shapes:
                hint = did_you_mean(blob, self.shapes)
                raise SpecError(
                    f"{bottom_name(layer, place)} is not the top of an earlier "
                    f"layer{hint or '; add the layer that produces it'}",
                    layer=label(layer),
                )
        bottoms = [self.shapes[blob] for blob in layer.bottom]
        known = [shape for shape in bottoms if shape is not None]
        if len(known) < len(bottoms):
            return None
        op = infer_with(layer, known, self.given)
        for place, top in enumerate(layer.top):
            in_place = place < len(layer.bottom) and layer.bottom[place] == top
            if top in self.shapes and not in_place:
                raise SpecError(
                    f"top {top!r} is already produced by an earlier layer; give one "
                    f"of the two another name",
                    layer=label(layer),
                )
        return op
