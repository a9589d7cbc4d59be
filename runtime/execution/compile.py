"""Compile a graph: kernels, memory, and lists of steps that only run.

`compile_plan` chooses a kernel for every node, lays all arrays out in an arena, binds
the kernels to them, and returns the steps in order. After that nothing looks at a name,
a shape or a proto.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from netspec.graph import Graph, Node
from netspec.graph.memory import Touch, unwritten_gradients
from netspec.graph.recompute import Recomputation
from netspec.graph.timeline import Timeline, plain
from runtime.arena import Arena
from runtime.arrays import Array
from runtime.backends import Backend
from runtime.backends.base import Fusion
from runtime.execution.buckets import Completion
from runtime.execution.fitting import fitting
from runtime.execution.limits import MemoryLimit, late_kernel, late_nodes
from runtime.execution.memory_kinds import passes_over
from runtime.execution.mirror import Mirror
from runtime.execution.parameters import ParameterArrays
from runtime.execution.plan import Plan, Prepared, Step
from runtime.execution.plan_memory import Known, PlanMemory, SharedMemory
from runtime.execution.planning import kernels_of, plan_within
from runtime.layers.base import Bound, Context, Kernel
from runtime.primitives import Primitives


def _step(
    node: Node,
    run: Callable[[], None],
    calls: Sequence[Any] | None,
    backend: Primitives,
    flags: tuple[bool, ...] = (),
) -> Step:
    if calls is not None:
        run = backend.runner(calls)
    return Step(node.index, node.name, run, calls, flags)


def _forward_step(
    node: Node, kernel: Kernel[Any], memory: PlanMemory, backend: Primitives
) -> Step:
    copies = [
        (kept, memory.data[node.bottoms[place]])
        for (index, place), kept in memory.kept.items()
        if index == node.index
    ]
    if not copies:
        return _step(node, kernel.forward, kernel.forward_calls(), backend)

    def run() -> None:
        for kept, values in copies:
            backend.copy(values, kept)
        kernel.forward()

    return _step(node, run, None, backend)


def compile_plan(
    graph: Graph,
    backend: Backend,
    context: Context,
    parameters: Sequence[ParameterArrays],
    mirror: Mirror,
    shared: SharedMemory,
    prepared: Prepared,
    completion: Completion,
    *,
    keep: Container[str] | None = None,
    known: Known | None = None,
    suits: Callable[[Arena], bool] = lambda _: True,
    limit: MemoryLimit | None = None,
    asked: Container[str] | None = None,
) -> Plan:
    """Bind every node of `graph` to a kernel of `backend` and to memory.

    mirror: learns of the memory of blobs, ahead of the kernels. shared, prepared,
    completion: what the plans of a net have in common. keep: the names of the blobs
    whose contents must outlive the steps that use them; None keeps all of them, as
    Caffe does. Inputs, outputs and loss gradients are always kept. known: where another
    plan has its arrays, to have them there too. suits: which arenas may be taken.
    limit: of the memory, for which some blobs are computed again in backward. asked:
    the blobs that layers which run as one must write; None for all that are kept.

    Nothing is written to the memory that plans share: see `Plan.enter`.

    Raises `UnsupportedError` for a layer type without arithmetic, `MachineError` where
    the memory cannot be had.
    """
    written = keep if asked is None else asked
    places, kernels, fusion = kernels_of(graph, backend, context, written)
    found = None
    if limit is not None:
        found = plan_within(graph, backend, context, keep, limit)
    if found is not None and found.again:
        if found.graph is not graph:
            graph = found.graph
            places, kernels, fusion = kernels_of(graph, backend, context, written)
        known = None
    most = None if found is None else found.total_bytes
    with fitting(graph, context, (), keep, shared.arenas, most):
        given = (graph, backend, context, kernels, keep, places, shared)
        timeline = None if found is None else found.timeline
        touched = () if fusion is None else _touched(fusion, keep)
        dense = found is not None
        memory = PlanMemory(*given, known, suits, timeline, touched, dense=dense)
        copies = mirror.blob_copies()
        data, diff = memory.data, memory.diff
        passes = passes_over(graph, data, diff, parameters, copies, mirror)
        for node, kernel in zip(graph.nodes, kernels, strict=True):
            if node.index not in graph.stale:
                kernel.bind(_bound(node, memory, parameters))
        forward = tuple(
            _forward_step(node, kernel, memory, backend)
            for node, kernel in zip(graph.nodes, kernels, strict=True)
            if not node.op.alias and node.index not in graph.stale
        )
        if fusion is not None and memory.absent:
            forward = _settled(forward, fusion, backend)
        ran = [0] * len(graph.nodes) if found is not None and found.again else []
        late, late_fusion = kernels, None
        if found is not None and found.again:
            late = _late_kernels(graph, context, kernels, ran, found)
            late_fusion = backend.fusion(graph, late, keep)
            for one in (fusion, late_fusion):
                if one is not None:
                    one.divide(found.again)
            _bind_late(graph, late, kernels, memory, parameters)
        timeline = timeline or plain(graph)
        after = (graph, context, late, parameters, timeline)
        return Plan(
            forward=forward,
            backward=_backward_steps(*after, store=True),
            accumulate=_backward_steps(*after, store=False),
            data=list(data),
            diff=tuple(diff),
            kernels=tuple(kernels),
            memory=memory.sizes,
            backend=backend,
            passes=passes,
            arena=memory.arena,
            known=memory.known,
            lies=memory.lies,
            fills=_fills(graph, memory),
            copies=copies,
            stale=frozenset(graph.stale),
            absent=memory.absent,
            prepared=prepared,
            prepares=_prepares(forward, memory),
            own_bytes=memory.own_bytes,
            fusion=fusion,
            late_fusion=late_fusion,
            ran=ran,
            recomputation=found,
            telling=partial(
                completion.within,
                kernels=kernels,
                gradients=[one.diff for one in parameters],
            ),
        )


def _touched(fusion: Fusion, keep: Container[str] | None) -> tuple[Touch, ...]:
    """Return what a fusion says of the use of data; what is kept has memory."""
    return tuple(
        one for one in fusion.touched() if keep is not None or one[1] != "never"
    )


def _settled(
    forward: Sequence[Step], fusion: Fusion, backend: Primitives
) -> tuple[Step, ...]:
    """Let layers run as in whole passes always if their blobs have no memory."""
    calls, nodes = fusion.forward(), fusion.settled()
    steps = list(forward)
    for place, step in enumerate(steps):
        if step.node in nodes and step.node in calls:
            own = calls[step.node]
            steps[place] = replace(step, run=backend.runner(own), calls=own)
    return tuple(steps)


def _late_kernels(
    graph: Graph,
    context: Context,
    kernels: Sequence[Kernel[Any]],
    ran: list[int],
    found: Recomputation,
) -> list[Kernel[Any]]:
    """Return the kernels of backward; those that read other memory are new ones."""
    late = late_nodes(graph, found)
    return [
        late_kernel(kernel, node, context, ran) if node.index in late else kernel
        for node, kernel in zip(graph.nodes, kernels, strict=True)
    ]


def _bind_late(
    graph: Graph,
    late: Sequence[Kernel[Any]],
    kernels: Sequence[Kernel[Any]],
    memory: PlanMemory,
    parameters: Sequence[ParameterArrays],
) -> None:
    """Bind the kernels of backward that are new to what is computed again."""
    for node, kernel, first in zip(graph.nodes, late, kernels, strict=True):
        if kernel is first:
            continue
        kernel.arrays()  # which some decide about their sizes in
        bound = _bound(node, memory, parameters)
        kernel.bind(
            replace(
                bound,
                bottoms=tuple(memory.late_data[edge] for edge in node.bottoms),
                tops=tuple(memory.late_data[edge] for edge in node.tops),
                work=memory.late_work(node.index),
            )
        )


def _prepares(forward: Sequence[Step], memory: PlanMemory) -> list[Hashable]:
    """Return the shared states that constant calls fill; none if others do not."""
    nodes = [
        step.node for step in forward if any(call.constant for call in step.calls or ())
    ]
    if any(node in memory.unshared for node in nodes):
        return []
    return [state for node in nodes for state in memory.states.get(node, ())]


def _bound(
    node: Node, memory: PlanMemory, parameters: Sequence[ParameterArrays]
) -> Bound:
    shapes = [definition.shape for definition in node.op.params]
    arrays = [parameters[index] for index in node.params]
    return Bound(
        bottoms=tuple(
            memory.kept.get((node.index, place), memory.data[edge])
            for place, edge in enumerate(node.bottoms)
        ),
        tops=tuple(memory.data[edge] for edge in node.tops),
        dbottoms=tuple(
            memory.diff[edge] if propagate else None
            for edge, propagate in zip(node.bottoms, node.propagate, strict=True)
        ),
        dtops=tuple(memory.diff[edge] for edge in node.tops),
        params=tuple(
            one.data.reshape(shape) for one, shape in zip(arrays, shapes, strict=True)
        ),
        dparams=tuple(
            one.diff.reshape(shape) if learn else None
            for one, shape, learn in zip(arrays, shapes, node.learn, strict=True)
        ),
        work=memory.work[node.index],
        lasting=memory.lasting[node.index],
    )


def _fills(graph: Graph, memory: PlanMemory) -> list[tuple[Array, float]]:
    """Return the gradients that no step writes, and what is in them.

    That is the weight of a top that counts as a loss, and 0 for others.
    """
    weights = {
        edge: weight
        for node in graph.nodes
        for edge, weight in zip(node.tops, node.loss_weights, strict=True)
        if weight != 0
    }
    edges = dict.fromkeys(unwritten_gradients(graph), 0.0) | weights
    found = [(memory.diff[edge], weight) for edge, weight in edges.items()]
    return [(gradient, weight) for gradient, weight in found if gradient is not None]


def _backward_steps(
    graph: Graph,
    context: Context,
    kernels: Sequence[Kernel[Any]],
    parameters: Sequence[ParameterArrays],
    timeline: Timeline,
    *,
    store: bool,
) -> tuple[Step, ...]:
    """Return the backward steps, last node first, and those that run layers again.

    With `store` the first writer of a parameter's gradient overwrites it.
    """
    steps = []
    again: list[int] = []  # nodes that the next step backward needs
    written: set[int] = set()
    for kind, index in timeline.steps:
        node = graph.nodes[index]
        if kind == "forward":
            continue
        if kind == "again":
            again.append(index)
            continue
        for other in again:
            kernel = kernels[other]
            calls = kernel.forward_calls()
            one = _step(node, kernel.forward, calls, context.backend)
            steps.append(replace(one, again=other))
        again.clear()
        if not node.backward or (node.op.alias and node.type != "Split"):
            continue
        if node.index in graph.stale:
            continue
        learned = [
            index for index, learn in zip(node.params, node.learn, strict=True) if learn
        ]
        twice = {index for index in learned if learned.count(index) > 1}
        for index in sorted(twice - written) if store else ():
            # One layer uses the parameter in two slots: clear it, then add both.
            clear = partial(parameters[index].diff.fill, 0)
            steps.append(Step(node.index, node.name, clear))
        flags = tuple(
            not store or index in written or index in twice for index in node.params
        )
        written.update(learned)
        kernel = kernels[node.index]
        run = partial(kernel.backward, flags)
        calls = kernel.backward_calls(flags)
        steps.append(_step(node, run, calls, context.backend, flags))
    return tuple(steps)
