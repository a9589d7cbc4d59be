"""Commands with limits, side by side and one after the other; results as they come.

A `Part` is one or more commands that run side by side. `Runner` runs lists of parts: a
part that fails or takes too long never stops the next one, and a part for which no time
is left is named. Every result is written at once as a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG_BYTES = 1_500_000  # of the end of what a command printed
LEAST_SECONDS = 5.0  # a part that would have less is not begun
KILL_SECONDS = 3.0  # to end what must end, and to sum up

Reader = Callable[["Result"], str]


@dataclass
class Part:
    """What runs, for how long at most, and what its output says.

    read: makes one line of a result, and may add to its `failures`.
    needs: why it cannot run here, if so.
    essential: what it must print; if it does not, no later part runs.
    gate: a file that the part waits for; it is started ahead, beside the parts before
        its own turn, and its limit counts from the moment when the file is there.
    """

    name: str
    commands: Sequence[Sequence[str]]
    limit: float
    read: Reader
    needs: str | None = None
    essential: str = ""
    gate: Path | None = None
    keep: float = 0.0  # seconds that must be left for the parts after it


@dataclass
class Result:
    """What became of a part: "passed", "failed", "limit" or "skipped"."""

    name: str
    status: str
    seconds: float = 0.0
    said: str = ""
    logs: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return what all commands printed."""
        return "\n".join(path.read_text(errors="replace") for path in self.logs)

    def record(self) -> dict[str, Any]:
        """Return the result as a line of JSON has it."""
        return {
            "part": self.name,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "said": self.said,
            "failures": self.failures,
        }


class Runner:
    """Runs parts until the time is over."""

    def __init__(
        self, seconds: float, out: Path, work: Path, environment: Mapping[str, str]
    ) -> None:
        self.end = time.monotonic() + seconds
        self.out, self.work, self.environment = out, work, dict(environment)
        self.results: list[Result] = []
        self._lock = threading.Lock()
        self._ahead: dict[str, list[subprocess.Popen[bytes]]] = {}

    def left(self) -> float:
        """Return the seconds until the end."""
        return self.end - time.monotonic()

    def run(self, stages: Sequence[Sequence[Part]], ahead: Sequence[Part]) -> bool:
        """Run the parts of a stage side by side, and the stages one after the other.

        ahead: parts with a gate that start beside the second stage. Returns whether all
        passed or had to be skipped for a reason of theirs.
        """
        stopped = ""
        for number, stage in enumerate(stages):
            if number == 1 and not stopped:
                for part in ahead:
                    if part.needs is None:
                        self._ahead[part.name] = self._start(part)
            threads = []
            for part in stage:
                thread = threading.Thread(target=self._run, args=(part, stopped))
                thread.start()
                threads.append(thread)
            for thread in threads:
                thread.join()
            for part in stage:
                if part.essential and not stopped and not self._printed(part):
                    stopped = f"{part.name} did not say {part.essential!r}"
        for processes in self._ahead.values():
            for process in processes:
                _kill(process)
        return not stopped and not any(_bad(result) for result in self.results)

    def _run(self, part: Part, stopped: str) -> None:
        result = Result(part.name, "skipped")
        if part.needs is not None or stopped:
            result.said = part.needs or stopped
        elif self.left() - KILL_SECONDS - part.keep < LEAST_SECONDS:
            result.said = "no time was left"
        else:
            try:
                self._carry_out(part, result)
            except Exception as error:  # of ours; the other parts go on
                result.status = "failed"
                result.said = f"{type(error).__name__}: {error}"
        with self._lock:
            self.results.append(result)
            self._write(result)

    def _carry_out(self, part: Part, result: Result) -> None:
        began = time.monotonic()
        limit = min(part.limit, self.left() - KILL_SECONDS - part.keep)
        processes = self._ahead.pop(part.name, None) or self._start(part)
        if part.gate is not None:
            ready = part.gate.with_suffix(".new")
            ready.write_text(f"{limit - KILL_SECONDS:.1f}\n")
            ready.replace(part.gate)
        result.logs = self._logs(part)
        late = False
        for process in processes:
            try:
                process.wait(max(0.0, began + limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                late = True
        for process in processes:
            _kill(process)
        result.seconds = time.monotonic() - began
        bad = any(process.returncode for process in processes)
        result.status = "limit" if late else "failed" if bad else "passed"
        result.said = part.read(result)

    def _start(self, part: Part) -> list[subprocess.Popen[bytes]]:
        processes = []
        for command, log in zip(part.commands, self._logs(part), strict=True):
            with log.open("wb") as file:
                processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env=self.environment,
                        start_new_session=True,
                    )
                )
        return processes

    def _printed(self, part: Part) -> bool:
        logs = [log for log in self._logs(part) if log.exists()]
        return any(part.essential in log.read_text(errors="replace") for log in logs)

    def _logs(self, part: Part) -> list[Path]:
        stem = part.name.replace(" ", "-")
        return [self.work / f"{stem}-{k}.log" for k in range(len(part.commands))]

    def _write(self, result: Result) -> None:
        print(
            f"{result.name}: {result.status}, {result.seconds:.0f} s; {result.said}",
            flush=True,
        )
        with (self.out / "parts.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result.record()) + "\n")
        with (self.out / "log.txt").open("ab") as file:
            for log in result.logs:
                file.write(f"\n==== {log.name}: {result.status}\n".encode())
                if log.exists():
                    file.write(log.read_bytes()[-LOG_BYTES:])


def _bad(result: Result) -> bool:
    left_out = result.status == "skipped" and result.said == "no time was left"
    return left_out or result.status in ("failed", "limit")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, unless they left its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def missing(program: str) -> str | None:
    """Say that a program is not on this machine, if so."""
    return None if shutil.which(program) else f"{program} is not on this machine"
