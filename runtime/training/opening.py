"""From whatever says how to train to a `Solver`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Unpack

from netspec.graph.dividing import Parts
from runtime.distributed import Communicator
from runtime.execution.kept_plans import PLANS
from runtime.execution.python_layers.code import Allow
from runtime.execution.weights import Names
from runtime.training.keywords import takes_fields
from runtime.training.solver import Solver
from runtime.training.solver_fields import SolverFields


@takes_fields
def get_solver(
    solver: Any = None,
    *,
    folder: str | Path | None = None,
    backend: str = "numpy",
    kernels: str = "own",
    graphs: bool = True,
    precision: str = "float32",
    seed: int | None = None,
    keep: Iterable[str] | None = None,
    allow_python: Allow = (),
    plans: int = PLANS,
    memory_limit: str | float | None = None,
    micro_batch: Parts | None = None,
    rename: Names | None = None,
    communicator: Communicator | None = None,
    check_replicas: int = 0,
    sync_batch_norm: bool = False,
    **fields: Unpack[SolverFields],
) -> Solver:
    """Return `Solver(solver, ...)`, under pycaffe's name.

    solver: a path to a solver or a net, text, a message, a dict of fields, or a spec.
    Files that it names are looked for from the current folder and then from its own.

    Raises `SpecError` and its children for bad input, `FileError` for files.
    """
    return Solver(
        solver,
        folder=folder,
        backend=backend,
        kernels=kernels,
        graphs=graphs,
        precision=precision,
        seed=seed,
        keep=keep,
        allow_python=allow_python,
        plans=plans,
        memory_limit=memory_limit,
        micro_batch=micro_batch,
        rename=rename,
        communicator=communicator,
        check_replicas=check_replicas,
        sync_batch_norm=sync_batch_norm,
        **fields,
    )
