"""Training on a GPU beside PyTorch: `python benchmarks/gpu.py [CONFIGURATION ...]`.

A configuration is NET/BATCH/PRECISION, such as resnet50/32/tf32.

Every configuration is a process of its own (`gpu_turn.py`), in which ours and PyTorch's
(eager, channels-last, `torch.compile`) train the same layers and take turns. What takes
long, which is `torch.compile`, is done by several at a time; while one measures, the
others are stopped. Results are lines of JSON, written as they come; a table is printed
last. A configuration for which there was no time is named.

Needs PyTorch with CUDA, and CuPy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TURN = Path(__file__).resolve().with_name("gpu_turn.py")
# By worth: when time is short, the last are left out.
CONFIGURATIONS = (
    "resnet50/32/tf32",
    "resnet50/32/bf16",
    "resnet50/256/bf16",
    "googlenet/32/tf32",
    "resnet50/1/tf32",
    "googlenet/1/tf32",
    "caffenet/256/tf32",
    "lstm_language_model/100/tf32",
    "resnet50/256/tf32",
    "googlenet/256/bf16",
    "caffenet/256/bf16",
    "resnet50/1/bf16",
    "googlenet/32/bf16",
    "googlenet/256/tf32",
    "caffenet/32/tf32",
    "caffenet/1/tf32",
    "lstm_language_model/100/bf16",
    "googlenet/1/bf16",
)
PEERS = ("eager", "channels_last", "compile")
COLUMNS = (*PEERS, "reduce_overhead")
GRAPHS_BATCH = 8  # up to here, PyTorch's CUDA graphs are measured too: see `who`
EXTRA_SECONDS = 45.0  # for all of a turn but the taking of turns
LEAST_SECONDS = 5.0  # the same; with less left, no turn begins
MOST_ALIVE = 10  # processes, each of which takes some gigabytes
LOSS_TOLERANCE = 0.05  # dropout and the precision differ


class Child:
    """A process that makes one configuration ready, and measures it when told."""

    def __init__(self, name: str, options: argparse.Namespace, log: Path) -> None:
        self.name = name
        self.began = time.monotonic()
        self.ready = False
        self.results = 0
        net, batch, precision = name.split("/")
        command = [sys.executable, str(TURN), net, batch, precision]
        command += ["--backend", options.backend, "--device", options.device]
        command += ["--seconds", str(options.seconds)]
        command += ["--who", *who(int(batch), options)]
        if not options.ours_precision:
            command.append("--no-ours-precision")
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,  # so that all of it can be stopped
            )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line)
        self.lines.put(None)

    def tell(self, number: int) -> None:
        """Send a signal to the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """End it and all that it started; to take libraries down would take long."""
        self.tell(signal.SIGCONT)
        self.tell(signal.SIGKILL)
        self.process.wait()
        self.reader.join(timeout=2)  # longer where something else has the pipe
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe and not self.reader.is_alive():
                with contextlib.suppress(OSError):
                    pipe.close()

    def go(self, seconds: float) -> None:
        """Let it measure for so long."""
        with contextlib.suppress(OSError):
            if self.process.stdin:
                self.process.stdin.write(f"{seconds:.1f}\n")
                self.process.stdin.flush()


