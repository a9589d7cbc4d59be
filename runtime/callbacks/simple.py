"""Callbacks of a few lines: functions together, and a limit of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from netspec.errors import SpecError, did_you_mean
from runtime.callbacks.watching import number
from runtime.training.callbacks import EVENTS, Callback
from runtime.training.records import StepRecord


class LambdaCallback(Callback):
    """Calls functions, by the names of the methods of `Callback`.

        LambdaCallback(on_epoch_end=lambda solver, epoch: print(epoch, solver.lr))

    Raises `SpecError` for other names.
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            if name not in EVENTS:
                raise SpecError(
                    f"LambdaCallback has no {name!r}{did_you_mean(name, EVENTS)}; it "
                    f"has {', '.join(EVENTS)}"
                )
            if not callable(function):
                raise SpecError(f"{name} takes a function, got {function!r}")
            setattr(self, name, function)


class TimeLimit(Callback):
    """Ends training after some time of it.

    seconds, minutes, hours: are added up. What was spent before a snapshot counts in a
    run that is resumed from it. On a GPU the host waits for each iteration.

    State: the seconds that were spent.
    """

    def __init__(
        self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0
    ) -> None:
        given = {"seconds": seconds, "minutes": minutes, "hours": hours}
        parts = [number(name, value, at_least=0.0) for name, value in given.items()]
        self.limit = parts[0] + 60 * parts[1] + 3600 * parts[2]
        if not self.limit:
            raise SpecError("TimeLimit needs a time, as in TimeLimit(minutes=10)")
        self._spent = 0.0
        self._since: float | None = None
        self._solver: Any = None

    @property
    def spent(self) -> float:
        """Seconds of training so far."""
        now = 0.0 if self._since is None else time.monotonic() - self._since
        return self._spent + now

    def on_train_begin(self, solver: Any) -> None:
        """Begin to measure."""
        self._solver, self._since = solver, time.monotonic()

    def on_step(self, record: StepRecord) -> None:
        """End training if it is time."""
        if self.spent >= self.limit:
            self._solver.stop()

    def on_train_end(self, solver: Any) -> None:
        """Measure no more."""
        self._spent, self._since, self._solver = self.spent, None, None

    def state_dict(self) -> dict[str, Any]:
        """Return the time that was spent."""
        return {"spent": self.spent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._spent = state["spent"]
        if self._since is not None:
            self._since = time.monotonic()

    def __repr__(self) -> str:
        return f"<TimeLimit of {self.limit:g} s, {self.spent:.1f} s spent>"
