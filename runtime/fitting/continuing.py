"""Going on with a solver that has trained: for more epochs, or with other data."""

from __future__ import annotations

from typing import Any

from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.schema import SolverParameter
from runtime.data.given.base import Later
from runtime.distributed import Communicator
from runtime.distributed.communicator import rank_count
from runtime.execution.net import Net
from runtime.fitting.asked import Files, count_batches
from runtime.fitting.data import Given, Opened, open_data
from runtime.fitting.inputs import Inputs, inputs_of_net
from runtime.fitting.opening import prefix_in
from runtime.fitting.training import Length, Training
from runtime.training.history import History
from runtime.training.lr_policy import POLICY_FIELDS
from runtime.training.solver import Solver
from runtime.training.solver_param import test_choices, train_choice

_WAYS = {
    "solver": "set solver.lr, or fields of solver.param",
    "weights": "call solver.copy_from",
    "resume": "call solver.restore",
    "seed": "it has its own",
    "memory_limit": "give it to the first fit, or to runtime.Solver",
    "sync_batch_norm": "give it to the first fit, or to runtime.Solver",
    "micro_batch": "give it to the first fit",
}


def refuse_beside_solver(**given: Any) -> None:
    """Refuse arguments of `fit` that decide how a solver is made, where there is one.

    Raises `SpecError`.
    """
    for name, value in given.items():
        if value is not None:
            raise SpecError(
                f"fit goes on with a solver that is there already, so {name} cannot be "
                f"given; {_WAYS[name]}"
            )


def refuse_others(one: History | Solver, communicator: Communicator | None) -> None:
    """Refuse other processes than those with which a solver trains.

    Raises `SpecError`.
    """
    ranks = rank_count(_solver_of(one).communicator)
    if communicator is not None and communicator.size != ranks:
        raise SpecError(
            f"fit goes on with a solver of {ranks} ranks, and communicator has "
            f"{communicator.size}; leave it out, or give it to the first fit, or to "
            f"runtime.Solver"
        )


def go_on(
    one: History | Solver, given: Given, length: Length, files: Files
) -> Training:
    """Return the training of a solver for more epochs or iterations, one by default.

    Data that it was trained with go on where they are, others begin with their first
    batch; without data it goes on with what it has.

    Raises what `fit` raises.
    """
    solver = _solver_of(one)
    old: Training | None = solver.fitting
    if old is not None and given.goes_on(old.given):
        training = old
        training.hold(solver)
    else:
        training = _with_data(solver, given, old)
    if files.out is not None:
        name = solver.net.name
        solver.param.snapshot_prefix = prefix_in(files.out, solver.param, name)
        solver.param.snapshot_after_train = solver.saves_when_stopped = True
    elif files.snapshot is not None and not solver.saves_when_stopped:
        raise SpecError(
            "snapshot is given, but no folder to write to; give out='folder', too"
        )
    length = Length(epochs=1) if length == Length() else length
    planned = solver.param.max_iter
    training.plan(length, first=solver.iter, snapshot=files.snapshot)
    _warn_of_stretched_rates(solver, planned)
    return training


def _warn_of_stretched_rates(solver: Solver, planned: int) -> None:
    """Tell of a rate that goes by `max_iter`, and which is another now."""
    param = solver.param
    by_length = "max_iter" in POLICY_FIELDS.get(param.lr_policy, ())
    if param.lr_policy == "cosine" and param.restart_iter > 0:
        by_length = False
    if by_length and solver.iter > 0 and planned != param.max_iter:
        warn_user(
            f"lr_policy {param.lr_policy!r} goes by max_iter, which is {param.max_iter}"
            f" now and was {planned}: the rate goes on at {solver.lr:.3g}, on a curve "
            f"that is longer. For rates of another kind set solver.param.lr_policy = "
            f'"fixed" and solver.lr',
            SpecWarning,
        )


def _solver_of(one: History | Solver) -> Solver:
    if isinstance(one, Solver):
        return one
    if one.solver is None:
        raise SpecError(
            "this history has no solver to go on with: it was not made by a training "
            "of this process; give the net, and resume= with a snapshot"
        )
    found: Solver = one.solver
    return found


def _with_data(solver: Solver, given: Given, old: Training | None) -> Training:
    """Return a training with other data; what tests stays, unless it is given."""
    parts = solver.micro_batch
    train = inputs_of_net(solver.net).times(parts)
    test = None
    if given.validation is not None:
        test = _test_inputs(solver)
    opened = open_data(given, train, test, solver.seed)
    if opened.train is not None:
        size = solver.param.iter_size * rank_count(solver.communicator)
        batches = solver.iter * size // parts
        later = Opened(Later(opened.train, batches), opened.test)
        opened = later.divided(parts)
    if opened.test is not None:
        solver.param.test_iter[:] = [count_batches(opened.test)]
    elif old is not None:
        opened = Opened(opened.train, old.opened.test)
    return Training(solver, given, opened)


def _test_inputs(solver: Solver) -> Inputs:
    """Return the inputs of the net that tests; it is built where there is none.

    Raises `SpecError` for a solver with several, of which nobody knows which it is.
    """
    if len(solver.test_nets) > 1:
        raise SpecError(
            f"validation is given, but the solver has {len(solver.test_nets)} test "
            f"nets; give it to fit when the solver is made"
        )
    if not solver.test_nets:
        solver.test_nets.append(_test_net(solver))
    return inputs_of_net(solver.test_nets[0])


def _test_net(solver: Solver) -> Net:
    """Return a net that tests what a solver trains."""
    param = SolverParameter()
    param.CopyFrom(solver.param)
    if not (param.HasField("net") or param.HasField("net_param")):
        param.net_param.CopyFrom(train_choice(param, solver.folder).net)
    for field in ("test_iter", "test_state", "test_net", "test_net_param"):
        param.ClearField(field)
    param.test_iter.append(1)
    param.test_interval = 1
    (choice,) = test_choices(param, solver.folder)
    limited = solver.options.get("memory_limit") is not None
    return solver.net_type(
        choice.net,
        state=choice.state,
        share_with=solver.net,
        gradients=False if limited else None,
        **solver.options,
    )
