"""What a net costs: shapes, parameters, multiply-accumulates and memory, per layer.

A MAC is one multiplication and the addition that goes with it. Counted are those of
Convolution, Deconvolution, InnerProduct and of the matrix products inside LSTM and RNN,
for the whole batch; biases, pooling, normalisation and elementwise layers are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netspec.errors import SpecError
from netspec.graph import (
    AUTOMATIC,
    Graph,
    Node,
    build_kept,
    diagnose,
    is_inserted,
    may_start_zero,
    zero_weights,
)
from netspec.graph.dividing import Parts, batches_of, parts_of
from netspec.graph.looking import computed, learned
from netspec.graph.memory import FLOAT_BYTES
from netspec.nets.current import current
from netspec.nets.filter import KeptNet, kept_net, merge_state
from netspec.nets.given import check_given_sizes
from netspec.nets.module_paths import known_paths, module_paths
from netspec.nets.phases import PHASE_NAMES
from netspec.nets.state import State
from netspec.ops.base import Shape, count
from netspec.ops.data import infer_with
from netspec.ops.families import op_class
from netspec.room import bytes_of
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.summary.forecast import HISTORY, divided, forecast, within
from netspec.summary.partial import notes_of, partial_parts, unlearned
from netspec.summary.row import Row
from netspec.summary.tree import Branch, known_sum, table, to_html, tree_of

MAC_RULE = (
    "a MAC is one multiply-add of Convolution, Deconvolution, InnerProduct, LSTM or RNN"
)
MIB = 2**20


@dataclass(frozen=True, repr=False)
class Summary:
    """The rows of all layers, and totals.

    `num_params` counts a shared parameter once. It is the sum of `trained_params`, of
    `frozen_params`, whose lr_mult is 0, and of `statistics`, the means and variances of
    BatchNorm, which no gradient changes. `memory` is in bytes, by purpose; see
    `netspec.summary.forecast.forecast`. Shown, it is a table.

    Of a net with layers that cannot be read, or with data whose shape only a file
    tells, `num_params` and `macs` count what is known, and `memory` is empty if a shape
    is not. `notes` says what is not known, not counted or taken for granted.
    """

    name: str
    phase: int
    rows: tuple[Row, ...]
    blobs: Mapping[str, Shape | None]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    num_params: int
    macs: int
    memory: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def frozen_params(self) -> int:
        """How many values stay as they are in training, as their lr_mult is 0."""
        return sum(row.frozen for row in self.rows)

    @property
    def statistics(self) -> int:
        """How many values follow the data and no gradient."""
        return sum(row.statistics for row in self.rows)

    @property
    def trained_params(self) -> int:
        """How many values training changes."""
        return self.num_params - self.frozen_params - self.statistics

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists, strings and numbers."""
        return {
            "name": self.name,
            "phase": PHASE_NAMES[self.phase],
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "blobs": {name: _sizes(shape) for name, shape in self.blobs.items()},
            "params": {
                row.name: [list(shape) for shape in row.params]
                for row in self.rows
                if row.params
            },
            "num_params": self.num_params,
            "trained_params": self.trained_params,
            "frozen_params": self.frozen_params,
            "statistics": self.statistics,
            "macs": self.macs,
            "mac_rule": MAC_RULE,
            "memory": dict(self.memory),
            "notes": list(self.notes),
            "layers": [
                {
                    "name": row.name,
                    "type": row.type,
                    "module": row.path,
                    "tops": {name: _sizes(shape) for name, shape in row.tops.items()},
                    "num_params": row.num_params,
                    "own_params": row.own_params,
                    "frozen_params": row.frozen,
                    "statistics": row.statistics,
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

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return to_html(self.tree(), _totals(self))


def summarize(
    net: Any,
    phase: str | int = TEST,
    *,
    level: int = 0,
    stages: Iterable[str] = (),
    batch_size: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    memory_limit: str | float | None = None,
    micro_batch: Parts | None = None,
) -> Summary:
    """Return the summary of a net in one phase.

    net: a path, prototxt text, a `NetParameter`, or what has `to_proto()`.
    batch_size: replaces the first axis of what Input and data layers produce.
    shapes: shapes of tops of Input and data layers by blob name, where the net does not
    tell them, or to replace what it tells.
    memory_limit: the most memory that training may take, as of `runtime.Solver`: what
    is computed again for that, and what it costs, is one of the notes.
    micro_batch: into how many parts training divides every batch, as of
    `runtime.Solver` and `runtime.fit`; "auto": as few as the limit can be met with. The
    summary is then that of one part.

    A layer of a type that is not known here, or with unknown options, has a row too.
    `shapes` may be of any blob there: of what such a layer makes. Without, what is
    below has no shape in the summary, nor have data whose shape stands in a file, nor
    what a layer in Python makes.

    Raises `SpecError` for a net that cannot be built, `FileError` for a file that
    cannot be read.
    """
    check_given_sizes(shapes, batch_size)
    limit = None if memory_limit is None else bytes_of(memory_limit)
    message = current(net, values=False)
    state = merge_state(message, phase, level, stages)
    parts = parts_of(micro_batch)
    for name, value in (("memory_limit", limit), ("micro_batch", micro_batch)):
        if value is not None and state.phase != TRAIN:
            raise SpecError(f"{name} is of training; give it with phase TRAIN")
    if parts == "auto" and limit is None:
        raise SpecError(
            "micro_batch is 'auto', which needs a memory_limit; give one, such as "
            "memory_limit='3GB', or a number of parts"
        )
    kept = kept_net(message, state)
    given = dict(shapes or {})
    if batch_size is not None:
        given = {**_batched(kept, given, batch_size), **given}
    try:
        training = state.phase == TRAIN
        graph = build_kept(kept, shapes=given, opaque=True, gradients=training)
        found_zero = _zero_note(message, graph, given, state)
    except SpecError as error:
        error.__traceback__ = None  # its frames hold any number of mistakes
        found = diagnose(message, state, shapes=given)
        if found.error is not None:
            raise (found.error if found.missing else error) from None
    else:
        said: tuple[str, ...] = ()
        if parts != 1:
            parts, graph = divided(kept, graph, given, parts, limit)
            items = ", ".join(map(str, sorted({*batches_of(graph).values()})))
            what = "nothing is divided" if parts == 1 else "of which this is one"
            said = (f"micro_batch: {parts} parts of {items} items, {what}",)
        whole = summary_of(graph, known_paths(net), limit)
        return replace(whole, notes=(*whole.notes, *said, *found_zero))
    if limit is not None or parts != 1:
        name = "memory_limit" if limit is not None else "micro_batch"
        raise SpecError(
            f"{name}: not all shapes of this net are known; give those of its data"
        )
    paths = module_paths(found.layers, known_paths(net))
    return Summary(name=message.name, phase=state.phase, **partial_parts(found, paths))


def _zero_note(
    net: NetParameter,
    graph: Graph,
    given: Mapping[str, Sequence[int]],
    state: State,
) -> tuple[str, ...]:
    """Return what is to be said of layers that cannot learn, in the TRAIN phase."""
    if not may_start_zero(net):
        return ()
    if graph.state.phase != TRAIN:
        state = replace(state, phase=TRAIN)
        try:
            graph = build_kept(kept_net(net, state), shapes=given, opaque=True)
        except SpecError:
            return ()  # it has no data in that phase, or other layers
    said = zero_weights(graph)
    return () if said is None else (said,)


def summary_of(
    graph: Graph,
    paths: Mapping[str, str] | None = None,
    memory_limit: int | None = None,
) -> Summary:
    """Return the summary of a graph; paths: those of modules that a spec tells."""
    training = graph.state.phase == TRAIN
    found = None if memory_limit is None else within(graph, memory_limit, HISTORY)
    notes = notes_of([(node.layer, node.op) for node in graph.nodes])
    if found is not None:
        notes = (*notes, f"memory_limit: {found}")
    known = module_paths([node.layer for node in graph.nodes], paths)
    rows = tuple(
        _row(graph, node, known[node.name])
        for node in graph.nodes
        if not is_inserted(graph, node)
    )
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
        macs=known_sum(row.macs for row in rows),
        memory=forecast(
            graph, training=training, optimizer_history=HISTORY, found=found
        ),
        notes=notes,
    )


def _row(graph: Graph, node: Node, path: str) -> Row:
    shapes = tuple(definition.shape for definition in node.op.params)
    owners = [graph.parameters[index].owner.node for index in node.params]
    mine = [slot for slot, owner in enumerate(owners) if owner == node.index]
    own = (count(shapes[slot]) for slot in mine)
    multipliers = [graph.parameters[index].lr_mult for index in node.params]
    frozen, statistics = unlearned(node.op, mine, multipliers)
    unknown = learned(node.layer, node.op) is None
    made = [graph.edges[edge] for edge in node.tops]
    read = {graph.edges[edge].buffer for edge in node.bottoms}
    return Row(
        name=node.name,
        type=node.layer.type,
        tops={
            graph.edges[edge].blob: graph.edges[edge].shape
            for edge in node.tops
            if graph.edges[edge].blob != AUTOMATIC
        },
        params=shapes,
        num_params=None if unknown else sum(count(shape) for shape in shapes),
        own_params=None if unknown else sum(own),
        shared=any(owner != node.index for owner in owners),
        macs=computed(node.layer, node.op),
        activation_bytes=FLOAT_BYTES
        * sum(count(edge.shape) for edge in made if edge.buffer not in read),
        path=path,
        frozen=frozen,
        statistics=statistics,
    )


def _sizes(shape: Shape | None) -> list[int] | None:
    return None if shape is None else list(shape)


def _batched(
    kept: KeptNet, given: Mapping[str, Sequence[int]], batch_size: int
) -> dict[str, Sequence[int]]:
    """Return the shapes of all data, with `batch_size` as their first axis."""
    shapes: dict[str, Sequence[int]] = {}
    for layer in kept.message.layer:
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
    phase = PHASE_NAMES[summary.phase]
    memory = {name: f"{size / MIB:.1f}" for name, size in summary.memory.items()}
    training = ""
    if summary.memory.get("parameter_gradients"):
        gradients, solver = memory["parameter_gradients"], memory["solver_state"]
        training = f" their gradients {gradients}, solver {solver},"
    params, macs = (f"{n:,}" for n in (summary.num_params, summary.macs))
    if any(row.num_params is None for row in summary.rows):
        params = f"{params} known"
    if any(row.macs is None for row in summary.rows):
        macs = f"{macs} known"
    counts = (
        f"{summary.name or 'net'}, phase {phase}: {len(summary.rows)} layers, "
        f"{params} parameters (shared ones once), {macs} MACs"
    )
    learned = [f"{summary.trained_params:,} trained"]
    if summary.frozen_params:
        learned.append(f"{summary.frozen_params:,} frozen (lr_mult 0)")
    if summary.statistics:
        learned.append(f"{summary.statistics:,} statistics")
    lines = [f"parameters: {', '.join(learned)}"] if summary.num_params else []
    sizes = "memory: not known, as not all shapes are"
    if memory:
        sizes = (
            f"memory in MiB, 4 bytes a value: parameters {memory['parameters']},"
            f"{training} blobs {memory['arena']}, workspace {memory['workspace']}, "
            f"total {memory['total']}; with every blob kept {memory['total_keep_all']}"
        )
    return [counts, f"({MAC_RULE})", *lines, sizes, *summary.notes]
