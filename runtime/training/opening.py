"""From a file of a solver to a `Solver`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runtime.execution.kept_plans import PLANS
from runtime.execution.python_layers.code import Allow
from runtime.training.solver import Solver
from runtime.training.solver_param import read_solver


def get_solver(
    solver: Any,
    *,
    backend: str = "numpy",
    kernels: str = "own",
    graphs: bool = True,
    precision: str = "float32",
    seed: int | None = None,
    keep: Iterable[str] | None = None,
    allow_python: Allow = (),
    plans: int = PLANS,
) -> Solver:
    """Return the solver of a prototxt file, of prototxt text, or of a message.

    Files that it names are looked for from the current folder and then from its own.
    The arguments are those of `Solver`.

    Raises `SpecError` and its children for bad input, `FileError` for files.
    """
    param, path = read_solver(solver)
    folder = path.parent if path else None
    return Solver(
        param,
        folder=folder,
        backend=backend,
        kernels=kernels,
        graphs=graphs,
        precision=precision,
        seed=seed,
        keep=keep,
        allow_python=allow_python,
        plans=plans,
    )
