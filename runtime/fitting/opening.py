"""The solver of a `fit`: what its arguments say, as a message."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netspec.errors import FileError, SpecError, shown
from netspec.files import is_file, make_folder
from netspec.schema import SolverParameter
from runtime.training.lr_policy import POLICY_FIELDS
from runtime.training.solver_source import is_net, solver_of
from runtime.update_rules import UPDATES as TYPES

# What SGD, the usual type, has where fields do not say otherwise.
USUAL: Mapping[str, Any] = {"base_lr": 0.01, "momentum": 0.9}


def with_usual(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a solver, with `USUAL` for SGD where they lack it.

    Policies that need no `base_lr` get none. Words that are no type are told later.
    """
    if str(fields.get("type", "SGD")) in {*TYPES} - {"SGD"}:
        return dict(fields)
    needed = POLICY_FIELDS.get(str(fields.get("lr_policy", "fixed")), ("base_lr",))
    usual = {name: USUAL[name] for name in USUAL if name in {*needed, "momentum"}}
    return {**usual, **fields}


def param_of(net: Any, solver: Any) -> tuple[SolverParameter, Path | None]:
    """Return the solver that a net and the argument `solver` make, and its folder.

    solver: fields as `runtime.Solver` takes them, with `USUAL`; a message, text, or a
    path; None for `USUAL`, or where `net` is itself a solver.

    Raises what `runtime.Solver` raises.
    """
    if net is None or isinstance(net, type):
        what = "None" if net is None else f"the class {net.__name__}, not one of it"
        raise SpecError(
            f"fit: the net is {what}; expected a NetSpec or another net, a path to one,"
            f" a history or a solver"
        )
    if inspect.isroutine(net):
        raise SpecError(
            f"fit: the net is {shown(net)}; call it: fit({net.__name__}(...), ...)"
        )
    kinds = {each.lower(): each for each in TYPES}
    if isinstance(solver, str) and solver.lower() in kinds and not is_file(solver):
        raise SpecError(
            f"fit: solver is {solver!r}; a type needs a rate: write "
            f"solver=dict(type={kinds[solver.lower()]!r}, base_lr=...)"
        )
    if solver is None or isinstance(solver, Mapping):
        fields = with_usual(solver or {}) if is_net(net) else dict(solver or {})
        param, path = solver_of(net, fields)
    else:
        if not is_net(net):
            raise SpecError(
                "fit: a solver is given twice, as the first argument and as solver; "
                "give a net first, or leave solver out"
            )
        param, path = solver_of(solver, {"net": net})
        for field in ("test_net", "test_net_param"):
            param.ClearField(field)
    return param, path.parent if path else None


def prefix_in(out: str | os.PathLike[str], param: SolverParameter, name: str) -> str:
    """Return the start of the names of snapshots in a folder, which is made.

    Raises `FileError` for what cannot be a folder.
    """
    folder = make_folder(out)
    given = Path(param.snapshot_prefix).name
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return str(folder / (safe or given or "net"))


def last_state(prefix: str) -> Path:
    """Return the newest state file with a prefix, by its iteration.

    Raises `FileError` where there is none.
    """
    folder, name = Path(prefix).parent, Path(prefix).name
    found: dict[int, Path] = {}
    for path in folder.glob(f"{_escaped(name)}_iter_*.solverstate*"):
        number = path.name.removeprefix(f"{name}_iter_").partition(".")[0]
        if number.isdecimal() and path.name.endswith((".solverstate", ".h5")):
            found[int(number)] = path
    if not found:
        raise FileError(
            f"{folder}: there is no snapshot to go on from, no file "
            f"{name}_iter_N.solverstate; leave resume out to begin"
        )
    return found[max(found)]


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
