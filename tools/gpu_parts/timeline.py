"""Which kernels a training step spends its time in, as CUDA's own tracing tells.

    python -m tools.gpu_parts.timeline [NET/BATCH/PRECISION ...] [--out FILE]

PyTorch's profiler is only the recorder: it sees all kernels of the process, those of
recorded graphs too. For each net the kernels are added up by name, ours are marked, and
the time of a step is set beside what they take together.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from tools.gpu_check import own_names  # noqa: E402

STEPS = 3
SHOWN = 25  # kernels of each net
KINDS = {"kernel", "gpu_memcpy", "gpu_memset"}  # what a trace calls work of a device


def solver_of(configuration: str, backend: str) -> Any:
    """Return a solver that is warm."""
    gpu_turn = importlib.import_module("gpu_turn")  # of the benchmarks
    net, batch, precision = configuration.split("/")
    words = [net, batch, precision, "--backend", backend, "--who", "ours"]
    turn = gpu_turn.Turn(gpu_turn.read_arguments(words))
    solver = turn.build_ours()
    solver.step(4)
    solver.net.backend.synchronize()
    return solver


def trace(solver: Any) -> tuple[list[dict[str, Any]], float]:
    """Return what the device did in some steps, and the seconds of one without it."""
    from torch.profiler import ProfilerActivity, profile

    def run() -> float:
        began = time.perf_counter()
        solver.step(STEPS)
        solver.net.backend.synchronize()
        return (time.perf_counter() - began) / STEPS

    plain = min(run() for _ in range(3))
    with tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
            run()
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    return [event for event in events if event.get("cat") in KINDS], plain


def table(
    title: str, events: Sequence[dict[str, Any]], step: float, own: Sequence[str]
) -> str:
    """Return the kernels of a net, the longest first; microseconds of a step."""
    spent: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for event in events:
        spent[event["name"]] += event["dur"] / STEPS
        count[event["name"]] += 1
    total = sum(spent.values())
    ours = sum(spent[name] for name in spent if name in own)
    first = f"{title}: a step takes {1e6 * step:.0f} us; "
    first += f"kernels {total:.0f} us together ({len(events) / STEPS:.0f} launches)"
    lines = [
        f"{first}, own ones {ours:.0f} us",
        f"{'us':>10}{'share':>8}{'calls':>8}  kernel",
    ]
    for name in sorted(spent, key=lambda name: -spent[name])[:SHOWN]:
        share = spent[name] / total
        mark = "*" if name in own else " "
        calls = count[name] / STEPS
        lines.append(
            f"{spent[name]:>10.1f}{share:>8.1%}{calls:>8.0f} {mark}{name[:90]}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Which kernels take the time.")
    parser.add_argument("configurations", nargs="*", default=["resnet50/32/tf32"])
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--out", type=Path, help="also into this file")
    parser.add_argument("--only-train", action="store_true", help="for other tools")
    options = parser.parse_args()
    titles, bad = [], 0
    for configuration in options.configurations:
        try:
            solver = solver_of(configuration, options.backend)
            if options.only_train:
                continue
            events, step = trace(solver)
        except Exception as error:
            bad += 1
            print(f"FAIL {configuration}: {type(error).__name__}: {error}", flush=True)
            continue
        if not events:
            bad += 1
            print(f"FAIL {configuration}: no kernels were seen", flush=True)
            continue
        text = table(configuration, events, step, own_names())
        print(text, flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(text + "\n\n")
        titles.append(text.splitlines()[0])
        solver.close()
        del solver
    print("; ".join(titles) or "nothing was traced")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
