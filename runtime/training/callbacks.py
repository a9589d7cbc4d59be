"""Who is told what happens during training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from runtime.training.history import StepRecord, TestRecord
from runtime.training.snapshot_files import Snapshot

CallT = TypeVar("CallT", bound=Callable[..., Any])


class Callbacks:
    """Functions that a solver calls, in the order in which they were given."""

    def __init__(self) -> None:
        self._before: list[Callable[[], Any]] = []
        self._after: list[Callable[[], Any]] = []
        self._on_step: list[Callable[[StepRecord], Any]] = []
        self._on_test: list[Callable[[TestRecord], Any]] = []
        self._on_snapshot: list[Callable[[Snapshot], Any]] = []
        self._stopping = False
        self._snapshot_wanted = False

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called during this run."""
        return self._stopping

    def stop(self) -> None:
        """Let the running `step` or `solve` end after its iteration."""
        self._stopping = True

    def snapshot_soon(self) -> None:
        """Let the running `step` or `solve` write a snapshot after its iteration."""
        self._snapshot_wanted = True

    def add_callback(self, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        """Call `before` ahead of each iteration and `after` once it has its gradients.

        At that time the parameters are not updated yet, so `after` may change `diff`.
        """
        self._before.append(before)
        self._after.append(after)

    def on_step(self, call: CallT) -> CallT:
        """Call `call(record)` with a `StepRecord` after each iteration. A decorator."""
        self._on_step.append(call)
        return call

    def on_test(self, call: CallT) -> CallT:
        """Call `call(record)` with a `TestRecord` after each test pass. A decorator."""
        self._on_test.append(call)
        return call

    def on_snapshot(self, call: CallT) -> CallT:
        """Call `call(snapshot)` after each `Snapshot` written. A decorator."""
        self._on_snapshot.append(call)
        return call
