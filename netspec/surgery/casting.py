"""Inner products as convolutions: equal on the image of training, sliding on others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, did_you_mean, joined
from netspec.graph import Graph, Node
from netspec.ops.base import count, label
from netspec.schema import LayerParameter, NetParameter
from netspec.surgery.following import POINTWISE, Spatial, follow
from netspec.surgery.parts import Seen, Shapes, copied, seen_in_each_phase
from netspec.weights import Model

_SPATIAL_AXES = 4  # of a blob (N, C, H, W)
_PASSED = POINTWISE | {"PReLU", "Split"}  # between a Flatten and an InnerProduct


def cast_to_convolution(
    model: Any, layers: Iterable[str] | None = None, *, shapes: Shapes | None = None
) -> Model:
    """Return a model whose InnerProduct layers are convolutions.

        y[n, o] = sum of w[o, chw] x[n, chw]    becomes a window of H x W that slides

    The outputs have the same numbers, of shape (N, num_output, 1, 1), and on larger
    inputs a value for each place of the window. What follows goes along: layers behind
    become convolutions of 1 x 1, Softmax, losses and the like go by axis 1, Flatten and
    Reshape that made (N, K) go or keep all axes.

    model: a `Model`, or what `as_model` takes; it does not change. layers: names of the
    layers to cast; None for all behind a blob (N, C, H, W), and those behind them.
    shapes: of tops of data layers, where only files tell them.

    Raises `SpecError` for a layer that cannot be cast, a parameter that others share in
    its old form, and whatever follows and would not compute the same.

    Source: the "net surgery" that made FCN of VGG; Long, Shelhamer and Darrell, 2015.
    """
    result = copied(model)
    names = None if layers is None else [*layers]
    if isinstance(layers, str):
        raise SpecError(f"layers is {layers!r}; expected a list of names: [{layers!r}]")
    for name in names or ():
        _check_named(result.net, name)
    found = seen_in_each_phase(result.net, shapes)
    casts = [_Cast(result.net, seen, names) for seen in found]
    for cast in casts:
        cast.make()
    _check_all_found(result.net, casts, names)
    _put_in(result.net, casts)
    for cast in casts:
        for name, node in cast.windows.items():
            _turn(result, name, node, cast.spatial[name])
    seen_in_each_phase(result.net, shapes)  # it is a net again
    return result


@dataclass
class _Cast:
    """The layers of one phase as they become."""

    net: NetParameter
    seen: Seen
    names: list[str] | None
    # By place in the net; None for a layer that goes.
    layers: dict[int, LayerParameter | None] = field(default_factory=dict)
    windows: dict[str, Node] = field(default_factory=dict)  # what is cast
    spatial: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    maps: dict[int, Spatial] = field(default_factory=dict)  # by edge
    flat: dict[int, Node] = field(default_factory=dict)  # edges that a Flatten made
    left: dict[str, str] = field(default_factory=dict)
    mistakes: list[SpecError] = field(default_factory=list)

    @property
    def graph(self) -> Graph:
        """The graph of the net before."""
        return self.seen.graph

    def make(self) -> None:
        """Go through the net from its data on, changing layers."""
        opened = self._opened()
        for node in self.graph.nodes:
            layer = LayerParameter()
            if node.index in self.seen.places:
                layer.CopyFrom(self.net.layer[self.seen.places[node.index]])
                self.layers[self.seen.places[node.index]] = layer
            if self._wanted(node) and self._cast(node, layer):
                continue
            bottoms = [self.maps.get(edge) for edge in node.bottoms]
            if _flattens(node) and (bottoms[0] or node.index in opened):
                self._open(node, layer, bottoms[0])
            elif any(bottoms):
                self._follow(node, layer, bottoms)
            elif _flattens(node):
                self.flat[node.tops[0]] = self.flat.get(node.bottoms[0], node)
            elif self._is_added(node) and node.bottoms[0] in self.flat:
                self.flat |= dict.fromkeys(node.tops, self.flat[node.bottoms[0]])
        if self.mistakes:
            raise joined(self.mistakes)
        self._drop_unread()
        self._check_sharing()

    def _is_added(self, node: Node) -> bool:
        return node.index not in self.seen.places

    def _wanted(self, node: Node) -> bool:
        chosen = self.names is None or node.name in self.names
        return node.type == "InnerProduct" and chosen

    def _opened(self) -> set[int]:
        """Return the layers that flatten what is cast further on, not directly."""
        opened: set[int] = set()
        for node in self.graph.nodes:
            if not self._wanted(node):
                continue
            edge = self.graph.edges[node.bottoms[0]]
            before, between = self.graph.nodes[edge.producer], False
            while before.type in _PASSED:
                between |= not self._is_added(before)
                before = self.graph.nodes[self.graph.edges[before.bottoms[0]].producer]
            if between and _flattens(before):
                opened.add(before.index)
        return opened

    def _cast(self, node: Node, layer: LayerParameter) -> bool:
        """Make a convolution of a layer; tell whether it could be."""
        op: Any = node.op
        edge, shape = node.bottoms[0], op.bottoms[0]
        flatten = self.flat.get(edge)
        if flatten is not None:
            shape = flatten.op.bottoms[0]
        spatial = self.maps.get(edge)
        if op.axis != 1:
            self.left[node.name] = f"its axis is {op.axis}; expected 1"
            return False
        if spatial is None:
            if len(shape) != _SPATIAL_AXES:
                self.left[node.name] = (
                    f"its input has shape {shape}; expected (N, C, H, W), or what "
                    f"becomes so"
                )
                return False
            spatial = (shape[1], shape[2], shape[3])
        if flatten is not None:
            place = self.seen.places[flatten.index]
            layer.bottom[0] = self.net.layer[place].bottom[0]
        _to_convolution(layer, spatial)
        self.windows[node.name] = node
        self.spatial[node.name] = spatial
        self.maps[node.tops[0]] = (op.num_output, 1, 1)
        return True

    def _open(self, node: Node, layer: LayerParameter, spatial: Spatial) -> None:
        """Let a layer that flattened (N, C, H, W) keep all axes."""
        if spatial is None:
            _, channels, height, width = node.op.bottoms[0]
            spatial = (channels, height, width)
        layer.type = "Reshape"
        layer.ClearField("flatten_param")
        layer.ClearField("reshape_param")
        layer.reshape_param.shape.dim.extend([0, 0, 0, 0])
        self.maps[node.tops[0]] = spatial

    def _follow(
        self, node: Node, layer: LayerParameter, bottoms: list[Spatial]
    ) -> None:
        tops = follow(node, layer, bottoms)
        if not isinstance(tops, str):
            for place, (edge, spatial) in enumerate(zip(node.tops, tops, strict=True)):
                self.maps[edge] = spatial
                read = self.graph.edges[edge].consumers
                if spatial and read and len(node.op.tops[place]) != 2:
                    tops = "others read its top, which would have another shape"
        if isinstance(tops, str):
            first = next(place for place, each in enumerate(bottoms) if each)
            blob = self.graph.edges[node.bottoms[first]].blob
            if node.index in self.seen.places:
                blob = self.net.layer[self.seen.places[node.index]].bottom[first]
            self.mistakes.append(
                SpecError(
                    f"cannot follow when {blob!r} becomes (N, C, H, W): {tops}. Give "
                    f"the layers to cast without those that lead here, as in "
                    f"layers=[{self._example()!r}], or change this layer first",
                    layer=label(node.layer),
                )
            )

    def _example(self) -> str:
        return next(iter(self.windows), "fc6")

    def _drop_unread(self) -> None:
        """Remove layers that flattened what is read unflattened now."""
        reads = Counter(
            blob for layer in self.layers.values() if layer for blob in layer.bottom
        )
        for node in reversed(self.graph.nodes):
            was_read = [self.graph.edges[edge].consumers for edge in node.tops]
            if not _flattens(node) or not was_read[0] or reads[node.layer.top[0]]:
                continue
            layer = self.layers[self.seen.places[node.index]]
            self.layers[self.seen.places[node.index]] = None
            reads.subtract(layer.bottom if layer else ())

    def _check_sharing(self) -> None:
        """Refuse weights that another layer needs in their old form."""
        checked: set[int] = set()
        for name, node in self.windows.items():
            parameter = self.graph.parameters[node.params[0]]
            if parameter.index in checked:
                continue
            checked.add(parameter.index)
            turned = getattr(node.op, "transpose", False)
            for use in parameter.users:
                other = self.graph.nodes[use.node]
                if (
                    self.spatial.get(other.name) != self.spatial[name]
                    or getattr(other.op, "transpose", False) != turned
                ):
                    raise SpecError(
                        f"its weights are also those of {label(other.layer)}, which "
                        f"needs them in another shape; cast both, or take the shared "
                        f"name {parameter.name!r} from both",
                        layer=label(node.layer),
                    )


def _flattens(node: Node) -> bool:
    """Tell whether a layer makes (N, C H W) of (N, C, H, W), or copies (N, K)."""
    if node.type not in ("Flatten", "Reshape"):
        return False
    (bottom,), (top,) = node.op.bottoms, node.op.tops
    axes = (2, _SPATIAL_AXES)
    return len(bottom) in axes and top == (bottom[0], count(bottom, 1))


def _to_convolution(layer: LayerParameter, spatial: tuple[int, int, int]) -> None:
    """Turn the message of an InnerProduct into that of a Convolution."""
    old, (_, height, width) = layer.inner_product_param, spatial
    layer.type = "Convolution"
    param = layer.convolution_param
    param.Clear()
    param.num_output = old.num_output
    if old.HasField("bias_term"):
        param.bias_term = old.bias_term
    if height == width:
        param.kernel_size.append(height)
    else:
        param.kernel_h, param.kernel_w = height, width
    if old.HasField("weight_filler"):
        param.weight_filler.CopyFrom(old.weight_filler)
    if old.HasField("bias_filler"):
        param.bias_filler.CopyFrom(old.bias_filler)
    layer.ClearField("inner_product_param")


def _turn(model: Model, name: str, node: Node, spatial: tuple[int, int, int]) -> None:
    """Give the weights of a layer that was cast their new shape."""
    held = (model.weights or {}).get(name)
    if not held or held[0] is None:
        return
    op: Any = node.op
    values = held[0]
    shape = (op.num_output, *spatial)
    if values.shape == shape:
        return  # another phase has the same layer
    if values.size != count(shape):
        raise ShapeError(
            f"its weights have shape {values.shape}; expected {op.params[0].shape}",
            layer=label(node.layer),
        )
    if op.transpose:
        values = values.reshape(op.params[0].shape).T
    held[0] = np.ascontiguousarray(values).reshape(shape)


# ---------------------------------------------------------------- the whole net


def _check_named(net: NetParameter, name: str) -> None:
    named = [layer for layer in net.layer if layer.name == name]
    if not named:
        names = [layer.name for layer in net.layer if layer.type == "InnerProduct"]
        raise SpecError(f"the net has no layer {name!r}{did_you_mean(name, names)}")
    for layer in named:
        if layer.type != "InnerProduct":
            raise SpecError(
                "only InnerProduct layers can be cast to a convolution",
                layer=label(layer),
            )


def _check_all_found(
    net: NetParameter, casts: list[_Cast], names: list[str] | None
) -> None:
    done = {name for cast in casts for name in cast.windows}
    left = {name: why for cast in casts for name, why in cast.left.items()}
    if names is None:
        if not done:
            told = "; ".join(f"{name!r}: {why}" for name, why in left.items())
            raise SpecError(
                f"no layer can be cast to a convolution: "
                f"{told or 'the net has no InnerProduct'}"
            )
        names = []
    for layer in net.layer:
        if layer.name in names and layer.name not in done:
            why = left.get(layer.name, "no phase keeps it")
            raise SpecError(
                f"cannot be cast to a convolution: {why}", layer=label(layer)
            )


def _put_in(net: NetParameter, casts: list[_Cast]) -> None:
    """Put what the phases make of layers into the net; they have to agree."""
    changed: dict[int, LayerParameter | None] = {}
    for place in {place for cast in casts for place in cast.layers}:
        seen = [cast for cast in casts if place in cast.layers]
        kept = [cast for cast in seen if cast.layers[place] is not None]
        layer = changed[place] = kept[0].layers[place] if kept else None
        if any(cast.layers[place] != layer for cast in kept):
            raise SpecError(
                "it would become another layer in each phase; take one first, "
                "with netspec.one_phase",
                layer=label(net.layer[place]),
            )
        if layer and len(kept) < len(seen) and not (layer.include or layer.exclude):
            layer.include.add(phase=kept[0].seen.phase)  # the other reads it no more
    done = {name for cast in casts for name in cast.windows}
    maps = {
        cast.graph.edges[edge].blob
        for cast in casts
        for edge, spatial in cast.maps.items()
        if spatial
    }
    now: list[LayerParameter] = []
    for place, layer in enumerate(net.layer):
        if place not in changed and (layer.name in done or maps & {*layer.bottom}):
            raise SpecError(
                "no phase keeps it without a stage or level, but it has to do with "
                "what is cast; take its state first",
                layer=label(layer),
            )
        became = changed.get(place, layer)
        if became is not None:
            now.append(LayerParameter.FromString(became.SerializeToString()))
    del net.layer[:]
    net.layer.extend(now)
