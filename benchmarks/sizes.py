"""What images of different sizes cost: `python benchmarks/sizes.py [--torch]`.

Training steps with batch 1 of a fully convolutional net (five convolutions of 3 x 3
with two poolings, scores by 1 x 1, enlarged by a deconvolution, cropped, and a loss for
every pixel) over a set of images of several sizes, milliseconds an image:

    fixed   steps of the same size one after another: nothing changes
    first   the first turn through the set, in which every size is new
    later   further turns: every step has another size than the one before

of nets that keep plans, and of one that makes a plan anew at every change; with the
memory of the blobs and tables of all plans, that of the largest alone, and what a
change to a size that was seen before takes by itself. With --torch, the same net in
PyTorch, eager mode, taking turns with ours.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec import params as P

CLASSES = 21
WIDTHS = (32, 64, 128)
RATE, MOMENTUM = 1e-3, 0.9
MILLISECONDS, MICROSECONDS = 1e3, 1e6
MIB = 2**20
SEED = 1

Step = Callable[[int], float]  # of the image of a number; returns the loss


def sizes_of(number: int, least: int, most: int) -> list[tuple[int, int]]:
    """Return different sizes, by chance."""
    rng = np.random.default_rng(SEED)
    found: dict[tuple[int, int], None] = {}
    while len(found) < number:
        height, width = rng.integers(least, most + 1, 2)
        found[int(height), int(width)] = None
    return list(found)


def images_of(sizes: Sequence[tuple[int, int]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return an image and the classes of its pixels for every size."""
    rng = np.random.default_rng(SEED)
    return [
        (
            rng.normal(size=(1, 3, *size)).astype(np.float32),
            rng.integers(0, CLASSES, (1, 1, *size)).astype(np.float32),
        )
        for size in sizes
    ]


def net_of(size: tuple[int, int]) -> NetSpec:
    """Return the net, for images of a size."""
    n = NetSpec("sizes")
    data = x = n.data = L.Input(shape=[1, 3, *size])
    label = n.label = L.Input(shape=[1, 1, *size])
    window: dict[str, Any] = dict(kernel_size=3, pad=1, weight_filler="msra")
    for stage, width in enumerate(WIDTHS):
        for number in range(1 if stage == 0 else 2):
            x = L.Convolution(x, num_output=width, **window)
            n[f"conv{stage}_{number}"] = x
            n[f"relu{stage}_{number}"] = x = L.ReLU(x, in_place=True)
        if stage < len(WIDTHS) - 1:
            x = L.Pooling(x, pool=P.Pooling.MAX, kernel_size=2, stride=2)
            n[f"pool{stage}"] = x
    score = L.Convolution(x, kernel_size=1, num_output=CLASSES, weight_filler="msra")
    n.score = score
    up: dict[str, Any] = dict(kernel_size=8, stride=4, weight_filler="msra")
    large = n.large = L.Deconvolution(score, num_output=CLASSES, **up)
    out = n.out = L.Crop(large, data, axis=2, offset=[2, 2])
    n.loss = L.SoftmaxWithLoss(out, label)
    return n


class Ours:
    """Training of the net by a solver of this project.

    plans: for how many sizes plans are kept.
    """

    def __init__(self, images: Sequence[Any], plans: int) -> None:
        self._images = images
        text = f"""
            net_param {{ {net_of(images[0][0].shape[2:]).to_proto()} }}
            base_lr: {RATE} momentum: {MOMENTUM} lr_policy: "fixed" random_seed: {SEED}
        """
        self.solver = runtime.get_solver(text, plans=plans, keep=())
        self.net = self.solver.net

    def step(self, number: int) -> float:
        """Train with an image."""
        data, label = self._images[number]
        for name, values in (("data", data), ("label", label)):
            self.net.blobs[name].reshape(*values.shape)
            self.net.blobs[name].data[...] = values
        self.solver.step(1)
        return self.solver.history.train[-1].loss

    def change(self) -> float:
        """Return how many microseconds a change to a size seen before takes."""
        taken = []
        for number in (*range(len(self._images)), 0):
            data, label = self._images[number]
            self.net.blobs["data"].reshape(*data.shape)
            self.net.blobs["label"].reshape(*label.shape)
            started = time.perf_counter()
            self.net.reshape()
            taken.append(MICROSECONDS * (time.perf_counter() - started))
        return statistics.median(taken)

    def mebibytes(self) -> tuple[float, float]:
        """Return the memory of the blobs of all plans, and of the largest alone."""
        plans = [plan for kept in self.net.plans for plan in kept.plans]
        largest = max(plan.memory["arena_bytes"] for plan in plans)
        tables = sum(plan.table_bytes for plan in plans)
        return (self.net.plans.shared.arenas.nbytes + tables) / MIB, largest / MIB


