"""Compile a graph: kernels, memory, and lists of steps that only run.

`compile_plan` chooses a kernel for every node, lays all arrays out in one arena, binds
the kernels to them, and returns the steps in order. After that nothing looks at a name,
a shape or a proto.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, Protocol, TypeAlias

from netspec.graph import Graph, Node
from runtime.arrays import Array
from runtime.backends import Backend
from runtime.backends.base import Fusion
from runtime.execution.fitting import fitting
from runtime.execution.memory_kinds import Passes, passes_over
from runtime.execution.mirror import Mirror
from runtime.execution.parameters import ParameterArrays
from runtime.execution.plan_memory import PlanMemory
from runtime.layers.base import Bound, Context, Kernel
from runtime.primitives import Primitives

Run: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class Step:
    """One thing to do: `run` is bound to its arrays and takes no arguments.

    Where there are `calls` they are the same for the backend, which can join them with
    those of other steps. `flags` is what `Kernel.backward` gets.
    """

    node: int
    name: str
    run: Callable[[], None]
    calls: Sequence[Any] | None = None
    flags: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Bound steps and the arrays they use.

    `backward` stores the first contribution to each parameter gradient and adds the
    later ones; `accumulate` adds them all to what is there. `data[i]` and `diff[i]`
    belong to edge i; `diff[i]` is None where no gradient is computed, and both are only
    meaningful outside the steps for edges whose blob is kept; `data` changes where the
    number of rows of a blob does, see `loose`. `memory` counts bytes, `passes` says
    what passes do to memory.
    """

    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    accumulate: tuple[Step, ...]
    data: list[Array]
    diff: tuple[Array | None, ...]
    kernels: tuple[Kernel[Any], ...]
    memory: Mapping[str, int]
    backend: Primitives
    passes: Passes
    fusion: Fusion | None = None

    def run(
        self,
        kind: Literal["forward", "backward", "accumulate"],
        version: int | None = None,
    ) -> None:
        """Run all steps of a kind.

        version: a number that tells the contents of the parameters; what depends on
        them alone is done once for each. None does it every time.
        """
        if kind == "forward" and version is not None and self._learns_nothing:
            known = self._prepared.get("version") == version
            self._prepared["version"] = None
            for run in self._joined["repeated" if known else kind]:
                run()
            self._prepared["version"] = version
            return
        for run in self._joined[kind]:
            run()

    def iteration(
        self, between: Sequence[Any], after: Sequence[Any], *, accumulate: bool
    ) -> list[Callable[[], None]]:
        """Return functions that do forward, some calls, backward, and other calls.

        accumulate: add the gradients of parameters to what is there.
        """
        steps = [
            *self._fused("forward"),
            Step(-1, "between", _nothing, between),
            *self._fused("accumulate" if accumulate else "backward"),
            Step(-1, "after", _nothing, after),
        ]
        return join(steps, self.backend)

    def forget_prepared(self) -> None:
        """Note that single steps run; they prepare parameters in their own way."""
        self._prepared["version"] = None

    @cached_property
    def _learns_nothing(self) -> bool:
        return not self.backward

    @cached_property
    def _prepared(self) -> dict[str, int | None]:
        return {}

    @cached_property
    def _joined(self) -> dict[str, list[Callable[[], None]]]:
        kinds = ("forward", "backward", "accumulate")
        steps = {kind: self._fused(kind) for kind in kinds}
        steps["repeated"] = tuple(map(_without_constants, steps["forward"]))
        every = [step for kind in steps.values() for step in kind]
        self.backend.prepare([call for step in every for call in step.calls or ()])
        return {kind: join(several, self.backend) for kind, several in steps.items()}

    def _fused(self, kind: str) -> tuple[Step, ...]:
        """Return the steps of a kind, with joined calls for what runs as one."""
        steps: tuple[Step, ...] = getattr(self, kind)
        if self.fusion is None:
            return steps
        if kind == "forward":
            return _replaced(steps, self.fusion.forward())
        flags = {step.node: step.flags for step in steps if step.calls is not None}
        return _replaced(steps, self.fusion.backward(flags))


