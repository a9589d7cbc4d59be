"""The graph: what a net is once phase, rules, sharing and every shape are settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from netspec.errors import SpecError
from netspec.nets.state import State
from netspec.ops.base import Op, Shape
from netspec.schema import (
    BlobProto,
    FillerParameter,
    LayerParameter,
    NetParameter,
)

AUTOMATIC = "(automatic)"  # the blob name of a loss whose top has no name, as in Caffe


@dataclass(frozen=True)
class Edge:
    """One version of a blob: what one top of one node wrote.

    Edges with the same `buffer` share the memory of their data (in-place layers,
    Reshape, Flatten, Split), edges with the same `gradient` that of their gradients
    (the same without Split). `consumers` are (node, bottom index).
    """

    index: int
    blob: str
    shape: Shape
    producer: int
    top: int
    consumers: tuple[tuple[int, int], ...]
    buffer: int
    gradient: int


@dataclass(frozen=True)
class Use:
    """A parameter slot of a node."""

    node: int
    slot: int


@dataclass(frozen=True)
class Parameter:
    """One distinct array of learned (or counted) values and all its users.

    `owner` is the first user: its shape and filler hold. `name` is that of
    `param { name }`, or empty. `blob` holds initial values given in the net itself.
    `learn` says whether some user computes a gradient for it.
    """

    index: int
    name: str
    shape: Shape
    filler: FillerParameter
    owner: Use
    users: tuple[Use, ...]
    lr_mult: float
    decay_mult: float
    learn: bool
    blob: BlobProto | None


@dataclass(frozen=True)
class Node:
    """One layer in its place.

    `bottoms` and `tops` are edges, `params` parameters, by index. `loss_weights` has a
    value for every top, `propagate` says for every bottom whether its gradient is
    computed, `learn` for every parameter slot; `backward` whether any is.
    """

    index: int
    op: Op
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    params: tuple[int, ...]
    phase: int
    loss_weights: tuple[float, ...]
    backward: bool
    propagate: tuple[bool, ...]
    learn: tuple[bool, ...]

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.op.layer.name

    @property
    def type(self) -> str:
        """The type whose arithmetic this is, by which tables know it.

        `layer.type` is the name that the net has for it, which may be a fork's: a
        DepthwiseConvolution is a Convolution.
        """
        return self.op.type

    @property
    def layer(self) -> LayerParameter:
        """The layer as it was read."""
        return self.op.layer


@dataclass(frozen=True)
class Graph:
    """A net for one state: nodes in the order in which they run.

    `inputs` are the tops of Input layers, `outputs` the blobs nothing uses, in byte
    order. `blobs` maps names to the last edge of that name. `message` is the net after
    upgrade and rules, with the Split layers. `gradient_errors` tells why gradients
    cannot be computed, if somebody asks for them. `stale` has the nodes that do not
    suit the shapes below them and still have those of an earlier graph, with the
    mistake; no others share memory with them.
    """

    name: str
    state: State
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    parameters: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    blobs: Mapping[str, int]
    message: NetParameter
    gradient_errors: tuple[str, ...] = ()
    stale: Mapping[int, SpecError] = field(default_factory=dict)

    @cached_property
    def node_of(self) -> Mapping[str, Node]:
        """The node of every layer name (the last one, should a name repeat)."""
        return {node.name: node for node in self.nodes}


@dataclass(frozen=True)
class Earlier:
    """The graph of a net before it got other shapes.

    The layers after node number `last` may keep what they were if those do not suit
    them.
    """

    graph: Graph
    last: int