def torch_step(images: Sequence[Any]) -> Step:
    """Return a step of the same net in PyTorch."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    layers: list[nn.Module] = []
    channels = 3
    for stage, width in enumerate(WIDTHS):
        for _ in range(1 if stage == 0 else 2):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        if stage < len(WIDTHS) - 1:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    layers += [
        nn.Conv2d(channels, CLASSES, 1),
        nn.ConvTranspose2d(CLASSES, CLASSES, 8, 4),
    ]
    net = nn.Sequential(*layers)
    rule = torch.optim.SGD(net.parameters(), RATE, MOMENTUM)
    given = [
        (torch.from_numpy(data), torch.from_numpy(label[:, 0]).long())
        for data, label in images
    ]

    def step(number: int) -> float:
        data, label = given[number]
        height, width = data.shape[2:]
        rule.zero_grad()
        out = net(data)[:, :, 2 : 2 + height, 2 : 2 + width]
        loss = nn.functional.cross_entropy(out, label)
        loss.backward()
        rule.step()
        return float(loss.detach())

    return step


def turn(
    step: Step, images: int, clock: Callable[[], float], times: int = 1
) -> list[float]:
    """Return the milliseconds of every image in a turn through all; the best of many.

    times: how often each is taken, one time after the other; the first does not count
    if there are several.
    """
    taken = []
    for number in range(images):
        of_one = []
        for _ in range(times):
            started = clock()
            step(number)
            of_one.append(MILLISECONDS * (clock() - started))
        taken.append(min(of_one[1:] or of_one))
    return taken


def best(turns: Sequence[Sequence[float]]) -> float:
    """Return the mean over the images of the best time of each."""
    return statistics.fmean(min(of_one) for of_one in zip(*turns, strict=True))


def measured(
    steps: dict[str, Step], images: int, turns: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return the times of a turn, first and later, and of fixed sizes, by name."""
    first = {name: [turn(step, images, clock)] for name, step in steps.items()}
    later: dict[str, list[list[float]]] = {name: [] for name in steps}
    fixed: dict[str, list[list[float]]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            later[name].append(turn(step, images, clock))
            fixed[name].append(turn(step, images, clock, 2))
    return {
        name: [best(fixed[name]), best(first[name]), best(later[name])]
        for name in steps
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, default=20, help="how many; default 20")
    parser.add_argument("--least", type=int, default=120, help="pixels; default 120")
    parser.add_argument("--most", type=int, default=200, help="pixels; default 200")
    parser.add_argument("--turns", type=int, default=5, help="default 5")
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="time of processors, where other work runs; with one thread",
    )
    parser.add_argument("--torch", action="store_true", help="measure PyTorch too")
    options = parser.parse_args()
    images = images_of(sizes_of(options.sizes, options.least, options.most))
    warm = images_of([(options.least - 8, options.most + 8)])
    Ours(warm, 1).step(0)  # compiles kernels
    ours = Ours(images, options.sizes + 1)
    steps: dict[str, Step] = {"ours": ours.step, "anew": Ours(images, 1).step}
    if options.torch:
        torch_step(warm)(0)
        steps["PyTorch"] = torch_step(images)
    clock = time.process_time if options.cpu else time.perf_counter
    rows = measured(steps, len(images), options.turns, clock)
    print(f"{'ms an image':<12} {'fixed':>8} {'first':>8} {'later':>8}  later / fixed")
    for name, (fixed, first, later) in rows.items():
        times = f"{fixed:8.2f} {first:8.2f} {later:8.2f}"
        print(f"{name:<12} {times}  {later / fixed:.3f}")
    whole, largest = ours.mebibytes()
    print(f"memory: {whole:.1f} MiB, of the largest plan alone {largest:.1f} MiB")
    print(f"a change to a size seen before: {ours.change():.0f} us")


if __name__ == "__main__":
    main()