class IterationRuns(Protocol):
    """The functions that are an iteration of training, by the plan that they run."""

    def whole(self, plan: Plan) -> Sequence[Run]:
        """Return those of everything: both passes, what is between and after them."""

    def between(self, plan: Plan) -> Sequence[Run]:
        """Return those between the passes, where these run by themselves."""

    def after(self, plan: Plan) -> Sequence[Run]:
        """Return those after the passes, where these run by themselves."""


def _nothing() -> None:
    """Stand for the function of a step that is run by its calls."""


def _without_constants(step: Step) -> Step:
    """Leave out the calls that depend on parameters alone."""
    if step.calls is None:
        return step
    return replace(step, calls=[call for call in step.calls if not call.constant])


def _replaced(
    steps: Iterable[Step], calls: Mapping[int, Sequence[Any]]
) -> tuple[Step, ...]:
    """Give steps other calls, by node."""
    return tuple(
        replace(step, calls=calls[step.node])
        if step.calls is not None and step.node in calls
        else step
        for step in steps
    )


def join(steps: Iterable[Step], backend: Primitives) -> list[Callable[[], None]]:
    """Return functions that do the steps; neighbours with calls become one function."""
    functions: list[Callable[[], None]] = []
    calls: list[Any] = []
    for step in steps:
        if step.calls is not None:
            calls.extend(step.calls)
            continue
        if calls:
            functions.append(backend.runner(calls))
            calls = []
        functions.append(step.run)
    if calls:
        functions.append(backend.runner(calls))
    return functions


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
    *,
    keep: Container[str] | None = None,
) -> Plan:
    """Bind every node of `graph` to a kernel of `backend` and to memory.

    mirror: learns of the memory of blobs, ahead of the kernels. keep: the names of the
    blobs whose contents must outlive the steps that use them; None keeps all of them,
    as Caffe does. Inputs, outputs and loss gradients are always
    kept.

    Raises `UnsupportedError` for a layer type without arithmetic, `MachineError` where
    the memory cannot be had.
    """
    made = [backend.kernel(node, context.dtype)(node, context) for node in graph.nodes]
    places, kernels = backend.arrange(graph, made, context)
    fusion = None if graph.stale else backend.fusion(graph, kernels, keep)
    with fitting(graph, context, (), keep):
        memory = PlanMemory(graph, backend, context, kernels, keep, places)
        passes = passes_over(graph, memory.data, memory.diff, parameters, mirror)
        for node, kernel in zip(graph.nodes, kernels, strict=True):
            if node.index not in graph.stale:
                kernel.bind(_bound(node, memory, parameters))
        _seed_losses(graph, memory, backend)
        forward = tuple(
            _forward_step(node, kernel, memory, backend)
            for node, kernel in zip(graph.nodes, kernels, strict=True)
            if not node.op.alias and node.index not in graph.stale
        )
        return Plan(
            forward=forward,
            backward=_backward_steps(graph, context, kernels, parameters, store=True),
            accumulate=_backward_steps(
                graph, context, kernels, parameters, store=False
            ),
            data=list(memory.data),
            diff=tuple(memory.diff),
            kernels=tuple(kernels),
            memory=memory.sizes,
            backend=backend,
            passes=passes,
            fusion=fusion,
        )


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


def _seed_losses(graph: Graph, memory: PlanMemory, backend: Backend) -> None:
    """Fill the gradient of every weighted top once; no step writes it again."""
    for node in graph.nodes:
        for edge, weight in zip(node.tops, node.loss_weights, strict=True):
            gradient = memory.diff[edge]
            if weight != 0 and gradient is not None:
                backend.fill(gradient, weight)


def _backward_steps(
    graph: Graph,
    context: Context,
    kernels: Sequence[Kernel[Any]],
    parameters: Sequence[ParameterArrays],
    *,
    store: bool,
) -> tuple[Step, ...]:
    """Return the backward steps, last node first.

    With `store` the first writer of a parameter's gradient overwrites it.
    """
    steps = []
    written: set[int] = set()
    for node in reversed(graph.nodes):
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
