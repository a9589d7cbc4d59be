"""How a net takes other shapes: plans by shape, and going on amid a pass."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from netspec.errors import joined
from netspec.graph import (
    Earlier,
    Graph,
    build_kept,
)
from netspec.nets.filter import KeptNet
from netspec.ops.base import Shape
from runtime.arena import Arena
from runtime.backends import Backend
from runtime.data.source import Source
from runtime.execution.blob import Blob
from runtime.execution.buckets import Bucket
from runtime.execution.compile import compile_plan
from runtime.execution.kept_plans import Kept, KeptPlans, Late, late_of
from runtime.execution.limits import MemoryLimit
from runtime.execution.loose import give_rows, keep_rows, stands_alone
from runtime.execution.mirror import WRITING, Mirror
from runtime.execution.parameters import Parameters, check_unchanged
from runtime.execution.plan import Plan
from runtime.execution.planning import shared_graph
from runtime.execution.python_layers.hosted import PythonLayers
from runtime.execution.unwritten import Unwritten
from runtime.execution.views import carry_over, edge_views, moved_tops, stay_in_place
from runtime.layers.base import Context, TopsChanged


class NetShapes:
    """The plans of a `Net`, which has one for every shape that it saw of late."""

    graph: Graph
    plan: Plan
    plans: KeptPlans
    backend: Backend
    context: Context
    mirror: Mirror
    parameters: Parameters
    python_layers: PythonLayers
    blobs: OrderedDict[str, Blob]
    unwritten: Unwritten
    sources: dict[str, Source]
    _kept_net: KeptNet
    _keep: frozenset[str] | None
    limit: MemoryLimit | None
    _shapes: dict[str, Shape]
    _pending: dict[str, Shape]
    _sound: Kept  # the last whose layers suit each other
    _run_pass: Callable[[Any, int, int], None]

    _gradients: bool | None
    _waits: bool  # whether gradients are made ready once somebody asks

    def forget_pass(self) -> None:
        """Repeat no pass, but do it anew."""
        raise NotImplementedError

    def reshape(self) -> None:
        """Give the net the shapes that were set on its input blobs."""
        last = len(self.graph.nodes) - 1
        self.python_layers.reshape_all()
        self._reshape(last, read=self.python_layers.read_shapes)
        self._check_shapes(0, last)

    @contextmanager
    def unasked(self) -> Iterator[None]:
        """Let nothing in a block count as asking for gradients; see `NetGradients`."""
        waits, self._waits = self._waits, False
        try:
            yield
        finally:
            self._waits = waits

    # ------------------------------------------------------------ ahead of a pass

    def _take_shapes(self, first: int, last: int) -> None:
        """Reshape, if that is due, what a pass over some layers needs."""
        if first == 0 and self.sources:
            self._pending.update(moved_tops(self.graph, self.sources, last))
        if self._pending:
            self._reshape(last)
        self._check_shapes(first, last)

    def _check_shapes(self, first: int, last: int) -> None:
        """Refuse to run layers that do not suit the shapes below them."""
        stale = self.graph.stale
        if not stale:
            return
        wrong = [stale[index] for index in sorted(stale) if first <= index <= last]
        if wrong:
            raise joined(wrong)

    def _reshape(self, last: int, *, read: bool = False) -> None:
        pending = dict(self._pending)
        self._pending.clear()  # which blobs hold
        try:
            kept, plan = self._find(pending, (), last, read=read)
        except Exception:
            for name in pending:
                self.blobs[name].cancel_reshape()
            raise
        if plan is self.plan:
            return
        with self.unasked():
            inputs = {
                name: self.blobs[name].data.copy()
                for name in self.graph.inputs
                if name not in pending
            }
            self._enter(kept, plan)
            for name, values in inputs.items():
                if self.blobs[name].shape == values.shape:
                    self.blobs[name].data[...] = values

    # ------------------------------------------------------------ plans

    def _start(self) -> None:
        """Make the first plan, of `graph`."""
        if self.limit is not None:
            itemsize = np.dtype(self.context.dtype).itemsize
            fixed = self.limit.fixed_bytes(self.graph, itemsize)
            self.plans.budget = self.limit.nbytes - fixed
        self.plans.built += 1
        kept = Kept(dict(self._shapes), late_of(self.graph, self._late), self.graph)
        self._show(kept, self._compile(kept))

    @property
    def memory_bytes(self) -> int:
        """Bytes of the blobs of all plans, and of what layers need beside them."""
        return self.plans.nbytes

    def tell_of(self, buckets: Sequence[Bucket], tell: Callable[[int], None]) -> None:
        """Let passes backward tell how many buckets of gradients are complete.

        tell: called amid a pass, in its thread, with the number of buckets that are
        whole, in the order given.
        """
        self.plans.completion.buckets = buckets
        self.plans.completion.tell = tell
        for kept in self.plans:
            for plan in kept.plans:
                plan.join_again()

    def make_room(self, others: int) -> None:
        """Leave so many bytes of the limit of memory to other nets.

        Raises `SpecError` where the net cannot be trained with what is left.
        """
        if self.limit is None or others <= self.limit.others:
            return
        self.forget_pass()
        self.limit = replace(self.limit, others=others)
        self.plans.forget()
        self._start()
        for kept in self.plans:
            for name, blob in self.blobs.items():
                blob.rebind(*kept.views[id(self.plan)][name])

    @property
    def _late(self) -> list[int]:
        """The nodes that learn the shapes of their tops when they run."""
        return [n.index for n in self.graph.nodes if n.op.learns_shapes]

    def _find(
        self,
        shapes: Mapping[str, Shape],
        late: Late,
        last: int,
        *,
        read: bool = False,
        node: int | None = None,
    ) -> tuple[Kept, Plan]:
        """Return the plan for other `shapes` of the tops of sources.

        Layers above number `last` that the shapes do not suit stay as they are. late:
        what is known of layers that learn their sizes when they run. read: whether
        layers in Python are to be asked even if all this was seen before. node: the
        layer amid a pass that has changed; what was computed above it is to stay.

        If it fails nothing changes.
        """
        self.forget_pass()
        sources = {**self._shapes, **shapes}
        try:
            kept = None if read else self.plans.find(sources, late)
            if kept is None:
                graph = self._rebuild(sources, late, last)
                every = late_of(graph, self._late)
                known = None if graph.stale else self.plans.find(sources, every)
                kept = known or Kept(sources, every, graph)
            plan = kept.usable(self.plans.shared.arenas, partial(self._suits, node))
            if plan is None:
                plan = self._compile(kept, node)
        except Exception:
            self.python_layers.restore(self.plan.kernels)
            raise
        return kept, plan

    def _rebuild(self, sources: Mapping[str, Shape], late: Late, last: int) -> Graph:
        shapes = dict(sources)
        for index, tops in late:
            if self.graph.nodes[index].type != "Python":
                names = [self.graph.edges[e].blob for e in self.graph.nodes[index].tops]
                shapes.update(zip(names, tops, strict=True))
        build = partial(
            build_kept,
            self._kept_net,
            shapes=shapes,
            python=self.python_layers.read,
            gradients=bool(self._gradients),
        )
        self.plans.built += 1
        try:
            graph = build()
            check_unchanged(self.graph, graph)
            return shared_graph(graph, self._keep, self.backend)
        except Exception:  # one of ours, or what a layer in Python raised
            if last >= len(self.graph.nodes) - 1:
                raise
        earlier = Earlier(self.graph, last)
        return build(earlier=earlier)

    def _compile(self, kept: Kept, node: int | None = None) -> Plan:
        plan = self._compile_in(kept, node, lambda _: True)
        if not self._suits(node, plan):
            plan = self._compile_in(kept, node, self._is_other)
        kept.plans.append(plan)
        self.plans.let_go()
        return plan

    def _compile_in(self, kept: Kept, node: int | None, suits: Any) -> Plan:
        """Compile a plan in an arena that `suits` says may be taken."""
        plans = self.plans
        plans.compiled += 1
        self.python_layers.use(self.mirror, self.parameters.arrays)
        known = next((one.known for one in kept.plans), None)
        if node is not None and known is None:
            known = self.plan.known
        return compile_plan(
            kept.graph,
            self.backend,
            self.context,
            self.parameters.arrays,
            self.mirror,
            plans.shared,
            plans.prepared,
            plans.completion,
            keep=self._keep,
            known=known,
            suits=suits,
            limit=self.limit,
            asked=self.unwritten.asked,
        )

    def _is_other(self, arena: Arena) -> bool:
        return arena is not self.plan.arena

    def _suits(self, node: int | None, plan: Plan) -> bool:
        """Say whether a plan may follow amid a pass, at a node: nothing is lost."""
        if node is None or self._is_other(plan.arena):
            return True
        return stay_in_place(self.graph, self.plan, plan, node)

    def _enter(self, kept: Kept, plan: Plan) -> None:
        """Let another plan have the memory."""
        self.mirror.before_steps(WRITING)
        self.python_layers.hold(plan.kernels)
        old = self.plan
        old.leave(plan)
        self._show(kept, plan)
        for name, blob in self.blobs.items():
            blob.rebind(*kept.views[id(plan)][name])
        keep_rows(self.graph, old, plan, self.blobs, self.mirror)

    def _show(self, kept: Kept, plan: Plan) -> None:
        self.plan, self.graph, self._shapes = plan, kept.graph, dict(kept.sources)
        self.mirror.use(plan.copies, plan.arena, plan.lies)
        plan.enter()
        self.unwritten.use(plan, kept.graph)
        if id(plan) not in kept.views:
            kept.views[id(plan)] = self._views_of(kept.graph, plan)
        if not kept.graph.stale:
            self._sound = kept
            self.plans.use(kept)

    def _views_of(self, graph: Graph, plan: Plan) -> dict[str, tuple[Any, ...]]:
        """Return the shape of every blob and views of its data and its gradient."""
        return {
            name: (
                graph.edges[edge].shape,
                *edge_views(graph, plan, self.mirror, name, self._keep),
            )
            for name, edge in graph.blobs.items()
        }

    # ------------------------------------------------------------ amid a pass

    def follow(self, change: TopsChanged, last: int) -> int:
        """Give the tops of a node other shapes; what was computed above it stays.

        Returns the node to go on with.
        """
        node, old = self.graph.nodes[change.node], self.plan
        if stands_alone(self.graph, old, change.node):
            give_rows(self.graph, old, change, self.blobs, self.mirror)
            return change.node
        late = late_of(self.graph, [n for n in self._late if n < node.index])
        given: dict[str, Shape] = {}
        if change.done:
            late += ((node.index, self.python_layers.tops_of(node.layer)),)
        elif node.op.learns_shapes:
            late += ((node.index, change.shapes),)
        else:
            names = [self.graph.edges[edge].blob for edge in node.tops]
            given = dict(zip(names, change.shapes, strict=True))
        # Layers that learn their sizes later in the pass may make others suit again.
        later = [n for n in self._late if node.index < n <= last]
        until = min(later, default=last)
        kept, plan = self._find(given, late, until, node=node.index)
        self._enter(kept, plan)
        self.mirror.before_steps()
        carry_over(self.graph, old, plan, node.index)
        self.mirror.after_steps()
        plan.kernels[node.index].found = change.found
        return node.index + change.done

    def _run_through(self, first: int, last: int) -> None:
        """Run layers forward, giving those above others shapes as they find them.

        Layers that do not suit the shapes below them wait for those that learn their
        sizes as they run; Caffe, too, looks at them no earlier. Raises their error if
        none of these is left; then the net has the shapes that it had before.
        """
        try:
            while first <= last:
                waiting = [n for n in self.graph.stale if first <= n <= last]
                stop = min(waiting, default=last + 1) - 1
                if stop < first:
                    raise joined([self.graph.stale[first]])
                try:
                    self._run_pass("forward", first, stop)
                    first = stop + 1
                except TopsChanged as change:
                    first = self.follow(change, last)
        except Exception:
            if any(first <= n <= last for n in self.graph.stale):
                kept = self._sound
                plan = kept.usable(self.plans.shared.arenas, lambda _: True)
                self._enter(kept, plan or self._compile(kept))
            raise
