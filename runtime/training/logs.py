"""Files of records: written as they come, and read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError
from netspec.files import is_file, read_bytes, replacing
from runtime.execution.arguments import path_of
from runtime.training.records import StepRecord, TestRecord

CSV_HEADER = "iteration,phase,name,value"
MOST_BYTES = 4096  # of a first line, to tell whether a file is a log


class Log:
    """A file to which records are added as they come: `.jsonl`, or else CSV.

    CSV has a line for every number: iteration, phase, name, value. JSON has an object
    for every record. With `append` a file that exists is continued; with `since` its
    lines of that iteration and of later ones go, as they come again. Lines that are no
    records stay. Without `append` an older log is replaced. json: whether it is JSON,
    in place of what the suffix says.

    Raises `FileError`, also for a file that would be replaced and is no log.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        append: bool = False,
        since: int | None = None,
        json: bool | None = None,
    ) -> None:
        self.path = path_of(path, "path")
        self._json = self.path.suffix == ".jsonl" if json is None else json
        if append and since is not None and is_file(self.path):
            self._cut(since)
        elif not append and is_file(self.path):
            self._keep_others()
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

    def _keep_others(self) -> None:
        """Refuse to replace a file that holds something else than a log."""
        with self.path.open("rb") as file:
            first = file.readline(MOST_BYTES).decode("utf-8", "replace")
        if self._json:
            ours = _iteration_of(first, True) >= 0
        else:
            ours = first.strip() == CSV_HEADER
        if first and not ours:
            raise FileError(
                f"{self.path}: holds something else than a log of training, which "
                f"would be lost; give another name, or remove it"
            )

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


def read_log(path: str | Path) -> tuple[list[StepRecord], list[TestRecord]]:
    """Return the records of a file that `Log` wrote.

    `smoothed_loss` is the loss, as a log has no other; an output of a test counts as a
    loss if its name says so.

    Raises `FileError` for a file that is missing or has no record.
    """
    text = read_bytes(path).decode("utf-8", "replace")
    is_json = text.lstrip()[:1] == "{"
    train: dict[int, dict[str, float]] = {}
    tests: dict[tuple[int, int], dict[str, float]] = {}
    try:
        for iteration, phase, name, value in (_of_json if is_json else _of_csv)(text):
            if phase == "train":
                train.setdefault(iteration, {})[name] = value
            else:
                net = int(phase.removeprefix("test") or 0)
                tests.setdefault((iteration, net), {})[name] = value
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path}: is no log of a training: {error}") from error
    if not train and not tests:
        raise FileError(
            f"{path}: is no log of a training; expected lines of {CSV_HEADER}, or an "
            f"object of JSON in every line"
        )
    steps = [_step(iteration, values) for iteration, values in train.items()]
    return steps, [_test(*at, values) for at, values in tests.items()]


def _step(iteration: int, values: dict[str, float]) -> StepRecord:
    loss, nan = values.get("loss", np.nan), float("nan")
    lr, seconds = values.get("lr", nan), values.get("seconds", nan)
    return StepRecord(iteration, loss, loss, lr, seconds)


def _test(iteration: int, net: int, values: dict[str, float]) -> TestRecord:
    outputs = {name: np.array(value) for name, value in values.items()}
    weights = {name: 1.0 for name in values if "loss" in name.lower()}
    return TestRecord(iteration, net, outputs, weights)


def _of_csv(text: str) -> Iterator[tuple[int, str, str, float]]:
    for row in csv.reader(io.StringIO(text)):
        if len(row) == 4 and row[0].isdigit():
            yield int(row[0]), row[1], row[2], float(row[3])


def _of_json(text: str) -> Iterator[tuple[int, str, str, float]]:
    for line in text.splitlines():
        if not line.endswith("}"):
            continue  # a kill cut it short
        values: dict[str, Any] = json.loads(line)
        iteration, phase = int(values.pop("iteration")), str(values.pop("phase"))
        for name, value in values.items():
            yield iteration, phase, name, float(value)
