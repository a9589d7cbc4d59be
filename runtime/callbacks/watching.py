"""What callbacks share that watch a number: its name, its values, the best of them."""

from __future__ import annotations

import math
from typing import Any

from netspec.errors import SpecError, SpecWarning
from netspec.ops.base import count
from runtime.training.callbacks import Callback
from runtime.training.divergence import warn
from runtime.training.monitored import (
    LOSS,
    among,
    is_better,
    mode_of,
    named,
    no_such_name,
    prefix,
)
from runtime.training.records import TestRecord

SCORES = ("Accuracy", "DetectionEvaluate", "SegAccuracy")  # layers: more is better


class Watching(Callback):
    """Looks at a number: one of tests at each test, the training loss at each epoch.

    monitor: `val_loss`, `val_accuracy` and so on: `val_` and the name of an output of
        the test net, of a second one `val1_`; `val_loss` is the whole objective where
        no output has that name. `loss` is the mean of the training loss over an epoch;
        where `solver.epoch_size` is None, over the iterations between two tests.
    mode: "min" or "max", whether less or more is better; "auto" tells by the layer that
        the output is of, or by its name.
    min_delta: by how much a value must be better than the best one to count.

    best, best_iteration: the best value, and after how many iterations it was found.

    A value that is not a number is never better, and is warned of once.

    Raises `SpecError` when training begins for a name that the tests do not give,
    naming those that they do (with detections, whose names come with their results, at
    the first test), and for a mode that cannot be told.
    """

    def __init__(self, monitor: str, *, mode: str = "auto", min_delta: float = 0.0):
        if not isinstance(monitor, str):
            raise SpecError(f"monitor must be a name, got {monitor!r}")
        self.monitor = monitor
        self.name = f"{type(self).__name__}({monitor})"
        if mode != "auto":
            mode_of(monitor, mode)
        self.mode = mode
        self.min_delta = number("min_delta", min_delta, at_least=0.0)
        self.best: float | None = None
        self.best_iteration: int | None = None
        self._solver: Any = None  # of the run
        self._name = monitor  # as it is called among all
        self._found = False  # whether that is known
        self._way = ""  # "min" or "max" once it is known
        self._looked = -1  # the iteration of the last look
        self._sum, self._count = 0.0, 0  # of losses since then
        self._from = 0  # the first iteration that is not among them
        self._warned = False

    def looked(self, value: float, iteration: int, better: bool) -> None:
        """Do what is to be done about a value."""
        raise NotImplementedError

    # ------------------------------------------------------------ events

    def on_train_begin(self, solver: Any) -> None:
        """Find out what is watched."""
        self._solver = solver
        if solver.iter < self._from:
            self._sum, self._count, self._from = 0.0, 0, solver.iter
        if self.monitor == LOSS:
            self._way = mode_of(LOSS, self.mode)
            self._check_ends(solver)
        else:
            self._find(solver)

    def on_test(self, record: TestRecord) -> None:
        """Look at the result of a test in a training."""
        solver = self._solver
        if solver is None:
            return  # a test by hand
        if self.monitor == LOSS:
            if solver.epoch_size is None and record.net == 0:
                self._look(self._mean(), record.iteration)
            return
        values = named(record)
        if not self._found and (name := among(self.monitor, values)) is not None:
            self._name, self._found = name, True
        if self._found and self._name in values:
            if not self._way:
                is_loss = self._name.partition("_")[2] in record.loss_weights
                self._way = mode_of(self._name, self.mode, is_loss=is_loss)
            self._look(values[self._name], record.iteration)
        elif not self._found and record.net == len(solver.test_nets) - 1:
            tests = [r for r in solver.history.tests if r.iteration == record.iteration]
            raise no_such_name(self.monitor, [n for r in tests for n in named(r)])

    def on_epoch_end(self, solver: Any, epoch: int) -> None:
        """Look at the loss of an epoch."""
        if self.monitor == LOSS and self._solver is not None:
            self._look(self._mean(), solver.iter)

    def on_train_end(self, solver: Any) -> None:
        """Let go of the solver."""
        self._add_up()
        self._solver = None

    # ------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, and what is in the mean that is not looked at yet."""
        self._add_up()
        return {
            "monitor": self._name,
            "mode": self._way,
            "best": self.best,
            "best_iteration": self.best_iteration,
            "looked": self._looked,
            "losses": [self._sum, self._count, self._from],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._sum, self._count, self._from = state["losses"]
        self._looked = state["looked"]
        self.best, self.best_iteration = state["best"], state["best_iteration"]
        self._name, self._way = state["monitor"], state["mode"]

    def __repr__(self) -> str:
        best = ""
        if self.best is not None:
            best = f", best {self.best:.6g} at {self.best_iteration}"
        return f"<{type(self).__name__} of {self.monitor!r}{best}>"

    # ------------------------------------------------------------ values

    def _look(self, value: float, iteration: int) -> None:
        if iteration == self._looked or (self.monitor == LOSS and not self._count):
            return
        self._looked, self._sum, self._count = iteration, 0.0, 0
        if math.isnan(value) and not self._warned:
            self._warned = True
            warn(
                f"{self.monitor} is not a number at iteration {iteration}, which "
                f"{type(self).__name__} takes for no better",
                SpecWarning,
            )
        better = is_better(value, self.best, self._way, self.min_delta)
        if better:
            self.best, self.best_iteration = value, iteration
        self.looked(value, iteration, better)

    def _mean(self) -> float:
        """Return the mean training loss since the last look."""
        self._add_up()
        return self._sum / self._count if self._count else math.nan

    def _add_up(self) -> None:
        """Add the losses that came since, in order, so that resumed sums are equal."""
        if self._solver is None or self.monitor != LOSS:
            return
        new = []
        for record in reversed(self._solver.history.train):
            if record.iteration < self._from:
                break
            new.append(record.loss)
        for loss in reversed(new):
            self._sum += loss
        self._count += len(new)
        self._from = self._solver.iter

    # ------------------------------------------------------------ names

    def _find(self, solver: Any) -> None:
        nets, param = solver.test_nets, solver.param
        if not nets or not param.test_iter or param.test_interval <= 0:
            lack = "no test net" if not nets else "test_iter or test_interval missing"
            raise SpecError(
                f"monitor {self.monitor!r} of {type(self).__name__} is a result of "
                f"tests, but the solver has {lack}; give it what to test with (fit: "
                f"validation=), or monitor='loss'"
            )
        known: dict[str, str] = {}
        for index, net in enumerate(nets):
            for name, kind in _names(net, index):
                known.setdefault(name, kind)
        found = among(self.monitor, known)
        if found is None and not any(_tells_later(net) for net in nets):
            raise no_such_name(self.monitor, ["loss", *known])
        if found is not None:
            kind = known[found]
            self._way = mode_of(
                found, self.mode, is_loss=kind == LOSS, is_score=kind in SCORES
            )
            self._name, self._found = found, True

    def _check_ends(self, solver: Any) -> None:
        """Refuse a run in which nobody would ever look."""
        param = solver.param
        tests = solver.test_nets and param.test_iter and param.test_interval > 0
        fits = getattr(solver, "fitting", None) is not None  # it learns of epochs
        if not (tests or fits or solver.epoch_size):
            raise SpecError(
                f"{type(self).__name__} looks at the loss at the end of an epoch or at "
                f"a test, and the solver has neither; set solver.epoch_size, the "
                f"number of iterations"
            )


def number(name: str, value: Any, *, at_least: float, whole: bool = False) -> Any:
    """Return a number that is at least so large.

    Raises `SpecError`.
    """
    kind = "a whole number" if whole else "a number"
    try:
        found = float(value)
        fits = found >= at_least and not isinstance(value, bool | str)
        fits = fits and not (whole and found != int(found))
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise SpecError(
            f"{name} must be {kind} of at least {at_least:g}, got {value!r}"
        )
    return int(value) if whole else found


def _names(net: Any, index: int) -> list[tuple[str, str]]:
    """Return the names of the numbers that a test net gives, and what gives them."""
    weights, graph, start = net.blob_loss_weights, net.graph, prefix(index)
    found = []
    for name in net.outputs:
        producer = graph.nodes[graph.edges[graph.blobs[name]].producer].type
        if count(net.blobs[name].shape) == 1 and producer != "DetectionEvaluate":
            found.append((start + name, LOSS if weights[name] else producer))
    if any(weights[name] for name in net.outputs):
        found.append((f"{start}loss", LOSS))
    return found


def _tells_later(net: Any) -> bool:
    """Say whether names come with results, as those of detections do."""
    return any(node.type == "DetectionEvaluate" for node in net.graph.nodes)
