"""Records of the steps, tests and snapshots of a training run."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.files import is_file, read_bytes, replacing
from netspec.schema import SolverParameter
from runtime.training.snapshot_files import Snapshot

CSV_HEADER = "iteration,phase,name,value"


@dataclass(frozen=True)
class StepRecord:
    """One iteration: its loss was computed with the parameters before its update.

    `smoothed_loss` is the mean over the last `average_loss` iterations, `seconds` the
    time of forward, backward and update.
    """

    iteration: int
    loss: float
    smoothed_loss: float
    lr: float
    seconds: float

    def values(self) -> Iterator[tuple[str, str, float]]:
        """Yield (phase, name, value)."""
        yield "train", "loss", self.loss
        yield "train", "lr", self.lr
        yield "train", "seconds", self.seconds


@dataclass(frozen=True)
class TestRecord:
    """One test pass: the mean of every output of a test net over its batches.

    `loss_weights` says which outputs are losses; `loss` is the mean of the whole
    objective, or None if that was not asked for.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    iteration: int
    net: int
    outputs: Mapping[str, np.ndarray]
    loss_weights: Mapping[str, float]
    loss: float | None = None
    seconds: float = 0.0

    def scalars(self) -> dict[str, float]:
        """Return the outputs that are a single number."""
        return {
            name: float(values.reshape(-1)[0])
            for name, values in self.outputs.items()
            if values.size == 1
        }

    def values(self) -> Iterator[tuple[str, str, float]]:
        """Yield (phase, name, value)."""
        phase = "test" if self.net == 0 else f"test{self.net}"
        for name, value in self.scalars().items():
            yield phase, name, value


@dataclass
class History:
    """All records of a run, in order.

    epoch_size: how many iterations an epoch has, None where there are no epochs.
    solver: the solver whose runs these are, with the net that it trains; None for
        records that come from elsewhere.
    """

    train: list[StepRecord] = field(default_factory=list)
    tests: list[TestRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    epoch_size: int | None = None
    solver: Any = field(default=None, repr=False, compare=False)

    @property
    def net(self) -> Any:
        """The net that is trained.

        Raises `SpecError` where no solver has these records.
        """
        if self.solver is None:
            raise SpecError(
                "this history has no solver, so no net: it was not made by a training "
                "of this process"
            )
        return self.solver.net

    def drop(self, iteration: int) -> None:
        """Drop what came after the snapshot of `iteration`, which is done again."""
        self.train = [one for one in self.train if one.iteration < iteration]
        self.tests = [one for one in self.tests if one.iteration < iteration]
        self.snapshots = [one for one in self.snapshots if one.iteration <= iteration]

    def write(self, path: str | Path) -> None:
        """Write all records as `Log` does."""
        with Log(path) as log:
            for record in self.train:
                log.add(record)
            for test in self.tests:
                log.add(test)


class Recorder:
    """Adds records of iterations to a history, with the mean of the last losses."""

    def __init__(self, history: History, param: SolverParameter) -> None:
        self._history, self._param = history, param
        self._recent: deque[float] = deque()
        self._ended = -math.inf  # when the last record was made

    def forget(self) -> None:
        """Begin the mean anew."""
        self._recent.clear()

    def add(self, iteration: int, loss: float, lr: float, started: float) -> StepRecord:
        """Record an iteration that ends now; `started` is by `time.perf_counter`.

        One that was started before the last one ended has the time since then, so that
        the times of all are no more than there was.
        """
        now = time.perf_counter()
        since, self._ended = max(started, self._ended), now
        self._recent.append(loss)
        while len(self._recent) > max(1, self._param.average_loss):
            self._recent.popleft()
        record = StepRecord(
            iteration=iteration,
            loss=loss,
            smoothed_loss=sum(self._recent) / len(self._recent),
            lr=lr,
            seconds=now - since,
        )
        self._history.train.append(record)
        return record


class Log:
    """A file to which records are added as they come: `.jsonl`, or else CSV.

    CSV has a line for every number: iteration, phase, name, value. JSON has an object
    for every record. With `append` a file that exists is continued; with `since` its
    lines of that iteration and of later ones go, as they come again. Lines that are no
    records stay.

    Raises `FileError`.
    """

    def __init__(
        self, path: str | Path, *, append: bool = False, since: int | None = None
    ) -> None:
        self.path = Path(path)
        self._json = self.path.suffix == ".jsonl"
        if append and since is not None and is_file(self.path):
            self._cut(since)
        try:
            # Unbuffered, so that a failed write is not tried again when it is closed.
            self._file = self.path.open("ab" if append else "wb", buffering=0)
        except OSError as error:
            raise self._failed(error) from error
        if not self._json and self._file.tell() == 0:
            self._write(f"{CSV_HEADER}\n")

    def add(self, record: StepRecord | TestRecord) -> None:
        """Write a record and bring it to the disk."""
        self._write(_json(record) if self._json else _csv(record))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut(self, since: int) -> None:
        """Drop the records from an iteration on, and a line that a kill cut short."""
        text = read_bytes(self.path).decode("utf-8", "surrogateescape")
        pieces = text.splitlines(keepends=True) if self._json else _csv_lines(text)
        kept = [
            line
            for line in pieces
            if line.endswith("\n") and _iteration_of(line, self._json) < since
        ]
        if len(kept) < len(pieces):
            with replacing(self.path) as file:
                file.write("".join(kept).encode("utf-8", "surrogateescape"))

    def _write(self, text: str) -> None:
        try:
            self._file.write(text.encode())
        except OSError as error:
            self._file.close()
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> FileError:
        return FileError(f"{self.path}: cannot be written: {error.strerror}")


def _json(record: StepRecord | TestRecord) -> str:
    values: dict[str, Any] = {"iteration": record.iteration}
    for phase, name, value in record.values():
        values["phase"] = phase
        # JSON has no infinity and no NaN.
        values[name] = value if np.isfinite(value) else str(value)
    return json.dumps(values) + "\n"


def _csv(record: StepRecord | TestRecord) -> str:
    return "".join(
        f"{record.iteration},{phase},{_quoted(name)},{value:.7g}\n"
        for phase, name, value in record.values()
    )


def _quoted(name: str) -> str:
    if any(character in name for character in ',"\n'):
        return '"' + name.replace('"', '""') + '"'
    return name


def _csv_lines(text: str) -> list[str]:
    """Split into lines, but not at the line breaks within quotes."""
    lines: list[str] = []
    whole = True
    for piece in text.split("\n"):
        if whole:
            lines.append(piece + "\n")
        else:
            lines[-1] += piece + "\n"
        whole = lines[-1].count('"') % 2 == 0
    lines[-1] = lines[-1][:-1]  # after the last line break
    return lines if lines[-1] else lines[:-1]


def _iteration_of(line: str, is_json: bool) -> int:
    """Return the iteration of a line of a log, or -1 of one that is no record."""
    try:
        if is_json:
            return int(json.loads(line)["iteration"])
        return int(line.partition(",")[0])
    except (ValueError, KeyError, TypeError):
        return -1
