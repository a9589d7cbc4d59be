"""Taking turns: times of several ways to do the same, as free of other load as can be.

A turn is a burst of runs of every side, as training is one step after the other.
Medians are over all counted runs; a ratio is also told by the quartiles of its value in
each turn, which shows how much the machine wavered. Where the system tells it, the
share of the processors that other processes took is told, and a burst that they
disturbed is taken again.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAUSE_S = 0.05  # lets the threads of the one before go to sleep
WARM_UP_S = 0.05  # of a burst, which brings caches, threads and the clock up
BURST_S = 0.2
LEAST_COUNTED = 8  # runs of each side
LEAST_TURNS = 3
DISTURBED = 0.12  # share of the processors that others may take in a burst
REPEATS = 2  # of a burst that was disturbed
Run = Callable[[], Any]
Clock = Callable[[], float]


@dataclass
class Side:
    """The counted runs of one side: seconds, and the medians of its bursts."""

    seconds: list[float] = field(default_factory=list)
    bursts: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median seconds of a run."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The least seconds of a run."""
        return min(self.seconds)


@dataclass(frozen=True)
class Turns:
    """What was measured; others: the median share of a burst that others took."""

    sides: Mapping[str, Side]
    others: float | None

    def ratio(self, other: str, ours: str) -> float:
        """Return the median of another side over that of ours."""
        return self.sides[other].median / self.sides[ours].median

    def quartiles(self, other: str, ours: str) -> tuple[float, float]:
        """Return the first and third quartile of that ratio over the turns."""
        pairs = zip(self.sides[other].bursts, self.sides[ours].bursts, strict=True)
        first, _, third = statistics.quantiles(
            [theirs / mine for theirs, mine in pairs], n=4, method="inclusive"
        )
        return first, third


def take_turns(
    runs: Mapping[str, Run], seconds: float, clock: Clock = time.perf_counter
) -> Turns:
    """Measure all sides until `seconds` are over and every side was counted enough.

    clock: `time.process_time` counts what all threads of this process work.
    """
    sides = {name: Side() for name in runs}
    for run in runs.values():
        run()
        run()
    shares: list[float] = []
    started = time.perf_counter()
    turns = 0
    while (
        turns < LEAST_TURNS
        or time.perf_counter() - started < seconds
        or min(len(side.seconds) for side in sides.values()) < LEAST_COUNTED
    ):
        for name, run in runs.items():
            counted, share = _calm_burst(run, clock)
            sides[name].seconds += counted
            sides[name].bursts.append(statistics.median(counted))
            if share is not None:
                shares.append(share)
        turns += 1
    return Turns(sides, statistics.median(shares) if shares else None)


def _calm_burst(run: Run, clock: Clock) -> tuple[list[float], float | None]:
    """Return the burst that others disturbed least, and the share that they took."""
    best: tuple[list[float], float | None] = ([], None)
    for _ in range(1 + REPEATS):
        time.sleep(PAUSE_S)
        before = busy_seconds()
        begun, own = time.perf_counter(), time.process_time()
        counted = _burst(run, clock)
        wall, mine = time.perf_counter() - begun, time.process_time() - own
        after = busy_seconds()
        if before is None or after is None:
            return counted, None
        free = wall * (os.cpu_count() or 1)
        share = max(0.0, after - before - mine) / free
        if best[1] is None or share < best[1]:
            best = counted, share
        if share <= DISTURBED:
            break
    return best


def _burst(run: Run, clock: Clock) -> list[float]:
    """Run for a while; a run that is as long as a burst needs nothing ahead of it."""
    begun = time.perf_counter()
    counted: list[float] = []
    while True:
        before = clock()
        run()
        counted.append(clock() - before)
        if time.perf_counter() - begun >= WARM_UP_S:
            break
    if time.perf_counter() - begun < BURST_S:
        counted, begun = [], time.perf_counter()
    while time.perf_counter() - begun < BURST_S:
        before = clock()
        run()
        counted.append(clock() - before)
    return counted


def busy_seconds() -> float | None:
    """Return the seconds that all processors have worked so far, None if unknown.

    What a host took from a virtual machine ("steal") counts: it is not ours either.
    """
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    user, nice, system, _, _, interrupt, soft, steal = map(int, line.split()[1:9])
    ticks = user + nice + system + interrupt + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def processor() -> str:
    """Return the name of the processor and its widest vectors, as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown processor"
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    flags = found.get("flags", "").split()
    vectors = [name for name in ("avx512f", "avx2", "avx") if name in flags]
    name = found.get("model name", "unknown processor")
    family = f"family {found.get('cpu family', '?')}, model {found.get('model', '?')}"
    wide = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    return f"{name} ({family}{', ' + wide[vectors[0]] if vectors else ''})"
