"""Our speed beside that of PyTorch, ONNX Runtime and OpenVINO: `benchmarks/compare.py`.

Training steps (SGD with momentum and weight decay) and inference of the same nets with
the same parameters, in one process, taking turns (`turns.py`). What both compute is
compared first: the loss with dropout off, the outputs of inference. `--cpu` counts the
work of one thread in place of the time that passes, which other load hardly changes.
Peak memory is that of a process of its own that only trains. The last column is in
relation to the fastest matrix product that was seen in this run.

    python benchmarks/compare.py [--train NET ...] [--use NET:BATCH ...]
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import nets
import numpy as np
import peers
from tables import markdown, write_into
from turns import Clock, Run, Turns, processor, take_turns
from values import SEED, fill_inputs, give, trained_values

import netspec
import runtime
from netspec.schema import NetParameter, SolverParameter

TRAINED = [*nets.MODELS, "mobilenet", "mobilenet_v2", "chain"]
MEASURED = ("googlenet", "resnet50", "mobilenet", "mobilenet_v2", "squeezenet", "vgg16")
USED = [f"{name}:{batch}" for name in MEASURED for batch in (1, 16)]
USED.remove("vgg16:16")  # which takes minutes
LOSS_TOLERANCE = 1e-3
OUTPUT_TOLERANCE = 1e-3  # of the largest value


def solver_of(net: NetParameter, backend: str = "numpy") -> runtime.Solver:
    """Return a solver of a net whose inputs are filled."""
    param = SolverParameter(
        net_param=net,
        base_lr=1e-4,
        momentum=0.9,
        weight_decay=5e-4,
        lr_policy="fixed",
        max_iter=10**6,
    )
    solver = runtime.get_solver(param, seed=SEED, keep=(), backend=backend)
    fill_inputs(solver.net)
    return solver


def without_dropout(net: NetParameter) -> NetParameter:
    """Return a copy whose dropout drops nothing."""
    copy = NetParameter.FromString(net.SerializeToString())
    for layer in copy.layer:
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = 0
    return copy


def gemm_peak() -> float:
    """Return the GFLOP/s of the fastest matrix product: of PyTorch, or of ours."""
    import torch

    rows, depth, height = 1024, 1024, 48
    a, b = torch.randn(rows, depth), torch.randn(depth, height**2)
    net = runtime.Net(
        f"""layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{
                     dim: 1 dim: {depth} dim: {height} dim: {height} }} }} }}
            layer {{ name: "y" type: "Convolution" bottom: "x" top: "y"
                     convolution_param {{ num_output: {rows} kernel_size: 1 }} }}"""
    )
    runs: tuple[Run, ...] = (lambda: a @ b, net.forward)
    best = min(_timed(run) for run in runs for _ in range(20))
    return 2 * rows * depth * height**2 / best / 1e9


def _timed(run: Run) -> float:
    before = time.perf_counter()
    run()
    return time.perf_counter() - before


def flops(net: runtime.Net, *, train: bool) -> float:
    """Return the operations of the matrix products of a step or of a forward pass."""
    total = 0
    for node in net.graph.nodes:
        products = 1
        if train and node.backward:
            products += sum(node.propagate[:1]) + bool(node.learn and node.learn[0])
        total += 2 * node.op.macs * products
    return total


def compare_training(name: str, options: argparse.Namespace, peak: float) -> list[str]:
    """Measure the training step of one net and return its row."""
    net = nets.train_net(name)
    check_losses(name, net)
    solver = solver_of(net)
    runs: dict[str, Run] = {"ours": lambda: solver.step(1)}
    images = any(len(solver.net.blobs[x].shape) == 4 for x in solver.net.inputs)
    for peer in options.torch:
        settings = peers.CONFIGURATIONS[peer]
        if settings["channels_last"] and not images:
            continue
        run = peers.torch_step(solver.net, **settings)
        if peers.works(run, f"{name}: {peer}"):
            runs[peer] = run
    turns = take_turns(runs, options.seconds, options.clock)
    batch = solver.net.blobs[solver.net.inputs[0]].shape[0]
    return _row(f"{name}, {batch}", turns, flops(solver.net, train=True), peak)


def compare_use(what: str, options: argparse.Namespace, peak: float) -> list[str]:
    """Measure the inference of one net and return its row."""
    name, _, batch = what.partition(":")
    param = nets.deploy_net(name, int(batch or 1))
    net = runtime.Net(param, runtime.TEST, keep=(), seed=SEED)
    give(net, trained_values(param))
    fill_inputs(net)
    runs: dict[str, Run] = {"ours": net.forward}
    for peer in options.torch:
        runs[peer] = peers.torch_use(net, **peers.CONFIGURATIONS[peer])
    file = peers.onnx_file(net, param)
    x = np.array(net.blobs[net.inputs[0]].data)
    for peer in options.engines:
        runs[peer] = peers.engine_use(peer, file, x, options.threads)
    output = np.array(next(iter(net.forward().values())))
    for peer in [one for one in runs if one != "ours"]:
        if not peers.works(runs[peer], f"{name}: {peer}"):
            del runs[peer]
            continue
        check_output(f"{name}: {peer}", output, np.asarray(runs[peer]()))
    turns = take_turns(runs, options.seconds, options.clock)
    return _row(f"{name}, {batch or 1}", turns, flops(net, train=False), peak)


def check_losses(name: str, net: NetParameter) -> None:
    """Compare the loss of one forward pass of both; ends where they differ."""
    solver = solver_of(without_dropout(net))
    theirs = peers.torch_step(solver.net, channels_last=False, compiled=False)()
    solver.net.forward_steps()
    ours = solver.net.loss()
    if abs(ours - theirs) > LOSS_TOLERANCE * max(abs(ours), 1):
        raise SystemExit(f"{name}: our loss is {ours}, PyTorch's {theirs}")


def check_output(what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare outputs; ends where they differ by more than rounding."""
    apart = np.abs(ours - theirs.reshape(ours.shape)).max()
    if not apart <= OUTPUT_TOLERANCE * np.abs(ours).max():
        raise SystemExit(f"{what}: the outputs differ by {apart}")


