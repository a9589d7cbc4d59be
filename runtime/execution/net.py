"""`Net`: a compiled net that owns its memory and runs its steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import SpecError, did_you_mean, shown
from netspec.graph import Graph, build_kept
from netspec.graph.recompute import Recomputation
from netspec.nets.filter import kept_net, merge_state
from netspec.nets.state import State
from netspec.ops.base import Shape
from netspec.reading.located import tells_places
from netspec.schema import TEST
from runtime.arena import Flat
from runtime.backends import get_backend
from runtime.data.opening import open_sources, source_shapes
from runtime.distributed import Communicator
from runtime.execution.arguments import (
    blobs_and_inputs,
    dtype_of,
    integer,
    names_of,
    optional_bool,
    refuse_copy,
)
from runtime.execution.assigning import assign, check_start
from runtime.execution.blob import Blob
from runtime.execution.kept_plans import PLANS, KeptPlans
from runtime.execution.limits import MemoryLimit, limit_of
from runtime.execution.loose import moves
from runtime.execution.mirror import UPDATE, Mirror
from runtime.execution.named import Blobs
from runtime.execution.net_files import NetFiles, given_net, without_values
from runtime.execution.net_html import net_html
from runtime.execution.net_names import NetNames
from runtime.execution.net_passes import NetPasses, Pass
from runtime.execution.parameters import Parameters, allocate, borrow
from runtime.execution.planning import shared_graph
from runtime.execution.python_layers.code import Allow
from runtime.execution.python_layers.hosted import PythonLayers
from runtime.execution.ran import BackwardRan
from runtime.execution.unknown_fields import refuse_unknown_layers
from runtime.execution.unwritten import Unwritten, may_leave_out
from runtime.execution.views import edge_views, inserted_blobs, layer_views
from runtime.interrupts import whole
from runtime.layers.base import Clock, Context


class Net(NetNames, NetFiles, NetPasses):
    """A net ready to run, with pycaffe's names and meaning.

    Args:
        net: a path, prototxt text, a `NetParameter`, or anything with `to_proto()`.
        phase: `TRAIN` or `TEST`.
        weights: a file to copy parameters from, as of `copy_from`.
        level, stages: the rest of the state that `include` and `exclude` rules see.
        backend, kernels, graphs: where and how to compute: "numpy", "cupy" or
            "portable"; see `get_backend`.
        seed: of fillers, dropout and data order; the same seed gives the same numbers.
        dtype: "float32", or "float64" for checking gradients.
        precision: "float32", or on a GPU "tf32" (factors of products have 10 bits of
            fraction), "bf16" or "fp16" (blobs have 16 bits); parameters, losses and
            sums are float32 with all of them.
        keep: names of blobs whose contents must stay readable after the steps that use
            them; None keeps all. Fewer kept blobs need less memory. A net with a
            Filter layer, whose shapes change as it runs, keeps all; what a `Layer` in
            Python has as bottom or top is always kept.
        gradients: whether layers can run backward. False: it is refused, and layers
            run as one where that is faster, as they do in a net without losses. None:
            from when somebody runs a pass by hand, or looks at a blob.
        memory_limit: the most memory that the net may take, such as "3GB" or a number
            of bytes: of parameters, gradients, blobs and what layers need, without
            Python itself. Blobs are computed again in backward until all fits, which
            takes time and changes no result; `recomputation` says what. A net of which
            nothing runs backward fits or is refused. Where `keep` is not given,
            nothing is kept then.
        plans: for how many shapes of inputs and batches plans are kept, so that one
            that was seen before costs nothing: see `KeptPlans`.
        share_with: a net whose parameters this one uses, layer by layer of equal name.
        state: overrides phase, level and stages (a solver merges states itself).
        allow_python: names of the modules that Python layers may import; True for any.
        sync_batch_norm: processes over whose batches BatchNorm has its statistics in
            training, all together. train_with: processes that add up its gradients.

    Raises `SpecError` and its children for a net that cannot be, `FileError` for files.
    """

    @tells_places
    def __init__(
        self,
        net: Any,
        phase: int = TEST,
        weights: str | Path | None = None,
        *,
        level: int = 0,
        stages: Sequence[str] | None = None,
        backend: str = "numpy",
        kernels: str = "own",
        graphs: bool = True,
        seed: int = 0,
        dtype: str = "float32",
        precision: str = "float32",
        keep: Iterable[str] | None = None,
        gradients: bool | None = True,
        memory_limit: str | float | MemoryLimit | None = None,
        plans: int = PLANS,
        share_with: Net | None = None,
        state: State | None = None,
        allow_python: Allow = (),
        sync_batch_norm: Communicator | None = None,
        train_with: Communicator | None = None,
    ) -> None:
        whole, large = given_net(net)
        level, dtype = integer(level, "level"), dtype_of(dtype)
        seed, plans = integer(seed, "seed"), integer(plans, "plans")
        named = names_of(stages or (), "stages")
        self.state = state or merge_state(whole, phase, level, tuple(named))
        if not isinstance(state, State | None):
            raise SpecError(f"state is {shown(state)}; expected phase, level, stages")
        if not isinstance(share_with, Net | None):
            raise SpecError(f"share_with is {shown(share_with)}; expected a Net")
        self._gradients, self._waits = optional_bool(gradients, "gradients"), False
        self.backend = get_backend(backend, kernels=kernels, graphs=graphs)
        self.backend.check_precision(precision, dtype)
        self.plans = KeptPlans(self.backend, plans)
        self.clock = Clock()
        kept = self._kept_net = kept_net(whole, self.state)
        refuse_unknown_layers(kept.message.layer, whole.layer)
        self.definition = without_values(whole)  # the net with the layers of all phases
        how: dict[str, Any] = {"backend": backend, "kernels": kernels, "graphs": graphs}
        how |= {"seed": seed, "dtype": dtype, "precision": precision}
        self.made_with = {**how, "allow_python": allow_python}
        own = PythonLayers(kept.message, allow_python, dtype, self.backend)
        if gradients is None and any(x.type == "Python" for x in kept.message.layer):
            self._gradients = True  # code sees every pass
        self.python_layers = own
        self.limit = limit_of(memory_limit, self.backend)
        self._keep = None
        if keep is None and self.limit is not None:
            keep = ()
        if keep is not None and not moves(kept.message, self.backend):
            self._keep = own.blob_names.union(names_of(keep, "keep"))
        self.sources = open_sources(kept.message, self.state, seed)
        self.context = Context(
            *(self.backend, dtype, seed, self.clock, self.sources, own, precision),
            ranks=sync_batch_norm,
        )
        self._shapes = source_shapes(kept.message, self.sources)
        self._pending: dict[str, Shape] = {}
        self._ran = BackwardRan()
        shared = share_with.mirror if share_with else None
        self.mirror: Mirror = Mirror(self.backend, shared)
        self.graph = self._build()
        free = keep is None and share_with is None and self.limit is None
        free = free and gradients is not None
        allowed = free and may_leave_out(self.graph, self.backend)
        self.unwritten = Unwritten(self.backend, allowed=allowed)
        if allowed:
            self.mirror.parameters.watch(self.unwritten)
        borrowed = {}
        if share_with:
            theirs = share_with.parameters.arrays
            borrowed = borrow(self.graph, share_with.graph, theirs)
        most = None if self.limit is None else self.limit.nbytes
        given = (self.graph, self.context, borrowed, self._keep, most, train_with)
        self.parameters: Parameters = allocate(*given)
        own.start_parameters(self.graph, self.parameters.arrays, borrowed, self.backend)
        self._start()
        self._wait_if_that_may_be()
        self._name_everything()
        if large is not None:
            self.copy_values(large)
        if weights is not None:
            self.copy_from(weights)

    # ------------------------------------------------------------ building

    def _build(self) -> Graph:
        own = self.python_layers
        with own.explaining():
            graph = build_kept(
                self._kept_net,
                shapes=self._shapes,
                python=own.read,
                gradients=bool(self._gradients),
            )
        if self._keep is not None:
            unknown = [name for name in sorted(self._keep) if name not in graph.blobs]
            if unknown:
                hint = did_you_mean(unknown[0], graph.blobs)
                raise SpecError(f"keep names no blob of the net: {unknown}{hint}")
        return shared_graph(graph, self._keep, self.backend)

    def _name_everything(self) -> None:
        graph = self.graph
        sources = {name for name in self._shapes if name in graph.blobs}
        self.blobs = Blobs(hidden=inserted_blobs(graph))
        for name, edge in graph.blobs.items():
            views = edge_views(graph, self.plan, self.mirror, name, self._keep)
            shape = graph.edges[edge].shape
            reshape = self._reshaper(name) if name in sources else None
            self.blobs[name] = Blob(name, shape, *views, reshape)
            self.blobs[name].ask = self.unwritten.before_data
        self._tell_when_asked()
        shown = layer_views(
            graph, self.parameters.arrays, self.mirror, self.python_layers
        )
        self.params, self.layers = shown.params, shown.layers

    def _reshaper(self, name: str) -> Any:
        pending = self._pending  # not the net, so that it is freed at once

        def reshape(shape: Shape) -> None:
            pending[name] = shape

        return reshape

    @property
    def recomputation(self) -> Recomputation | None:
        """What is computed again in backward, and what it costs; None without limit."""
        return self.plan.recomputation

    @property
    def flat(self) -> Flat:
        """The parameters that this net owns, in one buffer, and their gradients."""
        self.mirror.expose_parameters()
        return self.parameters.flat

    # ------------------------------------------------------------ running

    @whole
    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,
    ) -> OrderedDict[str, np.ndarray]:
        """Run forward and return the outputs (and the named `blobs`) by name.

        blobs: names of blobs; or, where the net has one input, the array for it.
        start, end: the first and the last layer to run; all by default. Other shapes
            of inputs need to suit the layers up to `end` only; what lies above keeps
            its shapes, and is refused until it is reshaped.
        inputs: values for input blobs, by name; shapes must be equal.
        """
        # What is asked for seldom costs a pass nothing: its code lies in no near cache.
        if self._waits:
            self.make_gradients()
        if blobs is not None:
            blobs, inputs = blobs_and_inputs(blobs, self.inputs, inputs)
        if start is None and end is None and not inputs and blobs is None:
            outputs = self._repeated()
            if outputs is not None:
                return outputs
        first, last = self._range(start, end)
        if inputs:
            self.refuse_by_hand(inputs)
            self._set_inputs(inputs)
        self._take_shapes(first, last)
        self._run_forward(first, last)
        if end is None:
            names = [*self.graph.outputs]
        else:
            names = self.top_names[end]
        if blobs is not None:
            names.extend(name for name in blobs if name not in names)
        found = OrderedDict([(name, self._blob(name).data) for name in names])
        if start is None and end is None and blobs is None:
            self._note_pass(found)
        return found

    def __call__(self, *arrays: Any, **inputs: Any) -> OrderedDict[str, np.ndarray]:
        """Run forward on arrays for the inputs, in their order or by name."""
        if len(arrays) > len(self.inputs):
            raise SpecError(
                f"the net takes {len(self.inputs)} arrays, for its inputs "
                f"{', '.join(self.inputs) or '(none)'}; got {len(arrays)}"
            )
        placed = dict(zip(self.inputs, arrays, strict=False))
        if twice := sorted(placed.keys() & inputs.keys()):
            raise SpecError(f"input {twice[0]!r} is given twice, by place and by name")
        return self.forward(None, **{**placed, **inputs})

    @whole
    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **gradients: Any,
    ) -> OrderedDict[str, np.ndarray]:
        """Run backward, adding to the parameters' gradients; return input gradients.

        start, end: the last and the first layer, as backward runs from the end.
        gradients: values for the gradients of output blobs, or of tops of `start`, by
            name. One that the pass itself would compute is refused.
        """
        self.make_gradients()
        self._check_gradients()
        diffs = names_of(diffs if diffs is not None else (), "backward: diffs")
        last, first = self._range(start, end, backward=True)
        self._check_shapes(first, last)
        for name, value in gradients.items():
            blob = self._blob(name)
            check_start(self.graph, name, first, last)
            self._assign_gradient(blob, value)
        self._run_pass("accumulate", first, last)
        names = [*self.inputs] if end is None else self.bottom_names[end]
        names.extend(name for name in diffs if name not in names)
        return OrderedDict((name, self._blob(name).diff) for name in names)

    @whole
    def forward_backward(self, accumulate: bool = False) -> None:
        """Run a training pass; parameter gradients are stored, or added."""
        self.make_gradients()
        self._check_gradients()
        self.forward_steps()
        kind: Pass = "accumulate" if accumulate else "backward"
        with self.weighed():
            self._run_pass(kind, 0, len(self.graph.nodes) - 1, again=True)

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        self.mirror.before_steps(UPDATE)
        for arrays in self.parameters.arrays:
            arrays.diff.fill(0)
        self.mirror.after_steps()

    def _blob(self, name: str) -> Blob:
        if name in self.blobs:
            return self.blobs[name]
        raise SpecError(f"no blob {name!r} in this net{did_you_mean(name, self.blobs)}")

    def _assign_gradient(self, blob: Blob, value: Any) -> None:
        assign(blob.diff, value, f"gradient of blob {blob.name!r}")

    def _set_inputs(self, inputs: Mapping[str, Any]) -> None:
        for name, value in inputs.items():
            if name not in self.graph.inputs:
                near = did_you_mean(name, self.graph.inputs)
                raise SpecError(f"{name!r} is not an input of this net{near}")
            assign(self._blob(name).data, value, f"input {name!r}")

    def _repr_html_(self) -> str:
        return net_html(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise refuse_copy(
            "Net",
            "net.save writes its parameters, and runtime.Net(..., weights=...) or "
            "share_with=net makes another",
        )

    def __repr__(self) -> str:
        return (
            f"<Net {self.name!r}: {len(self.layers)} layers, "
            f"{sum(p.data.size for p in self.parameters.arrays)} parameters, "
            f"backend {self.backend.name!r}"
            f"{f', {self.recomputation}' if self.recomputation else ''}>"
        )
