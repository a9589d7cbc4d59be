"""What a net costs: shapes, parameters, multiply-accumulates and memory, per layer.

    python -m netspec.summary FILE_OR_MODEL [--phase TRAIN|TEST] [--depth N] [--json]

FILE_OR_MODEL is a prototxt, a caffemodel, or a Python file with a net. `--depth 1`
shows the modules of the outermost level as one line each.

A MAC is one multiplication and the addition that goes with it. Counted are those of
Convolution, Deconvolution, InnerProduct and of the matrix products inside LSTM and RNN,
for the whole batch; biases, pooling, normalisation and elementwise layers are not.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.cli import Parser, named_shape, positive, run
from netspec.errors import ShapeError, SpecError
from netspec.graph import (
    AUTOMATIC,
    Graph,
    Node,
    State,
    build,
    drop_values,
    filter_net,
    is_inserted,
    merge_state,
)
from netspec.memory import FLOAT_BYTES, forecast
from netspec.ops.base import Shape, count, op_class
from netspec.ops.data import infer_with
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.summary_tree import Branch, table, to_html, tree_of
from netspec.text import as_net
from netspec.upgrade import upgrade_net

MAC_RULE = (
    "a MAC is one multiply-add of Convolution, Deconvolution, InnerProduct, LSTM or RNN"
)
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One layer.

    num_params: its parameters, also those that another layer owns; own_params: those
    that no layer before it has. shared: whether it has some of another layer.
    activation_bytes: what its tops take, 0 where they are its bottoms.
    """

    name: str
    type: str
    tops: Mapping[str, Shape]
    params: tuple[Shape, ...]
    num_params: int
    own_params: int
    shared: bool
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """The rows of all layers, and totals.

    `num_params` counts a shared parameter once. `memory` is in bytes, by purpose; see
    `netspec.memory.forecast`. `print(summary)` shows a table.
    """

    name: str
    phase: int
    rows: tuple[Row, ...]
    blobs: Mapping[str, Shape]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    num_params: int
    macs: int
    memory: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists, strings and numbers."""
        return {
            "name": self.name,
            "phase": "TRAIN" if self.phase == TRAIN else "TEST",
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "blobs": {name: list(shape) for name, shape in self.blobs.items()},
            "params": {
                row.name: [list(shape) for shape in row.params]
                for row in self.rows
                if row.params
            },
            "num_params": self.num_params,
            "macs": self.macs,
            "mac_rule": MAC_RULE,
            "memory": dict(self.memory),
            "layers": [
                {
                    "name": row.name,
                    "type": row.type,
                    "tops": {name: list(shape) for name, shape in row.tops.items()},
                    "num_params": row.num_params,
                    "own_params": row.own_params,
                    "activation_bytes": row.activation_bytes,
                    "shared": row.shared,
                    "macs": row.macs,
                }
                for row in self.rows
            ],
        }

    def tree(self) -> Branch:
        """Return the layers as a tree of modules, with totals in every branch."""
        return tree_of(self.name or "net", self.rows)

    def text(self, depth: int | None = None) -> str:
        """Return a table; depth: how many levels of modules are open, None for all."""
        lines = table(self.rows if depth is None else self.tree().lines(depth))
        return "\n".join([*lines, *_totals(self)])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return to_html(self.tree(), _totals(self))


def summarize(
    net: Any,
    phase: int = TEST,
    *,
    level: int = 0,
    stages: Iterable[str] = (),
    batch_size: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Summary:
    """Return the summary of a net in one phase.

    net: a path, prototxt text, a `NetParameter`, or what has `to_proto()`.
    batch_size: replaces the first axis of what Input and data layers produce.
    shapes: shapes of tops of Input and data layers by blob name, where the net does not
    tell them, or to replace what it tells.

    Raises `SpecError` for a net that cannot be built, `FileError` for a file that
    cannot be read.
    """
    message = as_net(net)
    if isinstance(net, str | os.PathLike):
        drop_values(message)
    message = upgrade_net(message)
    state = merge_state(message, phase, level, tuple(stages))
    given = dict(shapes or {})
    if batch_size is not None:
        given = {**_batched(message, state, given, batch_size), **given}
    return summary_of(build(message, state, shapes=given))


def summary_of(graph: Graph) -> Summary:
    """Return the summary of a graph."""
    rows = tuple(_row(graph, n) for n in graph.nodes if not is_inserted(graph, n))
    inserted = {node.index for node in graph.nodes if is_inserted(graph, node)}
    return Summary(
        name=graph.name,
        phase=graph.state.phase,
        rows=rows,
        blobs={
            blob: graph.edges[edge].shape
            for blob, edge in graph.blobs.items()
            if graph.edges[edge].producer not in inserted
        },
        inputs=graph.inputs,
        outputs=graph.outputs,
        num_params=sum(count(parameter.shape) for parameter in graph.parameters),
        macs=sum(row.macs for row in rows),
        memory=forecast(graph, training=graph.state.phase == TRAIN),
    )


def _row(graph: Graph, node: Node) -> Row:
    shapes = tuple(definition.shape for definition in node.op.params)
    owners = [graph.parameters[index].owner.node for index in node.params]
    own = (
        count(shape)
        for shape, owner in zip(shapes, owners, strict=True)
        if owner == node.index
    )
    made = [graph.edges[edge] for edge in node.tops]
    read = {graph.edges[edge].buffer for edge in node.bottoms}
    return Row(
        name=node.name,
        type=node.type,
        tops={
            graph.edges[edge].blob: graph.edges[edge].shape
            for edge in node.tops
            if graph.edges[edge].blob != AUTOMATIC
        },
        params=shapes,
        num_params=sum(count(shape) for shape in shapes),
        own_params=sum(own),
        shared=any(owner != node.index for owner in owners),
        macs=node.op.macs,
        activation_bytes=FLOAT_BYTES
        * sum(count(edge.shape) for edge in made if edge.buffer not in read),
    )


def _batched(
    net: NetParameter,
    state: State,
    given: Mapping[str, Sequence[int]],
    batch_size: int,
) -> dict[str, Sequence[int]]:
    """Return the shapes of all data, with `batch_size` as their first axis."""
    if batch_size < 1:
        raise SpecError(f"batch size is {batch_size}; give at least 1")
    shapes: dict[str, Sequence[int]] = {}
    for layer in filter_net(net, state).layer:
        try:
            source = op_class(layer.type).is_source
            op = infer_with(layer, (), given) if source else None
        except (KeyError, SpecError):
            continue  # building the graph will say what is wrong with it
        if op is not None:
            for top, shape in zip(layer.top, op.tops, strict=True):
                shapes[top] = (batch_size, *shape[1:])
    return shapes


def _totals(summary: Summary) -> list[str]:
    """Return the lines below the table."""
    phase = "TRAIN" if summary.phase == TRAIN else "TEST"
    memory = {name: f"{size / MIB:.1f}" for name, size in summary.memory.items()}
    training = ""
    if summary.memory["parameter_gradients"]:
        gradients, solver = memory["parameter_gradients"], memory["solver_state"]
        training = f" their gradients {gradients}, solver {solver},"
    counts = (
        f"{summary.name or 'net'}, phase {phase}: {len(summary.rows)} layers, "
        f"{summary.num_params:,} parameters (shared ones once), {summary.macs:,} MACs"
    )
    sizes = (
        f"memory in MiB, 4 bytes a value: parameters {memory['parameters']},{training} "
        f"blobs {memory['arena']}, workspace {memory['workspace']}, total "
        f"{memory['total']}; with every blob kept {memory['total_keep_all']}"
    )
    return [counts, f"({MAC_RULE})", sizes]


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netspec.summary",
        description="Print shapes, parameters, MACs and memory of a net.",
    )
    parser.add_argument(
        "net", metavar="FILE_OR_MODEL", help="prototxt, caffemodel, or Python file"
    )
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), help="default: TEST")
    parser.add_argument("--level", type=int, default=0, help="level of the net state")
    parser.add_argument(
        "--stage", action="append", default=[], help="stage of the net state; repeat"
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="images in a batch"
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=named_shape,
        metavar="TOP=N,C,H,W",
        help="shape of the top of an Input or data layer; repeat for several",
    )
    parser.add_argument(
        "--depth", type=positive, metavar="N", help="levels of modules that are opened"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _read(
    path: str, phase: int | None, shapes: Mapping[str, Sequence[int]]
) -> tuple[NetParameter, int]:
    """Return the net and the phase to show."""
    if path.endswith(".py"):
        return _read_model(path, phase, shapes), TEST if phase is None else phase
    net = as_net(Path(path))
    drop_values(net)
    if phase is None:
        phase = _saved_phase(net) if path.endswith(".caffemodel") else TEST
    return net, phase


def _read_model(
    path: str, phase: int | None, shapes: Mapping[str, Sequence[int]]
) -> NetParameter:
    """Return the net of a Python file: for use, if no phase is named."""
    from netspec.export import load_for_use, load_model

    if phase is None:
        try:
            return load_for_use(path, shapes)
        except ShapeError:
            pass  # it would have to be derived, and only a file tells the shape of data
    return load_model(path)


def _saved_phase(net: NetParameter) -> int:
    """Return the phase that keeps all layers: a saved net was built in one already."""
    upgraded = upgrade_net(net)
    for phase in (TEST, TRAIN):
        kept = filter_net(upgraded, merge_state(upgraded, phase))
        if len(kept.layer) == len(upgraded.layer):
            return phase
    return TEST


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)

    def command() -> None:
        shapes = dict(options.shape)
        given = {"TRAIN": TRAIN, "TEST": TEST, None: None}[options.phase]
        net, phase = _read(options.net, given, shapes)
        try:
            summary = summarize(
                net,
                phase,
                level=options.level,
                stages=options.stage,
                batch_size=options.batch_size,
                shapes=shapes,
            )
        except SpecError as error:
            raise SpecError(f"{options.net}: {error}") from None
        shown = summary.text(options.depth and options.depth - 1)
        print(json.dumps(summary.as_dict()) if options.json else shown)

    return run(command)


if __name__ == "__main__":
    sys.exit(main())
