"""pycaffe's `Net` and solvers over those of this runtime."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.schema import TEST, SolverParameter
from runtime.execution import net as _net
from runtime.execution.blob import Blob
from runtime.execution.mirror import Mirror
from runtime.execution.parameters import allocate, borrow
from runtime.execution.python_layers.layer import Layer as Layer
from runtime.layers.base import portable_kernels
from runtime.pycaffe import mode
from runtime.pycaffe.inner import InnerNames, batches
from runtime.pycaffe.nccl import NCCL
from runtime.training import solver as _solver
from runtime.training.history import History
from runtime.training.showing.shower import Progress, Shower
from runtime.training.snapshot_files import Snapshot
from runtime.training.solver_param import read_solver
from runtime.update_rules import UPDATES

_ARGUMENTS = ("phase", "level", "stages", "weights")
_OLD_ARGUMENTS = ("weights", "phase")

Arrays = dict[str, np.ndarray]


class Net(InnerNames):
    """A net with all of pycaffe's names.

        Net(model, phase, level=0, stages=None, weights=None)
        Net(model, weights, phase)

    The other options of `runtime.Net` may be given by name; `backend` and `seed` are
    those of `set_mode_cpu`, `set_mode_gpu` and `set_random_seed` unless given. Python
    layers import any module that `sys.path` leads to, as in pycaffe; `allow_python=()`
    forbids it.
    """

    def __init__(self, network_file: Any, *args: Any, **options: Any) -> None:
        old = bool(args) and isinstance(args[0], str | os.PathLike)
        names = _OLD_ARGUMENTS if old else _ARGUMENTS
        if len(args) > len(names):
            raise TypeError(f"Net takes a model and {', '.join(names)}; got {args!r}")
        for name, value in zip(names, args, strict=False):
            if name in options:
                raise TypeError(f"Net got two values for {name}")
            options[name] = value
        options.setdefault("backend", mode.backend())
        options.setdefault("seed", mode.seed() or 0)
        options.setdefault("allow_python", True)
        phase = options.pop("phase", TEST)
        weights = options.pop("weights", None)
        super().__init__(network_file, phase, weights, **options)

    # ------------------------------------------------------------ running

    def _set_inputs(self, inputs: Mapping[str, Any]) -> None:
        if inputs and set(inputs) != set(self.inputs):
            raise SpecError(
                f"forward got {sorted(inputs)}; this net's inputs are {self.inputs}"
            )
        for name, value in inputs.items():
            target = self.blobs[name].data
            array = np.asarray(value)
            if array.shape[:1] != target.shape[:1]:
                raise ShapeError(
                    f"input {name!r} has shape {array.shape}; the net takes "
                    f"{target.shape}: reshape the blob, or use forward_all"
                )
            target[...] = array

    def _assign_gradient(self, blob: Blob, value: Any) -> None:
        """Copy a gradient of the batch's size; the other axes broadcast as in NumPy."""
        target, array = blob.diff, np.asarray(value)
        if array.shape[:1] != target.shape[:1] and array.ndim:
            raise ShapeError(
                f"gradient of blob {blob.name!r} has shape {array.shape}; the blob has "
                f"{target.shape}: give as many items as the batch has"
            )
        try:
            target[...] = array
        except ValueError:
            raise ShapeError(
                f"gradient of blob {blob.name!r} has shape {array.shape}, which does "
                f"not broadcast to {target.shape}; reshape the array"
            ) from None

    def forward_all(
        self, blobs: Iterable[str] | None = None, **inputs: Any
    ) -> OrderedDict[str, np.ndarray]:
        """Run forward over any number of items, batch by batch.

        Returns the outputs, and the named `blobs`, of all items.
        """
        names = list(blobs or ())
        pieces: dict[str, list[np.ndarray]] = {}
        for batch, count in batches(self, inputs):
            for name, value in self.forward(blobs=names, **batch).items():
                pieces.setdefault(name, []).append(value[:count].copy())
        return OrderedDict((name, np.concatenate(p)) for name, p in pieces.items())

    def forward_backward_all(
        self,
        blobs: Iterable[str] | None = None,
        diffs: Iterable[str] | None = None,
        **arrays: Any,
    ) -> tuple[Arrays, Arrays]:
        """Run forward and backward over any number of items, batch by batch.

        arrays: values of the inputs, and gradients of the outputs, by name. Returns
        the outputs and the gradients of the inputs, with those of `blobs` and `diffs`.
        """
        outs: dict[str, list[np.ndarray]] = {}
        gradients: dict[str, list[np.ndarray]] = {}
        blobs, diffs = list(blobs or ()), list(diffs or ())
        for batch, count in batches(self, arrays):
            given = {name: batch[name] for name in batch if name in self.inputs}
            rest = {name: batch[name] for name in batch if name not in self.inputs}
            for name, value in self.forward(blobs=blobs, **given).items():
                outs.setdefault(name, []).append(value[:count].copy())
            for name, value in self.backward(diffs=diffs, **rest).items():
                gradients.setdefault(name, []).append(value[:count].copy())
        return (
            {name: np.concatenate(pieces) for name, pieces in outs.items()},
            {name: np.concatenate(pieces) for name, pieces in gradients.items()},
        )

    # ------------------------------------------------------------ parameters

    def load_hdf5(self, path: str | Path) -> None:
        """Copy parameters from a file that `save_hdf5` wrote."""
        self.copy_from(path)

    def share_with(self, other: _net.Net) -> None:
        """Use the parameters of `other` in layers of equal names from now on.

        The blobs of this net are made anew.
        """
        borrowed = borrow(self.graph, other.graph, other.parameters.arrays)
        old = self.params
        self.mirror = Mirror(self.backend, other.mirror)
        self.parameters = allocate(self.graph, self.context, borrowed)
        self.plans.forget()
        self._start()
        self._name_everything()
        for name, blobs in self.params.items():
            if name not in other.params:
                for blob, before in zip(blobs, old[name], strict=True):
                    blob.data[...] = before.data


