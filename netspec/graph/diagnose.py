"""What can be said of a net that cannot be built, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netspec.catalogue.check import check_arity
from netspec.errors import (
    MAX_TOLD,
    ShapeError,
    SpecError,
    UnknownShape,
    joined,
)
from netspec.graph.build import automatic_tops, build_kept
from netspec.graph.looking import kind_of, look_at, told_type, unreadable
from netspec.graph.splits import is_inserted, unmade
from netspec.graph.types import Graph
from netspec.nets.filter import kept_layers, kept_net, left_out
from netspec.nets.given import check_given_blobs
from netspec.nets.state import State
from netspec.nets.words import check_words
from netspec.ops.base import Op, Shape, label
from netspec.ops.opaque import opaque_shapes
from netspec.schema import LayerParameter, NetParameter


@dataclass(frozen=True)
class Diagnosis:
    """The layers of a net in one state, with what is known of each.

    `layers` are those of the message that was diagnosed. `ops` has None where a mistake
    at or above the layer hides its shapes, or where they are not known: only a file
    would tell them, or nobody can read the layer. `tops` has the shapes of all tops, as
    far as they are known. `mistakes` has None for a layer that is right. `error` is
    what building the net would say; None where it is right, or where nothing but shapes
    is missing. `missing` says which and why, layer by layer. `graph` is there if all
    shapes are known; its layers that nobody can read are `Opaque`.
    """

    layers: tuple[LayerParameter, ...]
    ops: tuple[Op | None, ...]
    tops: tuple[tuple[Shape | None, ...], ...]
    mistakes: tuple[SpecError | None, ...]
    error: SpecError | None
    missing: tuple[UnknownShape, ...] = ()
    graph: Graph | None = None


def diagnose(
    net: NetParameter,
    state: State,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Diagnosis:
    """Build a `net` in the current form as far as that goes; see `build_kept`.

    shapes: of any blobs, where nothing else tells them.

    Raises `SpecError` only for `shapes` of what is no blob of the net.
    """
    given = shapes or {}
    try:
        layers = kept_layers(net, state)
        graph = build_kept(kept_net(net, state), shapes=given, opaque=True)
    except SpecError as error:
        # Its frames hold all mistakes once more.
        return _search(net, state, given, error.with_traceback(None))
    ops = tuple(node.op for node in graph.nodes if not is_inserted(graph, node))
    tops = tuple(op.tops for op in ops)
    none = (None,) * len(ops)
    return Diagnosis(tuple(layers), ops, tops, none, None, graph=graph)


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
    check_given_blobs(given, [top for layer in layers for top in layer.top])
    walk = _Walk(given, left_out(net, state), state.phase)
    for layer in layers:
        walk.read(layer)
    found = [mistake for mistake in walk.mistakes if mistake is not None]
    told: SpecError | None = None
    if found:
        told = joined(found)
    elif not (walk.missing and isinstance(error, ShapeError)):
        # What only the whole net shows, such as parameters that cannot be shared.
        text, told = str(error), error
        walk.mistakes = [error if label(layer) in text else None for layer in layers]
    return Diagnosis(
        tuple(layers),
        tuple(walk.ops),
        tuple(walk.tops),
        tuple(walk.mistakes),
        told,
        tuple(walk.missing),
    )


class _Walk:
    """Layers read one after the other, as far as shapes are known."""

    def __init__(
        self,
        given: Mapping[str, Sequence[int]],
        left_out: Mapping[str, LayerParameter],
        phase: int,
    ) -> None:
        self.given = given
        self.left_out = left_out
        self.phase = phase
        self.shapes: dict[str, Shape | None] = {}
        self.ops: list[Op | None] = []
        self.tops: list[tuple[Shape | None, ...]] = []
        self.mistakes: list[SpecError | None] = []
        self.missing: list[UnknownShape] = []
        self.hints = 0  # looked for; a broken file may have any number of mistakes

    def read(self, layer: LayerParameter) -> None:
        """Read one layer, or note why that cannot be done."""
        op: Op | None = None
        mistake: SpecError | None = None
        try:
            self._check_wires(layer)
            check_words(layer)
            op = self._infer(layer)
        except UnknownShape as error:
            self.missing.append(error.with_traceback(None))
        except SpecError as error:
            mistake = error.with_traceback(None)  # there may be many, with their frames
        self.ops.append(op)
        self.mistakes.append(mistake)
        tops = tuple(op.tops[: len(layer.top)]) if op else self._told(layer, mistake)
        self.tops.append(tops)
        self.shapes.update(zip(layer.top, tops, strict=True))

    def _check_wires(self, layer: LayerParameter) -> None:
        if not kind_of(layer):
            raise SpecError(told_type(layer), layer=label(layer))
        if unreadable(layer) is None:
            check_arity(layer)
        for place, blob in enumerate(layer.bottom):
            if blob not in self.shapes:
                self.hints += 1
                known = self.shapes if self.hints <= MAX_TOLD else ()
                raise unmade(layer, place, known, self.left_out, self.phase)

    def _check_tops(self, layer: LayerParameter) -> None:
        weights, tops = len(layer.loss_weight), len(layer.top) + automatic_tops(layer)
        if weights not in (0, tops):
            raise SpecError(
                f"loss_weight is given {weights} times for {tops} tops; give it once "
                f"for each",
                layer=label(layer),
            )
        for place, top in enumerate(layer.top):
            in_place = place < len(layer.bottom) and layer.bottom[place] == top
            if not in_place and (top in self.shapes or top in layer.top[:place]):
                raise SpecError(
                    f"top {top!r} is already produced by an earlier layer; give one "
                    f"of the two another name",
                    layer=label(layer),
                )

    def _infer(self, layer: LayerParameter) -> Op | None:
        bottoms = [self.shapes[blob] for blob in layer.bottom]
        known = [shape for shape in bottoms if shape is not None]
        if len(known) < len(bottoms):
            self._check_tops(layer)
            return None
        try:
            op = look_at(layer, known, self.given)
        except UnknownShape:
            self._check_tops(layer)
            raise
        self._check_tops(layer)
        return op

    def _told(
        self, layer: LayerParameter, mistake: SpecError | None
    ) -> tuple[Shape | None, ...]:
        """Return what is known of the tops of a layer that has no op."""
        if mistake is not None:
            return (None,) * len(layer.top)
        if unreadable(layer) is not None:
            bottoms = [self.shapes.get(blob) for blob in layer.bottom]
            return opaque_shapes(layer, bottoms, self.given)
        given = self.given
        return tuple(tuple(given[top]) if top in given else None for top in layer.top)
