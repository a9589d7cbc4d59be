"""`fit`: train a net with data of any kind."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from typing import Any

from netspec.graph.dividing import Parts
from runtime.distributed import Communicator
from runtime.distributed.communicator import is_first, several
from runtime.execution.kept_plans import PLANS
from runtime.execution.python_layers.code import Allow
from runtime.fitting.asked import Asked, Files
from runtime.fitting.continuing import go_on, refuse_beside_solver, refuse_others
from runtime.fitting.data import Given
from runtime.fitting.habits import refuse_strange
from runtime.fitting.interrupted import KEPT, Call
from runtime.fitting.training import Length, Training, add_callbacks
from runtime.habits import told_without_strange
from runtime.interrupts import stopped
from runtime.training.history import History
from runtime.training.solver import Solver


@told_without_strange
def fit(
    net: Any,
    data: Any = None,
    *others: Any,
    epochs: int | None = None,
    max_iter: int | None = None,
    batch_size: int | None = None,
    validation: Any = None,
    solver: Any = None,
    callbacks: Any = (),
    shuffle: bool = True,
    transform: Any = None,
    validation_transform: Any = None,
    weights: Any = None,
    rename: Any = None,
    resume: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    snapshot: int | None = None,
    progress: Any = None,
    fresh: bool = False,
    seed: int | None = None,
    backend: str = "numpy",
    kernels: str = "own",
    graphs: bool = True,
    precision: str = "float32",
    keep: Iterable[str] | None = None,
    allow_python: Allow = (),
    plans: int = PLANS,
    memory_limit: str | float | None = None,
    micro_batch: Parts | None = None,
    communicator: Communicator | None = None,
    sync_batch_norm: bool = False,
    **unknown: Any,
) -> History:
    """Train a net with data of any kind and return the history of its training.

        history = runtime.fit(n, (x, y), epochs=5, batch_size=64, validation=0.1,
                              solver=dict(type="Adam", base_lr=1e-3))
        history.net  # the trained one, and history.solver

    Args:
        net: a `NetSpec` or another net, a path to one (also a model file in Python), or
            a whole solver. A `History` or a `Solver` goes on with its training: for
            more epochs, or for more iterations.
        data: what fills the Input layers: arrays, a dict of them by the names of the
            inputs, a path, an iterable, a function that returns one, and more; see
            `runtime.data.dataset.open_dataset`. None for a net with data layers.
        epochs, max_iter: how long to train, one of them. Without either the solver's
            own `max_iter` holds, or else one epoch.
        batch_size: instead of that of the Input layers. The last batch of an epoch has
            what is left.
        validation: data of the same kinds, tested after each epoch and at the end; or
            the part of `data` to test with, 0.2 for the last fifth (of a folder of
            images, a fifth by chance). Means are over items.
        solver: a dict of fields, as `runtime.Solver` takes them, a SolverParameter,
            text, or a path. SGD has base_lr 0.01 and momentum 0.9 where a dict, or
            None, does not say otherwise.
        callbacks: objects of `runtime.Callback`.
        shuffle: another order in every epoch, from the seed; iterables have their own.
        transform: of the items, as of `open_dataset`: a dict of Caffe's fields, which
            also holds for testing, without random crops and mirroring; or a function,
            which does not.
        validation_transform: of the items to test with; "same" is that of training.
        weights: a weight file to start from, or several in a list. rename: what layers
            of these files are called in the net, `{"theirs": "ours"}`, as of
            `Net.copy_from`; `history.solver.copied` says what each file gave.
        resume: a `.solverstate` file to go on from, or "last" for the newest in `out`.
            The run ends where one would have that never stopped, bit for bit. An
            iterable is read from its start, up to where it was.
        out: a folder for snapshots; the last one is written there when training ends.
            Without it nothing is written, unless the solver says so.
        snapshot: epochs between two snapshots.
        progress: as of `Solver.step`; None shows a table in a notebook, a bar in a
            terminal, else a line an epoch, or Caffe's lines where `display` is given.
        fresh: begin anew, also where the same call was interrupted before.
        seed: of order, transforms, fillers and dropout; else the solver's, else 0.
        backend, kernels, graphs, precision, keep, allow_python, plans, memory_limit:
            see `Solver`.
        communicator: processes that train together, `runtime.distributed.world()`. All
            of them call `fit` with the same arguments, the whole data included, and of
            the batches each takes its own. An epoch is one pass over the data by all
            together; where its batches do not divide, its last iteration takes the
            first ones of the next. Tests are shared too, and the history of all has
            the same losses and measures. See `Solver`.
        sync_batch_norm: whether BatchNorm takes statistics over all ranks' batches.
        micro_batch: see `Solver`; batches of `data` are divided too, and where one has
            items that are no equal parts, the parts count as many as they have.

    Ctrl-C, or the Stop button, ends training after a whole iteration and raises
    `KeyboardInterrupt`. Nothing is lost: the same call again goes on from there and
    says so, and `runtime.interrupted()` is the history so far.

    The nets take batches in `solver.step`, `solve` and `test` from then on; passes by
    hand have the values that you give them.

    Raises `SpecError` and its children for what does not suit, `FileError` for files,
    and what `Solver.solve` raises.
    """
    refuse_strange(others, unknown, [*inspect.signature(fit).parameters])
    given = Given(
        data, validation, batch_size, shuffle, transform, validation_transform
    )
    length = Length(epochs, max_iter)
    files = Files(weights, resume, out, snapshot, rename)
    for one in (given, length, files):
        one.check()
    how: dict[str, Any] = {"backend": backend, "kernels": kernels, "graphs": graphs}
    how |= {"precision": precision, "allow_python": allow_python, "plans": plans}
    how |= {"memory_limit": memory_limit, "micro_batch": micro_batch}
    how["keep"] = None if keep is None else tuple(keep)
    how["sync_batch_norm"] = sync_batch_norm
    if isinstance(net, History | Solver):
        own: dict[str, Any] = {"solver": solver, "weights": weights, "resume": resume}
        own |= {"memory_limit": memory_limit, "micro_batch": micro_batch}
        own |= {"sync_batch_norm": sync_batch_norm or None}
        refuse_beside_solver(**own, seed=seed)
        refuse_others(net, communicator)
        training = go_on(net, given, length, files)
        return _run(training, None, callbacks, progress)
    ranks = several(communicator)
    asked = Asked(net, solver, given, length, files, seed, ranks)
    call = asked.call(how)
    if fresh:
        KEPT.forget_call(call)
    kept = KEPT.of(call)
    if kept is not None:
        kept.plan(asked.length, first=0, snapshot=snapshot)
        if is_first(ranks):
            _say_going_on(kept)
    return _run(kept or asked.begin(how), call, callbacks, progress)


def _run(training: Training, call: Call | None, callbacks: Any, progress: Any) -> Any:
    """Train; what is interrupted is kept for the same call again."""
    solver = training.solver
    add_callbacks(solver, callbacks)
    if progress is None and solver.param.display <= 0:
        progress = True
    try:
        history = training.run(progress)
    except KeyboardInterrupt:
        if call is None:
            if KEPT.training is not training:
                training.let_go()
            raise
        KEPT.keep(call, training)
        raise stopped(
            f"fit stopped after {_where(training)}; the same call again goes on from "
            f"there, and runtime.interrupted() is the history so far"
        ) from None
    except BaseException:
        _end(training)
        raise
    _end(training)
    return history


def _end(training: Training) -> None:
    KEPT.forget(training)
    training.let_go()


def _say_going_on(training: Training) -> None:
    print(
        f"fit: going on after {_where(training)}, where this was interrupted; "
        f"fresh=True begins anew",
        flush=True,
    )


def _where(training: Training) -> str:
    """Say how far a training is."""
    solver, size = training.solver, training.epoch_size
    said = f"iteration {solver.iter}"
    if size is None:
        return said
    return f"{said} (epoch {solver.iter // size + 1})"
