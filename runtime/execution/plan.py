"""`Plan`: bound steps and the arrays they use, made by `compile_plan`."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from netspec.graph.recompute import Recomputation
from runtime.arena import Arena
from runtime.arrays import Array
from runtime.backends.base import Fusion
from runtime.execution.memory_kinds import Passes
from runtime.execution.mirror import BlobCopies
from runtime.execution.plan_memory import Known
from runtime.layers.base import Kernel
from runtime.primitives import Primitives

Run: TypeAlias = Callable[[], None]
_NO_RECORD = np.zeros(0)


@dataclass(frozen=True)
class Step:
    """One thing to do: `run` is bound to its arrays and takes no arguments.

    Where there are `calls` they are the same for the backend, which can join them with
    those of other steps. `flags` is what `Kernel.backward` gets. again: of a step of
    backward that runs another layer forward once more for `node`, that layer.
    """

    node: int
    name: str
    run: Callable[[], None]
    calls: Sequence[Any] | None = None
    flags: tuple[bool, ...] = ()
    again: int | None = None


class Prepared:
    """Which version of the parameters the states of kernels were prepared from."""

    def __init__(self) -> None:
        self.versions: dict[Hashable, int | None] = {}
        self.epoch = 0

    def forget(self) -> None:
        """Note that somebody has prepared parameters in another way."""
        self.versions.clear()
        self.epoch += 1


@dataclass(frozen=True, eq=False)
class Plan:
    """Bound steps and the arrays they use.

    `backward` stores the first contribution to each parameter gradient and adds the
    later ones; `accumulate` adds them all to what is there. `data[i]` and `diff[i]`
    belong to edge i; `diff[i]` is None where no gradient is computed, and both are only
    meaningful outside the steps for edges whose blob is kept; `data` changes where the
    number of rows of a blob does, see `loose`. `memory` counts bytes, `passes` says
    what passes do to memory.

    Its memory may be that of other plans of the net too, so that `enter` comes ahead of
    the first steps after those of another plan. `absent` edges have no memory; their
    data is some of the blob that they are a part of. `arena` is most of it; `known` and
    `lies` tell where what lies there, by name and by array. `fills` are the gradients
    that stay as they are filled. `prepares` are the states that depend on parameters
    alone, where other plans have them too. `stale` nodes are not bound. `wholes` is
    room for lists that callers make of its steps.

    `telling` puts among the steps of backward those that tell which gradients are
    complete; see `Completion`.

    Where `late_fusion` is given, some of the steps of backward compute blobs again; it
    joins the kernels that do, and those of backward. `ran` has the pass in which each
    node ran forward last, `recomputation` says what runs again, and what it costs.
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
    arena: Arena
    known: Known
    lies: dict[int, tuple[str, int, tuple[int, ...]]]
    fills: Sequence[tuple[Array, float]]
    copies: BlobCopies
    stale: frozenset[int]
    absent: frozenset[int]
    prepared: Prepared
    prepares: Sequence[Hashable] = ()
    own_bytes: int = 0
    fusion: Fusion | None = None
    late_fusion: Fusion | None = None
    ran: list[int] = field(default_factory=list)
    recomputation: Recomputation | None = None
    wholes: dict[Any, Any] = field(default_factory=dict, repr=False)
    telling: Callable[[Sequence[Step]], Sequence[Step]] = tuple

    def enter(self) -> None:
        """Take the memory, in which other plans have worked, or none yet."""
        self.arena.owner = self
        for array, value in self.fills:
            self.backend.fill(array, value)
        for kernel in self._entering:
            kernel.refill()

    def leave(self, following: Plan) -> None:
        """Give another plan what lasts from pass to pass."""
        for index in self.lasting - following.stale:
            following.kernels[index].go_on_from(self.kernels[index])

    @cached_property
    def table_bytes(self) -> int:
        """Bytes of what this plan has to itself: tables and states of its kernels."""
        lists = (self.forward, self.backward, self.accumulate)
        calls = [call for steps in lists for step in steps for call in step.calls or ()]
        states = {id(array) for k in self.kernels for array in k.work.values()}
        tables = {
            id(array): array.nbytes
            for call in calls
            for array in getattr(call, "arrays", ())
            if array.base is None and id(array) not in states
        }
        records = sum(getattr(call, "record", _NO_RECORD).nbytes for call in calls)
        return self.own_bytes + sum(tables.values()) + records

    @cached_property
    def _entering(self) -> list[Kernel[Any]]:
        return [
            kernel
            for index, kernel in enumerate(self.kernels)
            if type(kernel).refill is not Kernel.refill and index not in self.stale
        ]

    @cached_property
    def lasting(self) -> frozenset[int]:
        """The nodes whose kernels have something from pass to pass."""
        lasting = (
            index
            for index, kernel in enumerate(self.kernels)
            if type(kernel).go_on_from is not Kernel.go_on_from
        )
        return frozenset(lasting) - self.stale

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
            if self.is_ready(version):
                for run in self._joined["repeated"]:
                    run()
                return
            if self._is_prepared(version):
                kind_run = "repeated"
            else:
                kind_run = kind
                self._note_prepared(None)
            for run in self._joined[kind_run]:
                run()
            self._note_prepared(version)
            return
        for run in self._joined[kind]:
            run()

    @property
    def repeated(self) -> Sequence[Run]:
        """The functions of a pass forward whose parameters are prepared."""
        return self._joined["repeated"]

    def is_ready(self, version: int) -> bool:
        """Say whether this plan itself has prepared these contents of parameters."""
        return self._prepared.get("version") == (version, self.prepared.epoch)

    def _is_prepared(self, version: int) -> bool:
        """Say whether others have prepared this version of all that this plan has."""
        versions = self.prepared.versions
        return bool(self.prepares) and all(
            versions.get(state) == version for state in self.prepares
        )

    def _note_prepared(self, version: int | None) -> None:
        now = None if version is None else (version, self.prepared.epoch)
        if self._prepared.get("version") == now and now is not None:
            return
        self._prepared["version"] = now
        self.prepared.versions.update(dict.fromkeys(self.prepares, version))

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
        self.backend.prepare([call for step in steps for call in step.calls or ()])
        return join(steps, self.backend)

    @property
    def asked(self) -> frozenset[str] | None:
        """The blobs that joined layers write; None for those that are kept."""
        return vars(self).get("_asked")

    def join_anew(self, fusion: Fusion | None, asked: frozenset[str]) -> None:
        """Let other layers run as one than before, which write the blobs `asked`."""
        mine = vars(self)
        mine.update(fusion=fusion, _asked=asked)
        self.join_again()
        self.forget_prepared()

    def join_again(self) -> None:
        """Join the steps once more when they run next: others are among them."""
        vars(self).pop("_joined", None)

    def forget_prepared(self) -> None:
        """Note that single steps run; they prepare parameters in their own way."""
        self.prepared.forget()

    @cached_property
    def _learns_nothing(self) -> bool:
        return not self.backward

    @cached_property
    def _prepared(self) -> dict[str, tuple[int, int] | None]:
        return {}

    @cached_property
    def _joined(self) -> dict[str, list[Callable[[], None]]]:
        kinds = ("forward", "backward", "accumulate")
        steps: dict[str, Sequence[Step]] = {kind: self._fused(kind) for kind in kinds}
        for kind in ("backward", "accumulate"):
            steps[kind] = self.telling(steps[kind])
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
        late = self.late_fusion or self.fusion
        flags = {
            step.node: step.flags
            for step in steps
            if step.calls is not None and step.again is None
        }
        again = {} if self.late_fusion is None else late.forward()
        return _replaced(steps, late.backward(flags), again)

    def note_forward(self, first: int, last: int, clock: int) -> None:
        """Note the number of a pass over some nodes, for those that run again."""
        if self.ran:
            self.ran[first : last + 1] = [clock] * (last + 1 - first)


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
    steps: Iterable[Step],
    calls: Mapping[int, Sequence[Any]],
    again: Mapping[int, Sequence[Any]] | None = None,
) -> tuple[Step, ...]:
    """Give steps other calls, by node; again: of those that run layers again."""
    made = []
    for step in steps:
        table, node = calls, step.node
        if step.again is not None:
            table, node = again or {}, step.again
        if step.calls is not None and node in table:
            step = replace(step, calls=table[node])
        made.append(step)
    return tuple(made)


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
