"""What looking at a net costs: `python benchmarks/large_nets.py [--write FILE]`.

Seconds of a processor, which other work on the machine hardly lengthens, to load a net
from text, to write it as Python, to summarize it, and to draw it as SVG and as a page,
for nets of four kinds and growing size:

residual
: bottleneck blocks in a chain, as in ResNet-269, whose names have no modules;
inception
: modules of six convolutions side by side, as in GoogLeNet, with names in modules;
dense
: layers that each read all before them, one Concat a layer, as in DenseNet; its lines,
  of which each passes all layers below, grow with the square of the layers;
varied
: a chain in which no two layers are alike, so that nothing is repeated.

The time for a layer should not depend on how many there are.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tables import write_into

import netspec
from netspec import NetSpec, Top
from netspec import layers as L
from netspec.draw.scene import draw, draw_html
from netspec.summary import summarize
from netspec.text import to_text

SIZES = (1_000, 3_000, 10_000)
DENSE_SIZES = (100, 300, 500)


def residual(layers: int) -> NetSpec:
    """Return bottleneck blocks of eleven layers in a chain."""
    n = NetSpec("residual")
    x = n.data = L.Input(shape=[1, 16, 28, 28])
    for block in range(layers // 11):
        y = x
        for letter, size in ("a", 1), ("b", 3), ("c", 1):
            name = f"{block}_branch2{letter}"
            y = n[f"res{name}"] = L.Convolution(
                y, num_output=16, kernel_size=size, pad=size // 2, bias_term=False
            )
            y = n[f"bn{name}"] = L.BatchNorm(y, in_place=True)
            y = n[f"scale{name}"] = L.Scale(y, bias_term=True, in_place=True)
        x = n[f"res{block}"] = L.Eltwise(x, y)
        x = n[f"res{block}_relu"] = L.ReLU(x, in_place=True)
    return n


def inception(layers: int) -> NetSpec:
    """Return modules of fourteen layers in a chain."""
    n = NetSpec("inception")
    x = n.data = L.Input(shape=[1, 64, 28, 28])
    for number in range(layers // 14):
        path = f"inception_{number}"

        def conv(x: Top, width: int, size: int, name: str, path: str = path) -> Top:
            y = n[f"{path}/{name}"] = L.Convolution(
                x, num_output=width, kernel_size=size, pad=size // 2
            )
            relu: Top = L.ReLU(y, in_place=True)
            n[f"{path}/relu_{name}"] = relu
            return relu

        pool = n[f"{path}/pool"] = L.Pooling(x, kernel_size=3, stride=1, pad=1)
        x = n[f"{path}/output"] = L.Concat(
            conv(x, 16, 1, "1x1"),
            conv(conv(x, 8, 1, "3x3_reduce"), 32, 3, "3x3"),
            conv(conv(x, 4, 1, "5x5_reduce"), 8, 5, "5x5"),
            conv(pool, 8, 1, "pool_proj"),
        )
    return n


def dense(layers: int) -> NetSpec:
    """Return layers of which each reads all before it."""
    n = NetSpec("dense")
    x = n.data = L.Input(shape=[1, 12, 28, 28])
    read = [x]
    for number in range(layers // 3):
        y = n[f"relu{number}"] = L.ReLU(x)
        y = n[f"conv{number}"] = L.Convolution(y, num_output=12, kernel_size=3, pad=1)
        read.append(y)
        x = n[f"concat{number}"] = L.Concat(*read)
    return n


def varied(layers: int) -> NetSpec:
    """Return a chain of layers that all differ."""
    n = NetSpec("varied")
    x = n.data = L.Input(shape=[1, 8, 32, 32])
    for number in range(layers):
        step = number * number % 997  # in no order that repeats soon
        if step % 3 == 0:
            x = n[f"power{step}_{number}"] = L.Power(x, scale=number + 1.5)
        elif step % 3 == 1:
            x = n[f"leak{number}_{step}"] = L.ReLU(x, negative_slope=number / 50_000)
        else:
            x = n[f"conv_{step}x{number}"] = L.Convolution(
                x, num_output=number % 16 + 1, kernel_size=1, bias_term=step % 2 == 0
            )
    return n


KINDS = {
    "residual": (residual, SIZES),
    "inception": (inception, SIZES),
    "varied": (varied, SIZES),
    "dense": (dense, DENSE_SIZES),
}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor's seconds of a run, and what it returns."""
    gc.collect()
    begun = time.process_time()
    result = run()
    return time.process_time() - begun, result


def row(kind: str, size: int) -> str:
    """Return the row of one net."""
    net = KINDS[kind][0](size).to_proto()
    text = to_text(net)
    load, spec = timed(lambda: netspec.load(text))
    python, _ = timed(spec.to_python)
    summary, _ = timed(lambda: summarize(net))
    svg, _ = timed(lambda: draw(text))
    html, _ = timed(lambda: draw_html(text))
    times = (load, python, summary, svg, html)
    cells = " | ".join(f"{seconds:.2f}" for seconds in times)
    each = 1000 * sum(times) / len(net.layer)
    return f"| {kind} | {len(net.layer):,} | {cells} | {each:.2f} |"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="What looking at a net costs.")
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help="default: all")
    parser.add_argument("--write", type=Path, help="write the table into this file")
    options = parser.parse_args()
    heads = "| net | layers | load, s | Python, s | summary, s | SVG, s | page, s |"
    lines = [f"{heads} all, ms a layer |", f"| --- | {' | '.join(['---:'] * 7)} |"]
    for kind in options.kinds:
        for size in KINDS[kind][1]:
            lines.append(row(kind, size))
            print(lines[-1], flush=True)
    if options.write:
        write_into(options.write, "\n".join(lines))


if __name__ == "__main__":
    main()
