"""Layers that wait for memory, beside PyTorch: `benchmarks/elementwise.py`.

A layer of each type by itself, forward and backward, on blobs of a large and a small
shape. Each side runs once in every turn; medians of all turns. `--cpu` counts the work
of one thread in place of the time that passes, which other load hardly changes.
`--portable` times the portable kernels too.

    python benchmarks/elementwise.py [--only TYPE ...] [--shape 32x64x56x56] [--cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tables import markdown

import runtime
from runtime.backends.cpu import CpuBackend
from runtime.layers.base import Kernel

SHAPES = ("32x64x56x56", "4x16")
TURN_S = (
    2e-3  # least time of a turn of one side, which small layers fill with many runs
)
LEAST_TURNS = 5
Run = Callable[[], Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A layer, and the same in PyTorch.

    layer: its text but for bottoms and tops. other: takes torch, the bottoms and the
    parameters. bottoms: of a shape, those of all bottoms. values: makes what a bottom
    holds of its index and shape.
    """

    layer: str
    other: Callable[..., Any] | None
    bottoms: Callable[[Shape], Sequence[Shape]] = lambda shape: [shape]
    values: Callable[[int, Shape], np.ndarray] | None = None
    top: str = "y"


def normal(index: int, shape: Shape) -> np.ndarray:
    """Return normal numbers."""
    return np.random.default_rng(index).standard_normal(shape).astype(np.float32)


def positive(index: int, shape: Shape) -> np.ndarray:
    """Return numbers from 1/2 on."""
    return np.abs(normal(index, shape)) + np.float32(0.5)


def share(index: int, shape: Shape) -> np.ndarray:
    """Return normal numbers, and targets from 0 to 1."""
    values = normal(index, shape)
    return values if index == 0 else (values > 0).astype(np.float32)


def labelled(index: int, shape: Shape) -> np.ndarray:
    """Return normal numbers, and labels that are one of two classes."""
    return share(index, shape)


def pair(shape: Shape) -> list[Shape]:
    """Return two bottoms of a shape."""
    return [shape, shape]


def with_labels(shape: Shape) -> list[Shape]:
    """Return scores and a label for every place."""
    return [shape, (shape[0], 1, *shape[2:])]


