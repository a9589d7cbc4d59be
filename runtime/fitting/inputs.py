"""What a net takes: Input layers, data layers, and labels of how many classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netspec.errors import SpecError
from netspec.graph import Graph
from netspec.nets.filter import kept_net
from netspec.ops.base import Op, Shape, label
from netspec.schema import NetParameter
from runtime.data.given.values import Labels
from runtime.data.opening import DATA_LAYERS
from runtime.execution.net import Net
from runtime.training.solver_param import NetChoice


@dataclass(frozen=True)
class Inputs:
    """The inputs of one net: shapes of the tops of Input layers, by name, in order.

    own: its data layers, as messages name them, each with what it reads.
    """

    shapes: Mapping[str, Shape]
    own: tuple[str, ...]

    def times(self, parts: int) -> Inputs:
        """Return those of whole batches where a net takes a part of them at a time."""
        shapes = {
            name: (shape[0] * parts, *shape[1:]) if shape else shape
            for name, shape in self.shapes.items()
        }
        return Inputs(shapes, self.own)

    def refuse_own(self, what: str) -> None:
        """Refuse data for a net that reads some itself. what: the argument.

        Raises `SpecError`.
        """
        if self.own:
            raise SpecError(
                f"{what} is given, but the net reads data itself: {', '.join(self.own)}"
                f"; leave {what} out, or put L.Input layers in the place of these"
            )


def inputs_of(choice: NetChoice) -> Inputs:
    """Return the inputs of the net that a solver builds."""
    shapes: dict[str, Shape] = {}
    own = []
    for layer in kept_net(choice.net, choice.state).message.layer:
        if layer.type == "Input":
            given = [tuple(shape.dim) for shape in layer.input_param.shape]
            if len(given) == 1:
                given *= len(layer.top)
            shapes.update(zip(layer.top, given, strict=False))
        elif layer.type in DATA_LAYERS:
            source = _source_of(layer)
            own.append(f"{label(layer)}{f' from {source}' if source else ''}")
    return Inputs(shapes, tuple(own))


def inputs_of_net(net: Net) -> Inputs:
    """Return the inputs of a net that is built."""
    own = [label(n.layer) for n in net.graph.nodes if n.type in DATA_LAYERS]
    return Inputs(net.input_shapes, tuple(own))


def _source_of(layer: object) -> str:
    for field in ("data_param", "hdf5_data_param", "image_data_param"):
        if layer.HasField(field):  # type: ignore[attr-defined]
            return str(getattr(layer, field).source)
    return ""


def with_batch(net: NetParameter, size: int) -> NetParameter:
    """Return a net whose Input layers have batches of another size."""
    changed = NetParameter()
    changed.CopyFrom(net)
    for layer in changed.layer:
        if layer.type == "Input":
            for shape in layer.input_param.shape:
                if shape.dim:
                    shape.dim[0] = size
    return changed


def labels_of(graph: Graph) -> dict[str, Labels]:
    """Return the inputs that are labels, with the layer that knows their classes.

    Where several layers read one, that with the fewest classes counts.
    """
    found: dict[str, Labels] = {}
    for node in graph.nodes:
        for place, allowed in node.op.ranges.items():
            name = _input_behind(graph, node.bottoms[place])
            if name is None or not allowed.integer or allowed.low != 0:
                continue
            classes = int(allowed.high) + 1
            if name not in found or classes < found[name].classes:
                found[name] = Labels(classes, label(node.layer), _ignored(node.op))
    return found


def _input_behind(graph: Graph, edge: int) -> str | None:
    """Return the input that an edge is, also behind Split layers."""
    while True:
        producer = graph.nodes[graph.edges[edge].producer]
        if producer.type == "Input":
            return graph.edges[edge].blob
        if producer.type != "Split":
            return None
        edge = producer.bottoms[0]


def _ignored(op: Op) -> tuple[int, ...]:
    several = getattr(op, "ignored", None)
    if several is not None:
        return tuple(several)
    one = getattr(op, "ignore_label", None)
    return () if one is None else (int(one),)