class Bench:
    """Children that get ready side by side and measure one after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.waiting = list(options.configurations)
        self.running: list[Child] = []
        self.records: list[dict[str, Any]] = []
        self.end = float("inf")

    def run(self) -> None:
        """Measure all, as far as the time goes."""
        try:
            while (self.waiting or self.running) and self._time_left():
                self._start_some()
                child = next((one for one in self.running if one.ready), None)
                if self.end == float("inf"):
                    self._begin(child is not None)
                if child is not None and self.end < float("inf"):
                    self._measure(child)
                else:
                    self._listen()
        finally:
            for child in self.running:
                child.end()
            left = [*(child.name for child in self.running), *self.waiting]
            for name in left:
                self._write(named(name) | {"skipped": "no time was left"})

    def _begin(self, ready: bool) -> None:
        """Let the time of measuring begin: with the file, or with the first turn."""
        gate, limit = self.options.wait_for, self.options.limit
        if gate is not None and not gate.exists():
            return
        if gate is not None:
            with contextlib.suppress(ValueError):
                limit = float(gate.read_text())
        if gate is not None or ready:
            self.end = time.monotonic() + limit

    def _time_left(self) -> bool:
        """Tell whether one more could measure before the end."""
        least = self.options.seconds + LEAST_SECONDS
        return time.monotonic() + least < self.end

    def _start_some(self) -> None:
        """Start what is next, as long as few are getting ready."""
        busy = sum(not child.ready for child in self.running)
        while (
            self.waiting and busy < self.options.jobs and len(self.running) < MOST_ALIVE
        ):
            name = self.waiting.pop(0)
            self.running.append(Child(name, self.options, self.options.log))
            self.running.sort(key=lambda c: self.options.configurations.index(c.name))
            busy += 1

    def _listen(self) -> None:
        """Take what comes from those that are getting ready."""
        for child in list(self.running):
            with contextlib.suppress(queue.Empty):
                while child in self.running:
                    self._take(child, child.lines.get_nowait())
            if (
                child in self.running
                and not child.ready
                and time.monotonic() - child.began > self.options.ready_limit
            ):
                self._drop(child, f"not ready after {self.options.ready_limit:.0f} s")
        time.sleep(0.05)

    def _measure(self, child: Child) -> None:
        """Let one measure while the others stand still."""
        began = time.monotonic()
        others = [other for other in self.running if other is not child]
        for other in others:
            other.tell(signal.SIGSTOP)
        limit = min(self.end, began + self.options.seconds + EXTRA_SECONDS)
        child.go(limit - time.monotonic() - 1)
        while child in self.running:
            left = limit - time.monotonic()
            try:
                if left <= 0:
                    raise queue.Empty
                line = child.lines.get(timeout=left)
            except queue.Empty:
                self._drop(child, "its turn took too long")
                break
            self._take(child, line)
        for other in others:
            other.began += time.monotonic() - began
            other.tell(signal.SIGCONT)

    def _take(self, child: Child, line: str | None) -> None:
        if line is None:
            status = child.process.wait()
            if status or not child.results:
                self._drop(child, f"ended with status {status}")
            else:
                child.end()
                self.running.remove(child)
            return
        try:
            record = json.loads(line)
        except ValueError:
            return  # what a library prints
        if record.get("ready"):
            child.ready = True
        elif record.get("done"):
            child.end()
            self.running.remove(child)
        else:
            child.results += 1
            self._write(record)

    def _drop(self, child: Child, why: str) -> None:
        child.end()
        self.running.remove(child)
        self._write(named(child.name) | {"error": why})

    def _write(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        with self.options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        said = record.get("error") or record.get("skipped")
        text = said or f"{record['ms']:.3f} ms"
        print(f"{title(record)} {record.get('who', '')}: {text}", flush=True)


def who(batch: int, options: argparse.Namespace) -> list[str]:
    """Return what is measured: CUDA graphs help where the host is the slowest."""
    graphs = ["reduce_overhead"] if options.graphs and batch <= GRAPHS_BATCH else []
    chosen = ["ours", *PEERS, *graphs]
    return [name for name in chosen if not options.who or name in options.who]


def named(name: str) -> dict[str, Any]:
    """Return the fields that name a configuration."""
    net, batch, precision = name.split("/")
    return {"net": net, "batch": int(batch), "precision": precision}


def title(record: dict[str, Any]) -> str:
    """Return the name of a record's configuration."""
    return f"{record['net']}/{record['batch']}/{record['precision']}"


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return all in Markdown: images a second, and what stands beside them.

    The ratio is ours over the fastest of PyTorch's; above 1 we are faster. Memory and
    host time are ours and that of PyTorch's fastest.
    """
    heads = ["net/batch/precision", "ours", *COLUMNS, "ratio", "MiB", "host ms"]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    notes = []
    for name in dict.fromkeys(title(record) for record in records):
        mine = [record for record in records if title(record) == name]
        found = {record["who"]: record for record in mine if "ms" in record}
        for record in mine:
            if "ms" not in record:
                said = record.get("error") or record.get("skipped")
                notes.append(f"- {name} {record.get('who', '')}: {said}")
        if found:
            lines.append(f"| {' | '.join([name, *cells(found)])} |")
        ours, best = found.get("ours"), fastest(found)
        if ours and best and differ(ours["first_loss"], best["first_loss"]):
            notes.append(
                f"- {name}: the first loss is {ours['first_loss']:.4g} here and "
                f"{best['first_loss']:.4g} in PyTorch"
            )
    return "\n".join([*lines, *([""] if notes else []), *notes])


def cells(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return what stands in the row of a configuration, from the results by name."""
    row = []
    for column in ("ours", *COLUMNS):
        row.append(f"{found[column]['per_second']:.5g}" if column in found else "")
    ours, best = found.get("ours"), fastest(found)
    row.append(f"**{best['ms'] / ours['ms']:.2f}**" if ours and best else "")
    for key, form in (("peak_mib", ".0f"), ("host_ms", ".2f")):
        row.append(" / ".join(format(r[key], form) for r in (ours, best) if r))
    return row