CASES: Mapping[str, Case] = {
    "ReLU": Case('type: "ReLU"', lambda t, x: t.relu(x)),
    "ReLU, leaky": Case(
        'type: "ReLU" relu_param { negative_slope: 0.1 }',
        lambda t, x: t.nn.functional.leaky_relu(x, 0.1),
    ),
    "ReLU6": Case('type: "ReLU6"', lambda t, x: t.nn.functional.relu6(x)),
    "Sigmoid": Case('type: "Sigmoid"', lambda t, x: t.sigmoid(x)),
    "TanH": Case('type: "TanH"', lambda t, x: t.tanh(x)),
    "ELU": Case('type: "ELU"', lambda t, x: t.nn.functional.elu(x)),
    "SeLu": Case('type: "SeLu"', lambda t, x: t.selu(x)),
    "PReLU": Case('type: "PReLU"', lambda t, x, a: t.nn.functional.prelu(x, a)),
    "BNLL": Case('type: "BNLL"', lambda t, x: t.nn.functional.softplus(x)),
    "Swish": Case('type: "Swish"', lambda t, x: t.nn.functional.silu(x)),
    "AbsVal": Case('type: "AbsVal"', lambda t, x: t.abs(x)),
    "Clip": Case(
        'type: "Clip" clip_param { min: -1 max: 1 }', lambda t, x: t.clamp(x, -1, 1)
    ),
    "Threshold": Case('type: "Threshold"', lambda t, x: (x > 0).float()),
    "Exp": Case('type: "Exp"', lambda t, x: t.exp(x)),
    "Log": Case('type: "Log"', lambda t, x: t.log(x), values=positive),
    "Power 2": Case('type: "Power" power_param { power: 2 }', lambda t, x: x**2),
    "Power 0.5": Case(
        'type: "Power" power_param { power: 0.5 }', lambda t, x: x**0.5, values=positive
    ),
    "Power 1.7": Case(
        'type: "Power" power_param { power: 1.7 }', lambda t, x: x**1.7, values=positive
    ),
    "Eltwise SUM": Case('type: "Eltwise"', lambda t, a, b: a + b, pair),
    "Eltwise PROD": Case(
        'type: "Eltwise" eltwise_param { operation: PROD }', lambda t, a, b: a * b, pair
    ),
    "Eltwise MAX": Case(
        'type: "Eltwise" eltwise_param { operation: MAX }',
        lambda t, a, b: t.maximum(a, b),
        pair,
    ),
    "Softmax, axis 1": Case('type: "Softmax"', lambda t, x: t.softmax(x, 1)),
    "Softmax, last axis": Case(
        'type: "Softmax" softmax_param { axis: -1 }', lambda t, x: t.softmax(x, -1)
    ),
    "ArgMax, axis 1": Case(
        'type: "ArgMax" argmax_param { axis: 1 }', lambda t, x: t.argmax(x, 1)
    ),
    "Reduction SUM": Case(
        'type: "Reduction" reduction_param { axis: 1 }',
        lambda t, x: x.flatten(1).sum(1),
    ),
    "Reduction ASUM": Case(
        'type: "Reduction" reduction_param { axis: 1 operation: ASUM }',
        lambda t, x: x.flatten(1).abs().sum(1),
    ),
    "Reduction SUMSQ": Case(
        'type: "Reduction" reduction_param { axis: 1 operation: SUMSQ }',
        lambda t, x: x.flatten(1).square().sum(1),
    ),
    "SoftmaxWithLoss": Case(
        'type: "SoftmaxWithLoss"',
        lambda t, x, y: t.nn.functional.cross_entropy(x, y.squeeze(1).long()),
        with_labels,
        labelled,
        "loss",
    ),
    "SigmoidCrossEntropyLoss": Case(
        'type: "SigmoidCrossEntropyLoss"',
        lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(x, y),
        pair,
        share,
        "loss",
    ),
    "EuclideanLoss": Case(
        'type: "EuclideanLoss"',
        lambda t, a, b: t.nn.functional.mse_loss(a, b),
        pair,
        top="loss",
    ),
    "SmoothL1Loss": Case(
        'type: "SmoothL1Loss"',
        lambda t, a, b: t.nn.functional.smooth_l1_loss(a, b),
        pair,
        top="loss",
    ),
    "MVN": Case('type: "MVN"', lambda t, x: t.nn.functional.instance_norm(x)),
    "Normalize": Case(
        'type: "Normalize" norm_param { across_spatial: false }',
        lambda t, x, a: a.reshape(-1, 1, 1) * t.nn.functional.normalize(x, dim=1),
    ),
    "Tile": Case('type: "Tile" tile_param { tiles: 2 }', lambda t, x: t.cat([x, x], 1)),
    "Permute": Case(
        'type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }',
        lambda t, x: x.permute(0, 2, 3, 1).contiguous(),
    ),
    "Crop": Case(
        'type: "Crop" crop_param { axis: 2 offset: 1 }',
        lambda t, x, _: x[:, :, 1:-1, 1:-1].contiguous(),
        lambda shape: [shape, (*shape[:2], shape[2] - 2, shape[3] - 2)],
    ),
}


def layer_net(case: Case, shapes: Sequence[Shape]) -> str:
    """Return the text of a net of inputs and a layer."""
    text = "force_backward: true "
    for index, shape in enumerate(shapes):
        dims = " ".join(f"dim: {size}" for size in shape)
        text += (
            f'layer {{ name: "x{index}" type: "Input" top: "x{index}" '
            f"input_param {{ shape {{ {dims} }} }} }} "
        )
    bottoms = " ".join(f'bottom: "x{index}"' for index in range(len(shapes)))
    text += f'layer {{ name: "layer" {case.layer} {bottoms} top: "{case.top}" }}'
    return text


def our_runs(net: runtime.Net, values: Sequence[np.ndarray]) -> dict[str, Run]:
    """Return the passes of a layer."""
    for index, value in enumerate(values):
        net.blobs[f"x{index}"].data[...] = value
    kernel: Kernel[Any] = net.plan.kernels[-1]
    runs: dict[str, Run] = {"forward": kernel.forward}
    kernel.forward()
    if any(one is not None for one in (*kernel.dbottoms, *kernel.dparams)):
        kernel.dy[...] = 1
        flags = (False,) * len(kernel.params)
        runs["backward"] = lambda: kernel.backward(flags)
    return runs


