"""The names of a net's blobs and layers, as pycaffe's `Net` has them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NoReturn

from netspec.errors import SpecError, did_you_mean
from netspec.graph import Graph
from netspec.nets.state import State
from runtime.execution.arguments import layer_name
from runtime.execution.named import MissingName
from runtime.habits import NET, with_habits


class _ByLayer(OrderedDict[str, Any]):
    """What layers have, by their names."""

    def __missing__(self, name: str) -> NoReturn:
        raise MissingName(
            f"no layer {name!r} in this net{did_you_mean(str(name), self)}"
        )


@with_habits("net", NET)
class NetNames:
    """What a `Net` is called and what it has, by name and in order."""

    graph: Graph
    state: State
    layers: list[Any]
    _called: str | None = None

    @property
    def name(self) -> str:
        """The name of the net; scripts of Faster R-CNN give it another one."""
        return self.graph.name if self._called is None else self._called

    @name.setter
    def name(self, name: str) -> None:
        self._called = str(name)

    @property
    def phase(self) -> int:
        """`TRAIN` or `TEST`."""
        return self.state.phase

    @property
    def inputs(self) -> list[str]:
        """Names of the blobs that Input layers provide."""
        return list(self.graph.inputs)

    @property
    def outputs(self) -> list[str]:
        """Names of the blobs that no layer consumes, in byte order."""
        return list(self.graph.outputs)

    @property
    def layer_dict(self) -> OrderedDict[str, Any]:
        """The layers by name."""
        return _ByLayer(zip(self._layer_names, self.layers, strict=True))

    @property
    def _layer_names(self) -> list[str]:
        return [node.name for node in self.graph.nodes]

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The names of the tops of every layer."""
        edges = self.graph.edges
        return _ByLayer(
            (node.name, [edges[edge].blob for edge in node.tops])
            for node in self.graph.nodes
        )

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The names of the bottoms of every layer."""
        edges = self.graph.edges
        return _ByLayer(
            (node.name, [edges[edge].blob for edge in node.bottoms])
            for node in self.graph.nodes
        )

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The weight of every blob in the objective."""
        weights = OrderedDict((name, 0.0) for name in self.graph.blobs)
        for node in self.graph.nodes:
            for edge, weight in zip(node.tops, node.loss_weights, strict=True):
                if self.graph.edges[edge].blob in weights:
                    weights[self.graph.edges[edge].blob] = weight
        return weights

    def _range(
        self, start: str | None, end: str | None, *, backward: bool = False
    ) -> tuple[int, int]:
        """Return the numbers of the first and the last layer of a pass over some."""
        first, last = 0, len(self.graph.nodes) - 1
        if backward:
            first, last = last, first
        if start is None and end is None:  # names of many nodes lie in no near cache
            return first, last
        names = {node.name: node.index for node in self.graph.nodes}
        start, end = layer_name(start, "start"), layer_name(end, "end")
        for name in {start, end} - {None, *names}:
            raise SpecError(f"no layer {name!r}{did_you_mean(str(name), names)}")
        return names.get(start or "", first), names.get(end or "", last)
