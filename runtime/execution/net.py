"""`Net`: a compiled net that owns its memory and runs its steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.graph import Graph, build_kept
from netspec.nets.current import current
from netspec.nets.filter import kept_net, merge_state
from netspec.nets.state import State
from netspec.ops.base import Shape, label
from netspec.schema import TEST
from runtime.arena import Flat
from runtime.backends import get_backend
from runtime.data import MemorySource
from runtime.data.opening import open_sources, source_shapes
from runtime.execution import weights as weight_files
from runtime.execution.blob import Blob, HostView, Mirror
from runtime.execution.parameters import Parameters, allocate, borrow, check_unchanged
from runtime.execution.plan import Plan, Step, compile_plan
from runtime.execution.python_layers.code import Allow
from runtime.execution.python_layers.hosted import PythonLayers
from runtime.execution.views import carry_over, layer_views
from runtime.layers.base import Clock, Context, TopsChanged


class Net:
    """A net ready to run, with pycaffe's names and meaning.

    Args:
        net: a path, prototxt text, a `NetParameter`, or anything with `to_proto()`.
        phase: `TRAIN` or `TEST`.
        weights: a `.caffemodel` or `.h5` file to copy parameters from.
        level, stages: the rest of the state that `include` and `exclude` rules see.
        backend: "numpy", "cupy" or "portable"; see `get_backend`.
        seed: of fillers, dropout and data order; the same seed gives the same numbers.
        dtype: "float32", or "float64" for checking gradients.
        keep: names of blobs whose contents must stay readable after the steps that use
            them; None keeps all. Fewer kept blobs need less memory. A net with a
            Filter or a `Layer` in Python, whose shapes may change, keeps all.
        share_with: a net whose parameters this one uses, layer by layer of equal name.
        state: overrides phase, level and stages (a solver merges states itself).
        allow_python: names of the modules that Python layers may import; True for any.

    Raises `SpecError` and its children for a net that cannot be, `FileError` for files.
    """

    def __init__(
        self,
        net: Any,
        phase: int = TEST,
        weights: str | Path | None = None,
        *,
        level: int = 0,
        stages: Sequence[str] | None = None,
        backend: str = "numpy",
        seed: int = 0,
        dtype: str = "float32",
        keep: Iterable[str] | None = None,
        share_with: Net | None = None,
        state: State | None = None,
        allow_python: Allow = (),
    ) -> None:
        whole = current(net)
        self.state = state or merge_state(whole, phase, level, tuple(stages or ()))
        self.backend = get_backend(backend)
        self.clock = Clock()
        kept = self._kept_net = kept_net(whole, self.state)
        own = PythonLayers(kept.message, allow_python, dtype, self.backend)
        self.python_layers = own
        moving = own.moving or any(x.type == "Filter" for x in kept.message.layer)
        self._keep = None if keep is None or moving else frozenset(keep)
        self.sources = open_sources(kept.message, self.state, seed)
        self.context = Context(self.backend, dtype, seed, self.clock, self.sources, own)
        self._shapes = source_shapes(kept.message, self.sources)
        self._pending: dict[str, Shape] = {}
        self.mirror: Mirror = share_with.mirror if share_with else Mirror(self.backend)
        self.graph = self._build()
        borrowed = (
            borrow(self.graph, share_with.graph, share_with.parameters.arrays)
            if share_with
            else {}
        )
        self.parameters: Parameters = allocate(self.graph, self.context, borrowed)
        own.start_parameters(self.graph, self.parameters.arrays, borrowed, self.backend)
        self.plan = self._compile()
        self._name_everything()
        if weights is not None:
            self.copy_from(weights)

    # ------------------------------------------------------------ building

    def _build(self) -> Graph:
        read = self.python_layers.read
        graph = build_kept(self._kept_net, shapes=self._shapes, python=read)
        if self._keep is not None:
            unknown = [name for name in sorted(self._keep) if name not in graph.blobs]
            if unknown:
                hint = did_you_mean(unknown[0], graph.blobs)
                raise SpecError(f"keep names no blob of the net: {unknown}{hint}")
        return graph

    def _compile(self) -> Plan:
        arrays, keep = self.parameters.arrays, self._keep
        self.python_layers.mirror = self.mirror
        return compile_plan(self.graph, self.backend, self.context, arrays, keep=keep)

    def _name_everything(self) -> None:
        graph = self.graph
        sources = {name for name in self._shapes if name in graph.blobs}
        self.blobs: OrderedDict[str, Blob] = OrderedDict()
        for name, edge in graph.blobs.items():
            data, diff = self._edge_views(name)
            shape = graph.edges[edge].shape
            reshape = self._reshaper(name) if name in sources else None
            self.blobs[name] = Blob(name, shape, data, diff, reshape)
        views = layer_views(
            graph, self.parameters.arrays, self.mirror, self.python_layers
        )
        self.params: OrderedDict[str, list[Blob]] = views.params
        self.layers: list[Any] = views.layers

    def _edge_views(self, name: str) -> tuple[HostView | None, HostView | None]:
        edge = self.graph.blobs[name]
        kept = self._keep is None or name in self._keep
        kept = kept or name in self.graph.inputs or name in self.graph.outputs
        if not kept:
            return None, None
        gradient = self.plan.diff[edge]
        return (
            HostView(self.mirror, self.plan.data[edge]),
            None if gradient is None else HostView(self.mirror, gradient),
        )

    def _reshaper(self, name: str) -> Any:
        def reshape(shape: Shape) -> None:
            self._pending[name] = shape

        return reshape

    # ------------------------------------------------------------ names

    @property
    def name(self) -> str:
        """The name of the net."""
        return self.graph.name

    @property
    def flat(self) -> Flat:
        """The parameters that this net owns, in one buffer, and their gradients."""
        self.mirror.exposed = True
        return self.parameters.flat

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
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def _layer_names(self) -> list[str]:
        return [node.name for node in self.graph.nodes]

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The names of the tops of every layer."""
        edges = self.graph.edges
        return OrderedDict(
            (node.name, [edges[edge].blob for edge in node.tops])
            for node in self.graph.nodes
        )

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The names of the bottoms of every layer."""
        edges = self.graph.edges
        return OrderedDict(
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

    # ------------------------------------------------------------ running

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,
    ) -> OrderedDict[str, np.ndarray]:
        """Run forward and return the outputs (and the named `blobs`) by name.

        start, end: the first and the last layer to run; all by default.
        inputs: values for input blobs, by name; shapes must be equal.
        """
        first, last = self._range(start, end)
        self._set_inputs(inputs)
        if self._pending:
            self.reshape()
        self._run_forward(first, last)
        if end is None:
            names = [*self.graph.outputs]
        else:
            names = self.top_names[end]
        names.extend(name for name in blobs or () if name not in names)
        return OrderedDict((name, self._blob(name).data) for name in names)

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **gradients: Any,
    ) -> OrderedDict[str, np.ndarray]:
        """Run backward, adding to the parameters' gradients; return input gradients.

        start, end: the last and the first layer, as backward runs from the end.
        gradients: values for the gradients of output blobs, by name.
        """
        self._check_gradients()
        last, first = self._range(start, end, backward=True)
        for name, value in gradients.items():
            _assign(self._blob(name).diff, value, f"gradient of blob {name!r}")
        if (first, last) == (0, len(self.graph.nodes) - 1):
            self._run_plan("accumulate")
        else:
            self._run(s for s in self.plan.accumulate if first <= s.node <= last)
        names = [*self.inputs] if end is None else self.bottom_names[end]
        names.extend(name for name in diffs or () if name not in names)
        return OrderedDict((name, self._blob(name).diff) for name in names)

    def forward_backward(self, accumulate: bool = False) -> None:
        """Run a training pass; parameter gradients are stored, or added."""
        self._check_gradients()
        if self._pending:
            self.reshape()
        self._run_forward(0, len(self.graph.nodes))
        self._run_plan("accumulate" if accumulate else "backward")

    def forward_steps(self) -> None:
        """Run forward without fetching any output."""
        if self._pending:
            self.reshape()
        self._run_forward(0, len(self.graph.nodes))

    def loss(self) -> float:
        """Return the objective of the last forward: the sum of weight * sum(top)."""
        total = 0.0
        for node in self.graph.nodes:
            for edge, weight in zip(node.tops, node.loss_weights, strict=True):
                if weight != 0:
                    total += weight * float(self.plan.data[edge].sum())
        return total

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        self.mirror.before_steps()
        for arrays in self.parameters.arrays:
            arrays.diff.fill(0)

    def reshape(self) -> None:
        """Give the net the shapes that were set on its input blobs."""
        pending, self._pending = self._pending, {}
        inputs = {
            name: blob.data.copy()
            for name, blob in self.blobs.items()
            if name in self._shapes and name not in pending
        }
        self.python_layers.reshape_all()
        try:
            self._replan(pending)
        except Exception:
            for name in pending:
                self.blobs[name].cancel_reshape()
            raise
        for name, values in inputs.items():
            if self.blobs[name].shape == values.shape:
                self.blobs[name].data[...] = values

    def _replan(self, shapes: Mapping[str, Shape]) -> None:
        """Compile anew with other `shapes` of tops; if that fails nothing changes."""
        before = (self._shapes, self.graph)
        self._shapes = {**self._shapes, **shapes}
        try:
            self.graph = self._build()
            check_unchanged(before[1], self.graph)
            self.mirror.before_steps()
            self.plan = self._compile()
        except Exception:
            self._shapes, self.graph = before
            self.python_layers.restore(self.plan.kernels)
            raise
        for name, blob in self.blobs.items():
            shape = self.graph.edges[self.graph.blobs[name]].shape
            blob.rebind(shape, *self._edge_views(name))

    def follow(self, change: TopsChanged) -> int:
        """Give the tops of a node other shapes; what was computed above it stays.

        Returns the node to go on with.
        """
        node, old = self.graph.nodes[change.node], self.plan
        tops = [self.graph.edges[edge].blob for edge in node.tops]
        known = not change.done
        self._replan(dict(zip(tops, change.shapes, strict=True)) if known else {})
        carry_over(self.graph, old, self.plan, change.node)
        return change.node + change.done

    def _run_forward(self, first: int, last: int) -> None:
        """Run the forward steps of the nodes `first` to `last` as one pass."""
        end = len(self.graph.nodes) - 1
        while True:
            try:
                if first == 0 and last >= end:
                    self._run_plan("forward")
                else:
                    self._run(s for s in self.plan.forward if first <= s.node <= last)
                break
            except TopsChanged as change:
                first = self.follow(change)
        self.clock.value += 1

    def _check_gradients(self) -> None:
        if self.graph.gradient_errors:
            raise SpecError("\n".join(self.graph.gradient_errors))

    def _run(self, steps: Iterable[Step]) -> None:
        self.mirror.before_steps(self.phase)
        self.plan.forget_prepared()
        # The logarithm of 0 is the net's own affair; it shows in the loss.
        with np.errstate(all="ignore"):
            for step in steps:
                step.run()

    def _run_plan(self, kind: Literal["forward", "backward", "accumulate"]) -> None:
        self.mirror.before_steps(self.phase)
        with np.errstate(all="ignore"):
            self.plan.run(kind, self.mirror.parameters_version())

    def _range(
        self, start: str | None, end: str | None, *, backward: bool = False
    ) -> tuple[int, int]:
        names = {node.name: node.index for node in self.graph.nodes}
        for name in (start, end):
            if name is not None and name not in names:
                raise SpecError(f"no layer {name!r}{did_you_mean(name, names)}")
        last = len(self.graph.nodes) - 1
        bounds = (last, 0) if backward else (0, last)
        return (
            bounds[0] if start is None else names[start],
            bounds[1] if end is None else names[end],
        )

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            hint = did_you_mean(name, self.blobs)
            raise SpecError(f"no blob {name!r} in this net{hint}")
        return self.blobs[name]

    def _set_inputs(self, inputs: Mapping[str, Any]) -> None:
        for name, value in inputs.items():
            if name not in self.graph.inputs:
                hint = did_you_mean(name, self.graph.inputs)
                raise SpecError(f"{name!r} is not an input of this net{hint}")
            _assign(self._blob(name).data, value, f"input {name!r}")

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Give the first layer, a MemoryData, the arrays to deliver batch by batch.

        Shapes: data (M, C, H, W), labels (M) or (M, 1, 1, 1), M a multiple of the
        batch.
        """
        node = self.graph.nodes[0]
        source = self.sources.get(node.name)
        if not isinstance(source, MemorySource):
            raise SpecError(
                f"set_input_arrays needs a MemoryData layer in the first place; the "
                f"net starts with {label(node.layer)}"
            )
        source.set_arrays(data, labels)
        second = self.graph.edges[node.tops[1]]
        self._pending[second.blob] = (second.shape[0], 1, 1, 1)

    # ------------------------------------------------------------ parameters

    def copy_from(self, path: str | Path) -> Any:
        """Copy parameters from a file, by layer name; returns what was copied."""
        return weight_files.copy_weights(self.graph, self.params, path)

    def save(self, path: str | Path) -> None:
        """Write the net with its parameters as a `.caffemodel`."""
        weight_files.save(self.graph, self.params, path)

    def save_hdf5(self, path: str | Path) -> None:
        """Write the parameters in Caffe's HDF5 layout."""
        weight_files.save_hdf5(self.graph, self.params, path)

    def close(self) -> None:
        """Close the data sources."""
        for source in self.sources.values():
            source.close()

    def __repr__(self) -> str:
        return (
            f"<Net {self.name!r}: {len(self.layers)} layers, "
            f"{sum(p.data.size for p in self.parameters.arrays)} parameters, "
            f"backend {self.backend.name!r}>"
        )


def _assign(target: np.ndarray, value: Any, what: str) -> None:
    array = np.asarray(value)
    if array.shape != target.shape:
        raise ShapeError(
            f"{what} has shape {target.shape}, got {array.shape}; reshape the blob or "
            f"the array first"
        )
    target[...] = array