def torch_runs(case: Case, net: runtime.Net, values: Sequence[Any]) -> dict[str, Run]:
    """Return the passes of the same in PyTorch."""
    import torch

    kernel: Kernel[Any] = net.plan.kernels[-1]
    learned = [torch.tensor(one.copy(), requires_grad=True) for one in kernel.params]
    x = [torch.tensor(value) for value in values]
    for one, gradient in zip(x, kernel.dbottoms, strict=True):
        one.requires_grad_(gradient is not None)
    leaves = [one for one in (*x, *learned) if one.requires_grad]
    compute: Any = case.other
    runs: dict[str, Run] = {"forward": lambda: compute(torch, *x, *learned)}
    y = compute(torch, *x, *learned)
    if leaves and y.requires_grad:
        dy = torch.ones_like(y)
        runs["backward"] = lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)
    return runs


def medians(
    runs: Mapping[str, Run], seconds: float, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of each, which take turns."""
    many = {}
    for name, run in runs.items():
        run()
        begun = time.perf_counter()
        run()
        took = max(1e-7, time.perf_counter() - begun)
        many[name] = max(1, round(TURN_S / took))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    turns = 0
    while turns < LEAST_TURNS or time.perf_counter() < end:
        for name, run in runs.items():
            run()
            begun = clock()
            for _ in range(many[name]):
                run()
            taken[name].append((clock() - begun) / many[name])
        turns += 1
    return {name: statistics.median(all_taken) for name, all_taken in taken.items()}


def measure(
    name: str, shape: Shape, options: argparse.Namespace, clock: Callable[[], float]
) -> list[list[str]]:
    """Return the rows of a layer."""
    case = CASES[name]
    make = case.values or normal
    shapes = [tuple(one) for one in case.bottoms(shape)]
    values = [make(index, one) for index, one in enumerate(shapes)]
    param = layer_net(case, shapes)
    net = runtime.Net(param, runtime.TRAIN, seed=1)
    sides = {"ours": our_runs(net, values)}
    if options.portable:
        slow = runtime.Net(param, runtime.TRAIN, seed=1, backend="portable")
        sides["portable"] = our_runs(slow, values)
    if case.other is not None and not options.alone:
        sides["PyTorch"] = torch_runs(case, net, values)
    rows = []
    for direction in ("forward", "backward"):
        runs = {
            who: side[direction] for who, side in sides.items() if direction in side
        }
        if "ours" not in runs:
            continue
        found = medians(runs, options.seconds, clock)
        ours = found["ours"]
        row = [f"{name}, {direction}", f"{1e3 * ours:.4f}"]
        for who in ("portable", "PyTorch"):
            known = who in found
            row.append(f"{1e3 * found[who]:.4f}" if known else "")
            row.append(f"**{found[who] / ours:.2f}**" if known else "")
        print(*row, flush=True)
        rows.append(row)
    return rows


def _threads() -> int:
    """Return how many threads run compiled kernels."""
    return CpuBackend().threads


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, or some, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="TYPE")
    parser.add_argument("--shape", nargs="+", default=SHAPES)
    parser.add_argument("--seconds", type=float, default=0.3, help="of every pass")
    parser.add_argument("--cpu", action="store_true", help="one thread's work")
    parser.add_argument("--portable", action="store_true", help="those kernels too")
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    options = parser.parse_args(arguments)
    if not options.alone:
        import torch

        torch.set_num_threads(_threads())
    clock = time.process_time if options.cpu else time.perf_counter
    heads = ["layer, pass", "ours, ms", "portable, ms", "ratio", "PyTorch, ms", "ratio"]
    for text in options.shape:
        shape = tuple(int(size) for size in text.split("x"))
        rows: list[list[str]] = []
        for name in options.only or CASES:
            if name in ("MVN", "Normalize", "Permute", "Crop") and len(shape) < 4:
                continue
            rows += measure(name, shape, options, clock)
        print(f"\n{text}\n\n{markdown(heads, rows)}\n")


if __name__ == "__main__":
    main()
