"""What writing a net costs: `python benchmarks/language.py [--write FILE]`.

Nets of 10 to 10,000 inception modules (six convolutions, six ReLU layers, a pooling and
a concatenation each): milliseconds to call the functions, to make the message, and to
print it as text; the median of three. The time for a module should not depend on how
many there are.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tables import write_into

from netspec import NetSpec, Top, defaults, module
from netspec import layers as L
from netspec.text import to_text

SIZES = (10, 100, 1_000, 10_000)
WIDTHS = (64, 96, 128, 16, 32, 32)
REPEATS = 3


def conv(x: Top, width: int, size: int, name: str) -> Top:
    """Return a convolution and its ReLU."""
    x = L.Convolution(x, num_output=width, kernel_size=size, pad=size // 2, name=name)
    return L.ReLU(x, in_place=True, name=f"relu_{name}")  # type: ignore[no-any-return]


@module
def inception(x: Top, a: int, b: int, c: int, d: int, e: int, f: int) -> Top:
    """Return four towers over one input, side by side."""
    pool = L.Pooling(x, pool="MAX", kernel_size=3, stride=1, pad=1, name="pool")
    towers = (
        conv(x, a, 1, "1x1"),
        conv(conv(x, b, 1, "3x3_reduce"), c, 3, "3x3"),
        conv(conv(x, d, 1, "5x5_reduce"), e, 5, "5x5"),
        conv(pool, f, 1, "pool_proj"),
    )
    return L.Concat(*towers, name="output")  # type: ignore[no-any-return]


def written(modules: int) -> NetSpec:
    """Return a chain of inception modules."""
    n = NetSpec()
    x = n.data = L.Input(shape=[1, 64, 28, 28])
    with defaults(L.Convolution, weight_filler="xavier", bias_filler=0.2):
        for index in range(modules):
            x = n[f"inception{index}"] = inception(x, *WIDTHS)
    return n


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the median seconds of a run, and what it returns."""
    times = []
    for _ in range(REPEATS):
        gc.collect()
        begun = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), result


def row(modules: int) -> str:
    """Return the row of one size."""
    build, spec = timed(lambda: written(modules))
    emit, net = timed(spec.to_proto)
    text, _ = timed(lambda: to_text(net))
    each = 1000 * (build + emit + text) / modules
    cells = (1000 * build, 1000 * emit, 1000 * text)
    shown = " | ".join(f"{value:,.0f}" for value in cells)
    return f"| {modules:,} | {len(net.layer):,} | {shown} | {each:.2f} |"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="What writing a net costs.")
    parser.add_argument("--write", type=Path, help="write the table into this file")
    options = parser.parse_args()
    heads = "| modules | layers | calls, ms | message, ms | text, ms | ms a module |"
    lines = [heads, "| ---: | ---: | ---: | ---: | ---: | ---: |"]
    for modules in SIZES:
        lines.append(row(modules))
        print(lines[-1], flush=True)
    if options.write:
        write_into(options.write, "\n".join(lines))


if __name__ == "__main__":
    main()
