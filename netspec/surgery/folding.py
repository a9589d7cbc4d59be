"""Folding BatchNorm, Scale and Bias into the weights beside them, for use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from netspec.errors import SpecError
from netspec.graph import Graph, Node, is_inserted
from netspec.nets.phases import layers_of_phase
from netspec.ops.base import label
from netspec.ops.batch_norm import ChannelNorm
from netspec.ops.convolution import Deconvolution
from netspec.ops.inner_product import InnerProduct
from netspec.schema import TEST, LayerParameter, NetParameter
from netspec.surgery.affine import (
    AFFINE,
    LINEAR,
    Affine,
    Linear,
    affine_of,
    goes_by_channels,
    with_input,
    with_output,
)
from netspec.surgery.parts import (
    Shapes,
    copied,
    free_name,
    graph_of,
    own_nodes,
    warn,
)
from netspec.weights import Model, Weights, complete


@dataclass(frozen=True)
class Folded:
    """A model without the layers that were folded, and what became of each.

    folded: by the name of a BatchNorm, Scale or Bias that is gone, the name of the
    layer that does its work. left: by the name of one that stays, the reason.
    """

    model: Model
    folded: dict[str, str]
    left: dict[str, str]

    def __str__(self) -> str:
        layers = "layer" if len(self.folded) == 1 else "layers"
        lines = [f"{len(self.folded)} {layers} folded, {len(self.left)} left"]
        lines += [f"  {name} -> {into}" for name, into in self.folded.items()]
        lines += [f"  {name} stays: {why}" for name, why in self.left.items()]
        return "\n".join(lines)


def fold_batchnorm(model: Any, *, shapes: Shapes | None = None) -> Folded:
    """Return a model whose BatchNorm, Scale and Bias layers are part of weights.

        y = factor (w x + b) + shift    becomes    y = (factor w) x + (factor b + shift)

    They go into the Convolution, Deconvolution or InnerProduct that they follow, where
    nothing else reads what stands in between; the last blob keeps its name. Those that
    follow none go into the one that they precede: exactly so where that pads nothing,
    or they shift nothing. BatchNorm is taken with its remembered statistics, so the
    result is the net of the TEST phase and equal to it but for rounding, a few 1e-7
    for a layer. A parameter that layers share is changed where all of them agree.

    model: a `Model`, or what `as_model` takes; it does not change. shapes: of tops of
    data layers, where only files tell them.

    Raises `SpecError` where a layer has no values, `ShapeError` where shapes of data
    are not known or values do not fit.
    """
    return fold_layers(model, shapes)


def fold_layers(
    model: Any, shapes: Shapes | None = None, only: Collection[str] | None = None
) -> Folded:
    """Fold as `fold_batchnorm` does, but no layers other than those of some names."""
    whole = copied(model)
    net = layers_of_phase(whole.net, TEST)
    if not any(layer.type in AFFINE for layer in net.layer):
        return Folded(Model(net, whole.weights), {}, {})
    if whole.weights is None:
        raise SpecError(
            "folding changes values, and the model has none; give its weights: "
            "as_model(net, 'x.caffemodel')"
        )
    current, folded = Model(net, whole.weights), {}
    while True:  # what a layer takes in before it comes after what follows it
        graph = graph_of(current.net, shapes)
        current = complete(current, graph)
        plan = _Plan(graph, cast(Weights, current.weights), only)
        plan.make()
        if not plan.folds:
            break
        current = plan.apply(current.net)
        folded.update(plan.folded)
    order = [layer.name for layer in net.layer]
    return Folded(
        current,
        {name: folded[name] for name in order if name in folded},
        {name: plan.left[name] for name in order if name in plan.left},
    )


@dataclass
class _Fold:
    """What one layer takes in: layers after it, or before it, in order."""

    node: Node
    layers: list[Node]
    follows: bool
    arrays: list[np.ndarray]


class _Plan:
    def __init__(
        self, graph: Graph, weights: Weights, only: Collection[str] | None
    ) -> None:
        self.graph, self.weights = graph, weights
        self.nodes = own_nodes(graph)
        self.asked = [
            node
            for node in self.nodes
            if node.type in AFFINE and (only is None or node.name in only)
        ]
        self.folds: dict[int, _Fold] = {}  # by the index of the node that takes in
        self.taken: set[int] = set()
        self.left: dict[str, str] = {}
        self.affine: dict[int, Affine] = {}
        counts = Counter(node.name for node in self.nodes)
        self.repeated = {name for name, count in counts.items() if count > 1}

    def make(self) -> None:
        """Find what can be folded, and the reasons why other layers cannot."""
        for node in self.asked:
            self._read(node)
        for node in self.nodes:
            if node.type in LINEAR:
                self._take_followers(node)
        for node in self.nodes:
            if node.type in LINEAR and node.index not in self.folds:
                self._take_leaders(node)
        self._keep_shared()
        for node in self.asked:
            if node.index not in self.taken:
                self.left.setdefault(node.name, self._why_none(node))

    def _values(self, node: Node) -> list[np.ndarray]:
        pairs = zip(self.weights[node.name], node.op.params, strict=True)
        return [values.reshape(param.shape) for values, param in pairs]

    def _read(self, node: Node) -> None:
        """Note what an affine layer computes, or why it has to stay."""
        reason = ""
        if node.name in self.repeated:
            reason = "several layers have its name"
        elif len(node.bottoms) > 1:
            reason = f"its second bottom, {self._blob(node, 1)!r}, is a blob"
        elif isinstance(node.op, ChannelNorm) and node.op.statistics == "batch":
            told = " (use_global_stats: false)" if node.type == "BatchNorm" else ""
            reason = f"it takes the statistics of each batch{told}"
        elif len(node.tops) > 1:
            reason = "it has several tops"
        elif any(node.layer.loss_weight):
            reason = "its output is a part of the loss"
        if reason:
            self.left[node.name] = reason
            return
        with np.errstate(all="ignore"):
            affine = affine_of(node, self._values(node))
        if not (np.isfinite(affine.factor).all() and np.isfinite(affine.shift).all()):
            self.left[node.name] = "its values make no finite numbers"
            return
        self.affine[node.index] = affine

    def _take_followers(self, node: Node) -> None:
        """Collect the affine layers behind a layer."""
        chain: list[Node] = []
        edge = self.graph.edges[node.tops[0]]
        while edge.consumers:  # at most one, as several read a Split
            follower = self.graph.nodes[edge.consumers[0][0]]
            if follower.index not in self.affine:
                break
            if reason := self._cannot(node, follower, follows=True):
                self.left[follower.name] = reason
                break
            chain.append(follower)
            edge = self.graph.edges[follower.tops[0]]
        self._fold(node, chain, follows=True)

    def _take_leaders(self, node: Node) -> None:
        """Collect the affine layers before a layer, which follow none."""
        chain: list[Node] = []
        while True:
            edge = self.graph.edges[(chain[0] if chain else node).bottoms[0]]
            leader = self.graph.nodes[edge.producer]
            if leader.index not in self.affine or leader.index in self.taken:
                break
            if reason := self._cannot(node, leader, follows=False):
                self.left[leader.name] = reason
                break
            chain.insert(0, leader)
        self._fold(node, chain, follows=False)

    def _cannot(self, node: Node, other: Node, *, follows: bool) -> str:
        """Return why a layer cannot go into a node, or nothing."""
        op, affine = cast(Linear, node.op), self.affine[other.index]
        if node.name in self.repeated:
            return f"several layers have the name {node.name!r}"
        if len(node.tops) > 1:
            return f"{label(node.layer)} has several tops"
        if not goes_by_channels(op, affine, follows=follows):
            return f"its values do not lie along the channels of {label(node.layer)}"
        if follows or not affine.shift.any():
            return ""
        if isinstance(op, Deconvolution):
            return (
                f"windows of {label(node.layer)} meet less often at the borders, where "
                f"its shift would count less"
            )
        if not isinstance(op, InnerProduct) and any(op.pad):
            return (
                f"{label(node.layer)} pads with zeros, which stand for another value "
                f"once it is gone"
            )
        return ""

    def _fold(self, node: Node, chain: list[Node], *, follows: bool) -> None:
        """Take a chain of layers into a node, unless numbers would overflow."""
        if not chain:
            return
        affine = self.affine[chain[0].index]
        for each in chain[1:]:
            affine = affine.then(self.affine[each.index])
        change = with_output if follows else with_input
        arrays = change(cast(Linear, node.op), self._values(node), affine)
        if all(np.isfinite(each).all() for each in arrays):
            self.folds[node.index] = _Fold(node, chain, follows, arrays)
            self.taken.update(each.index for each in chain)
            return
        for each in chain:
            self.left[each.name] = (
                f"the weights of {label(node.layer)} would not be finite"
            )

    def _keep_shared(self) -> None:
        """Drop folds whose layer shares a parameter with one that folds otherwise."""
        shared = [each for each in self.graph.parameters if len(each.users) > 1]
        changed = True
        while changed:
            changed = False
            for parameter in shared:
                nodes = [self.graph.nodes[use.node] for use in parameter.users]
                folding = [node for node in nodes if node.index in self.folds]
                other = self._disagreeing(nodes)
                if not folding or other is None:
                    continue
                changed = True
                for node in folding:
                    self._drop(node, other if other is not node else nodes[0])

    def _disagreeing(self, nodes: Sequence[Node]) -> Node | None:
        """Return the first of some nodes that does not fold as the first one does."""
        first = self.folds.get(nodes[0].index)
        for node in nodes:
            fold = self.folds.get(node.index)
            if first is None or fold is None or len(first.arrays) != len(fold.arrays):
                return node
            if fold is not first and not all(
                map(np.array_equal, first.arrays, fold.arrays)
            ):
                return node
        return None

    def _drop(self, node: Node, other: Node) -> None:
        for each in self.folds.pop(node.index).layers:
            self.taken.discard(each.index)
            self.left[each.name] = (
                f"{label(node.layer)} shares its weights with {label(other.layer)}, "
                f"which folds nothing equal"
            )

    def _why_none(self, node: Node) -> str:
        """Return why a layer has nothing to go into."""
        before = self.graph.nodes[self.graph.edges[node.bottoms[0]].producer]
        if before.type == "Split":
            return f"it is not the only one to read {self._blob(node, 0)!r}"
        if before.type in AFFINE:
            return f"it follows {label(before.layer)}, which stays"
        said = f"it follows {label(before.layer)}, which has no weights to take it in"
        readers = self.graph.edges[node.tops[0]].consumers
        if readers and self.graph.nodes[readers[0][0]].type == "Split":
            return f"{said}, and several layers read what it makes"
        return said

    def _blob(self, node: Node, place: int) -> str:
        """Return the own name of a bottom, not that of a Split added to it."""
        edge = self.graph.edges[node.bottoms[place]]
        maker = self.graph.nodes[edge.producer]
        if is_inserted(self.graph, maker):
            edge = self.graph.edges[maker.bottoms[0]]
        return edge.blob

    @property
    def folded(self) -> dict[str, str]:
        """The layer that takes in each one that goes."""
        return {
            each.name: fold.node.name
            for fold in self.folds.values()
            for each in fold.layers
        }

    def apply(self, net: NetParameter) -> Model:
        """Return the model without the layers that were taken in."""
        changed = NetParameter()
        changed.CopyFrom(net)
        indices = [node.index for node in self.nodes]
        layers = dict(zip(indices, changed.layer, strict=True))
        weights = dict(self.weights)
        for fold in self.folds.values():
            self._rewire(layers, fold)
            weights[fold.node.name] = fold.arrays
            for each in fold.layers:
                del weights[each.name]
                _warn_of_nothing(each, self.weights)
        result = NetParameter()
        result.CopyFrom(net)
        del result.layer[:]
        result.layer.extend(
            layers[index] for index in indices if index not in self.taken
        )
        return Model(result, weights)

    def _rewire(self, layers: dict[int, LayerParameter], fold: _Fold) -> None:
        layer = layers[fold.node.index]
        if fold.follows:
            layer.top[0] = layers[fold.layers[-1].index].top[0]
        else:
            layer.bottom[0] = layers[fold.layers[0].index].bottom[0]
        if len(fold.arrays) == len(fold.node.params):
            return
        if layer.type == "InnerProduct":
            layer.inner_product_param.ClearField("bias_term")
        else:
            layer.convolution_param.ClearField("bias_term")
        weight = self.graph.parameters[fold.node.params[0]]
        if not layer.param:
            return
        bias = layer.param.add()
        if weight.lr_mult == 0:  # what does not learn goes on so
            bias.lr_mult = 0
        if len(weight.users) > 1:  # the new bias is shared as the weights are
            taken = {parameter.name for parameter in self.graph.parameters}
            bias.name = free_name(f"{weight.name}_bias", taken)


def _warn_of_nothing(node: Node, weights: Weights) -> None:
    if node.type == "BatchNorm" and not weights[node.name][2].any():
        warn(
            f"{label(node.layer)} has gathered no statistics (parameter 2 is 0) and "
            f"is folded with mean 0 and variance 0; check its weights"
        )