def _row(name: str, turns: Turns, operations: float, peak: float) -> list[str]:
    sides = turns.sides
    shown = [*peers.CONFIGURATIONS, *peers.ENGINES]
    best = peers.fastest(sides)
    low, high = turns.quartiles(best, "ours")
    row = [
        name,
        f"{1000 * sides['ours'].median:.2f}",
        *(f"{1000 * sides[x].median:.2f}" if x in sides else "" for x in shown),
        f"**{turns.ratio(best, 'ours'):.2f}**",
        f"{low:.2f} to {high:.2f}",
        "" if turns.others is None else f"{turns.others:.0%}",
        f"{operations / sides['ours'].median / 1e9 / peak:.0%}",
    ]
    print(f"| {' | '.join(row)} |", flush=True)
    gc.collect()
    return row


def memory_row(name: str, options: argparse.Namespace) -> list[str]:
    """Measure the peak memory of processes that train one net; return their row."""
    sides = ["ours", *options.torch]
    sizes = {side: peak_memory(name, side) for side in sides}
    solver = solver_of(nets.train_net(name))
    used = solver.net.plan.memory["arena_bytes"] + 3 * solver.net.flat.data.nbytes
    said = netspec.summarize(nets.train_net(name), phase=netspec.TRAIN).memory["total"]
    best = min(sizes[side] for side in options.torch)
    row = [
        name,
        *(
            f"{sizes[side]:.0f}" if side in sizes else ""
            for side in ("ours", *peers.CONFIGURATIONS)
        ),
        f"{sizes['ours'] / best:.2f}",
        f"{used / 2**20:.0f}",
        f"{said / 2**20:.0f}",
    ]
    print(f"| {' | '.join(row)} |", flush=True)
    return row


def peak_memory(name: str, side: str) -> float:
    """Return the peak MiB of a process that trains one net for three steps."""
    command = [sys.executable, __file__, "--peak-memory-of", name, side]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def print_peak_memory(name: str, side: str) -> None:
    """Train one net for three steps and print the peak memory of this process."""
    if side == "ours":
        solver_of(nets.train_net(name)).step(3)
    else:  # what is compiled for us must not count for them
        solver = solver_of(nets.train_net(name), backend="portable")
        run = peers.torch_step(solver.net, **peers.CONFIGURATIONS[side])
        del solver
        gc.collect()
        for _ in range(3):
            run()
    print(nets.peak_mib())


def tables(options: argparse.Namespace) -> list[str]:
    """Measure everything that is asked for, and return a table of each kind."""
    peak = gemm_peak()
    how = "processor milliseconds of one thread" if options.cpu else "milliseconds"
    machine = f"{date.today()}, {processor()}, {options.threads} threads"
    fastest = f"the fastest matrix product: {peak:.0f} GFLOP/s"
    parts = [f"{machine}, {peers.versions()}; {how}; {fastest}."]
    print(parts[0], flush=True)
    shown = ["ours", *peers.CONFIGURATIONS, *peers.ENGINES]
    ends = ["ratio", "its quartiles", "others", "of GEMM"]
    if options.train:
        rows = [compare_training(name, options, peak) for name in options.train]
        parts.append(markdown(["training step: net, batch", *shown, *ends], rows))
    if options.use:
        rows = [compare_use(what, options, peak) for what in options.use]
        parts.append(markdown(["inference: net, batch", *shown, *ends], rows))
        ratios = [float(row[-4].strip("*")) for row in rows]
        mean = float(np.exp(np.mean(np.log(ratios))))
        parts.append(f"Geometric mean of these ratios: {mean:.2f}.")
    if options.memory:
        rows = [memory_row(name, options) for name in options.memory]
        heads = ["ours", *peers.CONFIGURATIONS, "ratio", "net alone", "forecast"]
        parts.append(markdown(["peak MiB of training", *heads], rows))
    return parts


def command() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(description="Our speed beside that of others.")
    add = parser.add_argument
    add("--train", nargs="*", default=TRAINED, help="nets to train")
    add("--use", nargs="*", default=USED, help="nets for inference, as NAME:BATCH")
    add("--memory", nargs="*", default=[], help="nets for peak memory")
    add("--seconds", type=float, default=12, help="for each row, at least")
    add(
        "--torch",
        nargs="*",
        choices=peers.CONFIGURATIONS,
        default=["PyTorch", "PyTorch channels_last"],
        help="configurations of PyTorch",
    )
    add("--engines", nargs="*", choices=peers.ENGINES, default=list(peers.ENGINES))
    add("--cpu", action="store_true", help="processor time of one thread")
    add("--peak-memory-of", nargs=2, help=argparse.SUPPRESS)
    add("--write", type=Path, help="write the tables into this file")
    add("--name", default="measured", help="of the place in that file")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options: Any = command().parse_args(arguments)
    if options.peak_memory_of:
        print_peak_memory(*options.peak_memory_of)
        return
    options.threads = 1 if options.cpu else os.cpu_count() or 1
    clock: Clock = time.process_time if options.cpu else time.perf_counter
    options.clock = clock
    peers.use_threads(options.threads)
    parts = tables(options)
    if options.write:
        write_into(options.write, "\n\n".join(parts), options.name)


if __name__ == "__main__":
    main()