def fastest(found: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the fastest of PyTorch's."""
    theirs = [found[column] for column in COLUMNS if column in found]
    return min(theirs, key=lambda record: record["ms"], default=None)


def differ(ours: float, theirs: float) -> bool:
    """Tell whether two losses are not those of the same work."""
    return not abs(ours - theirs) <= LOSS_TOLERANCE * max(abs(theirs), 1)


def device_record(options: argparse.Namespace) -> dict[str, Any]:
    """Return what tells this run from another."""
    import torch

    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    record: dict[str, Any] = {"device": name, "torch": torch.__version__}
    record["cuda"] = torch.version.cuda
    record["date"] = time.strftime("%Y-%m-%d")
    return record


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description="Training beside PyTorch on a GPU.")
    parser.add_argument(
        "configurations", nargs="*", default=list(CONFIGURATIONS), help="default: all"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"), help="results")
    parser.add_argument("--log", type=Path, default=None, help="what children say")
    parser.add_argument("--limit", type=float, default=240, help="seconds of measuring")
    parser.add_argument(
        "--ready-limit", type=float, default=300, help="seconds of getting ready"
    )
    parser.add_argument(
        "--seconds", type=float, default=4, help="of taking turns, each"
    )
    parser.add_argument(
        "--jobs", type=int, default=5, help="how many get ready at once"
    )
    parser.add_argument(
        "--wait-for",
        type=Path,
        help="measure when this file exists; a number in it replaces --limit",
    )
    parser.add_argument("--who", nargs="+", help="what is measured; default: all")
    parser.add_argument("--graphs", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--device", default="cuda", help="of PyTorch: cuda or cpu")
    parser.add_argument(
        "--ours-precision",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether ours is told the precision",
    )
    options = parser.parse_args(arguments)
    for name in options.configurations:
        if len(name.split("/")) != 3:
            parser.error(f"{name!r} is not NET/BATCH/PRECISION")
    options.log = options.log or Path(tempfile.mkdtemp()) / "gpu.log"
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = read_arguments(arguments)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "3")
    header = device_record(options)
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(header) + "\n")
    bench = Bench(options)
    bench.run()
    print(
        f"\n{header['device']}, PyTorch {header['torch']}, {header['date']}; a second"
    )
    print(table(bench.records), flush=True)
    return 0 if any("ms" in record for record in bench.records) else 1


if __name__ == "__main__":
    sys.exit(main())