def layer_type_list() -> list[str]:
    """Return the layer types that can run, sorted."""
    return sorted(portable_kernels())


class Solver(_solver.Solver):
    """A solver of a file or a message; its nets have all of pycaffe's names.

    `SGDSolver` and the others train by their own rule, whatever the file says. What
    happens is written to standard error in the lines of Caffe's log, unless
    `GLOG_minloglevel` is above 0. Those that are made after `set_solver_count` with as
    many as `mpiexec` has started train together.
    """

    net_type = Net
    counts_forward = True
    kind: ClassVar[str] = ""

    def __init__(self, solver_file: Any, **options: Any) -> None:
        param, path = read_solver(solver_file)
        if self.kind:
            param.type = self.kind
        options.setdefault("backend", mode.backend())
        options.setdefault("allow_python", True)
        options.setdefault("communicator", mode.communicator())
        if param.random_seed < 0:
            options.setdefault("seed", mode.seed())
        super().__init__(param, folder=path.parent if path else None, **options)
        self.showing = Shower(script=True)

    def solve(
        self, resume: str | Path | None = None, *, progress: Progress = None
    ) -> History:
        """Train up to `max_iter`, as `runtime.Solver` does."""
        return super().solve(resume or None, progress=progress)

    def snapshot(self) -> Snapshot:
        """Write a snapshot and return the names of its files."""
        written = super().snapshot()
        self.showing.look_after_snapshot(self)
        return written

    def add_callback(
        self, before: Callable[[], Any], after: Callable[[], Any] | None = None
    ) -> None:
        """Call `before` ahead of each iteration and `after` once it has its gradients.

        An `NCCL` alone is taken as well; it has nothing to do.
        """
        if isinstance(before, NCCL) and after is None:
            return
        if not callable(before) or not callable(after):
            raise SpecError(
                f"add_callback takes two functions without arguments, or an NCCL; got "
                f"{before!r} and {after!r}"
            )
        super().add_callback(before, after)

    def share_weights(self, net: Net) -> None:
        """Let another net use the parameters of this solver's net."""
        net.share_with(self.net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    kind = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    kind = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad."""

    kind = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp."""

    kind = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta."""

    kind = "AdaDelta"


class AdamSolver(Solver):
    """Adam."""

    kind = "Adam"


_SOLVERS: dict[str, type[Solver]] = {
    each.kind: each
    for each in (
        SGDSolver,
        NesterovSolver,
        AdaGradSolver,
        RMSPropSolver,
        AdaDeltaSolver,
        AdamSolver,
    )
}


def get_solver(solver_file: Any) -> Solver:
    """Return the solver of the type that a file or a message names.

    A type that Caffe lacks is a `Solver`.
    """
    param: SolverParameter = read_solver(solver_file)[0]
    if param.type not in UPDATES:
        hint = did_you_mean(param.type, UPDATES)
        raise SpecError(f"no solver has the type {param.type!r}{hint}")
    return _SOLVERS.get(param.type, Solver)(solver_file)


get_solver_from_file = get_solver
