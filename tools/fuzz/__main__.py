"""Break files of every kind at random, read them, and count what comes of it.

    python -m tools.fuzz --files 200000 --workers 2

Every file is read in a process with a limit of address space and of time. Counted are
files that read as valid, those refused with a `NetspecError`, and what must not be:
another exception, a process that dies, a file that takes longer than the limit. Each of
those is printed with its kind and number, from which it can be made again:

    python -m tools.fuzz --kind LMDB --only 1234

The status is 1 where one was found. The kinds are those of `tools/fuzz/kinds.py`.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import mmap
import multiprocessing
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tools.fuzz.kinds import KINDS, Kind, damaged, run_quietly

CHUNK = 400  # files that a process reads
GIB = 2**30
FIELDS = ("at", "valid", "refused", "other", "slow", "peak")  # of a chunk's counters
COUNTERS = struct.Struct(f"<{len(FIELDS)}q")
GRACE_S = 20  # beyond the limit, until a process that does not come back is killed


@dataclass
class Found:
    """What was counted of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    peak: int = 0  # bytes
    findings: list[dict[str, object]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Add the counts of another part."""
        self.counts.update(other.counts)
        self.peak = max(self.peak, other.peak)
        self.findings += other.findings

    @property
    def bad(self) -> int:
        """How many files did what none may."""
        return sum(self.counts[name] for name in ("other", "died", "slow"))


class TooSlow(BaseException):
    """Raised in a file that takes too long; nothing that reads files catches it."""


def run_part(name: str, first: int, end: int, limits: tuple[int, int]) -> Found:
    """Read the files `first` to `end` - 1 of a kind, in as many processes as it takes.

    limits: bytes of address space, and seconds for a file.
    """
    kind, found = KINDS[name], Found()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        while first < end:
            first = _one_process(kind, (first, end), limits, folder, found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _one_process(
    kind: Kind,
    part: tuple[int, int],
    limits: tuple[int, int],
    folder: Path,
    found: Found,
) -> int:
    """Read files until the end or until the process dies; return the next to read."""
    shared = mmap.mmap(-1, COUNTERS.size)
    log = folder / "findings"
    log.write_text("")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _read_files(kind, part, limits, (folder, shared, log))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = _wait(pid, shared, limits[1] + GRACE_S)
    values = dict(zip(FIELDS, COUNTERS.unpack(shared[:]), strict=True))
    names = ("valid", "refused", "other", "slow")
    found.counts.update({name: values[name] for name in names})
    found.peak = max(found.peak, values["peak"])
    found.findings += [json.loads(line) for line in log.read_text().splitlines()]
    if status == 0:
        return part[1]
    died = {"kind": kind.name, "number": values["at"], "what": f"died: {status}"}
    found.counts["died"] += 1
    found.findings.append(died)
    return int(values["at"]) + 1


def _wait(pid: int, shared: mmap.mmap, patience_s: int) -> int:
    """Wait for a process; kill it if it stays at one file for too long."""
    at, since = -1, time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        now_at = COUNTERS.unpack(shared[:])[0]
        if now_at != at:
            at, since = now_at, time.monotonic()
        elif time.monotonic() - since > patience_s:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _read_files(
    kind: Kind,
    part: tuple[int, int],
    limits: tuple[int, int],
    places: tuple[Path, mmap.mmap, Path],
) -> None:
    """Read files in this process, counting in `places`."""
    folder, shared, log = places
    os.chdir(tempfile.mkdtemp(dir=folder))
    sys.stderr = os.fdopen(os.dup(2), "w")
    logging.disable()
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (
        1,
        2,
    ):  # solvers and decoders are talkative
        os.dup2(quiet, stream)
    faulthandler.disable()  # the status tells that a process died
    whole = kind.whole()
    kind.prepare()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + limits[0]
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    signal.signal(signal.SIGALRM, _too_slow)
    counts: Counter[str] = Counter(at=part[0])
    for number in range(*part):
        counts["at"] = number
        shared[:] = COUNTERS.pack(*(counts[name] for name in FIELDS))
        signal.alarm(limits[1])
        try:
            refused = run_quietly(kind, damaged(kind, whole, number))
            counts["refused" if refused else "valid"] += 1
        except (Exception, TooSlow) as error:
            name = "slow" if isinstance(error, TooSlow) else "other"
            counts[name] += 1
            finding = {"kind": kind.name, "number": number, "what": _told(error)}
            with log.open("a") as file:
                file.write(json.dumps(finding) + "\n")
        finally:
            signal.alarm(0)
        counts["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    shared[:] = COUNTERS.pack(*(counts[name] for name in FIELDS))


def _too_slow(*_: object) -> None:
    raise TooSlow


def _told(error: BaseException) -> str:
    """Return an error, and where in this project it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    root = str(Path(__file__).resolve().parents[2])
    own = str(Path(__file__).parent)
    ours = [f for f in frames if f.filename.startswith(root)]
    ours = [f for f in ours if not f.filename.startswith(own)] or ours
    place = (ours or list(frames))[-1]
    file = place.filename.removeprefix(root + "/")
    return f"{type(error).__name__}: {str(error)[:200]} ({file}:{place.lineno})"


def parts(kinds: Sequence[Kind], files: int) -> Iterator[tuple[Kind, int, int]]:
    """Yield what each process reads, so that the kinds get equally far together."""
    each = -(-files // len(kinds))
    for first in range(0, each, CHUNK):
        for kind in kinds:
            yield kind, first, min(first + CHUNK, each)


def table(results: dict[str, Found]) -> str:
    """Return the figures of all kinds as a table, with their sum below."""
    total = Found()
    for found in results.values():
        total.add(found)
    lines = [
        "| file | read | valid | refused | other exceptions | died | too slow | MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in [*results.items(), ("all", total)]:
        counts = [found.counts[key] for key in ("valid", "refused", "other", "died")]
        slow, peak = found.counts["slow"], found.peak / 2**20
        told = " | ".join(f"{count:,}" for count in (sum(counts) + slow, *counts, slow))
        lines.append(f"| {name} | {told} | {peak:.0f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=20_000, help="of all kinds")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one file, in here")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--memory", type=float, default=2, metavar="GIB")
    parser.add_argument("--seconds", type=int, default=20, help="for a file")
    parser.add_argument("--minutes", type=float, default=1e6, help="and then stop")
    options = parser.parse_args(arguments)
    kinds = [KINDS[name] for name in options.kind or KINDS]
    if options.only is not None:
        return _only(kinds[0], options.only)
    results = {kind.name: Found() for kind in kinds}
    limits = (int(options.memory * GIB), options.seconds)
    start, first = time.monotonic(), options.first
    # Processes of one thread each, which can be copied safely at any time.
    pool = ProcessPoolExecutor(options.workers, multiprocessing.get_context("fork"))
    with pool:
        jobs = [
            (kind, pool.submit(run_part, kind.name, first + a, first + b, limits))
            for kind, a, b in parts(kinds, options.files)
        ]
        for number, (kind, job) in enumerate(jobs, 1):
            done = job.result()
            results[kind.name].add(done)
            for finding in done.findings:
                print(f"{finding['kind']} {finding['number']}: {finding['what']}")
            if time.monotonic() - start > 60 * options.minutes:
                for _, later in jobs:
                    later.cancel()
                break
            if number % len(kinds) == 0:
                read = sum(sum(one.counts.values()) for one in results.values())
                bad = sum(one.bad for one in results.values())
                print(f"{read:,} files, {bad} of them bad", file=sys.stderr, flush=True)
            sys.stdout.flush()
    print(f"\n{table(results)}\n\n{time.monotonic() - start:.0f} s")
    return 1 if any(found.bad for found in results.values()) else 0


def _only(kind: Kind, number: int) -> int:
    """Read one file in this process, where a debugger sees it."""
    folder = tempfile.mkdtemp(prefix="fuzz-")
    os.chdir(folder)
    whole = kind.whole()
    kind.prepare()
    data = damaged(kind, whole, number)
    Path("damaged").write_bytes(data)
    print(f"{folder}/damaged has {len(data)} bytes")
    kind.run(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
