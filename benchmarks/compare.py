"""Our speed beside PyTorch's: `python benchmarks/compare.py [NET ...] [--write FILE]`.

Training steps (SGD with momentum and weight decay) and inference of the same nets with
the same parameters, in the same process, taking turns; medians and their ratios. The
losses of both are compared first, with dropout off, so that the work is the same. Peak
memory is that of a process of its own that only trains. The last row tells the speed of
the processor: the fastest matrix product that was seen in this run.

Needs PyTorch (CPU), and ONNX Runtime with `onnx` for its column.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import nets
import numpy as np

import netspec
import runtime
from netspec.schema import NetParameter, SolverParameter

SEED = 1
TRAINED = [*nets.MODELS, "chain"]
CONFIGURATIONS = {
    "default": {"channels_last": False, "compiled": False},
    "channels_last": {"channels_last": True, "compiled": False},
    "compile": {"channels_last": False, "compiled": True},
}
PEERS = ["PyTorch", "PyTorch channels_last", "PyTorch compile"]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
USED = [(name, batch) for name in ("googlenet", "resnet50") for batch in (1, 16)]
PAUSE_SECONDS = 0.05  # lets the threads of the one before go to sleep
WARM_UP_SECONDS = 0.05
BURST_SECONDS = 0.2
LEAST_TURNS = 3
LOSS_TOLERANCE = 1e-3
Run = Callable[[], Any]


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


def fill_inputs(net: runtime.Net) -> None:
    """Fill images with normal numbers, and labels with classes from 0 to 9."""
    rng = np.random.default_rng(SEED)
    for name in net.inputs:
        blob = net.blobs[name]
        if len(blob.shape) == 1:
            blob.data[...] = rng.integers(10, size=blob.shape)
        else:
            blob.data[...] = rng.normal(size=blob.shape)


def without_dropout(net: NetParameter) -> NetParameter:
    """Return a copy whose dropout drops nothing."""
    copy = NetParameter.FromString(net.SerializeToString())
    for layer in copy.layer:
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = 0
    return copy


def torch_tensors(net: runtime.Net) -> list[Any]:
    """Return what the inputs of a net hold as tensors of PyTorch."""
    import torch

    return [torch.from_numpy(net.blobs[name].data.copy()) for name in net.inputs]


def torch_step(net: runtime.Net, *, channels_last: bool, compiled: bool) -> Run:
    """Return a training step of the same net in PyTorch."""
    import torch
    from torch_net import TorchNet

    module = TorchNet(net.graph, train=True)
    module.load(net)
    inputs = torch_tensors(net)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        inputs = [
            x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
            for x in inputs
        ]
    optimizer = torch.optim.SGD(
        module.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, fused=True
    )
    run = torch.compile(module) if compiled else module

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = run(*inputs)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def torch_use(net: runtime.Net, *, channels_last: bool, compiled: bool) -> Run:
    """Return an inference of the same net in PyTorch."""
    import torch
    from torch_net import TorchNet

    module = TorchNet(net.graph, train=False)
    module.load(net)
    inputs = torch_tensors(net)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        inputs = [x.to(memory_format=torch.channels_last) for x in inputs]
    run = torch.compile(module) if compiled else module

    def use() -> Any:
        with torch.inference_mode():
            return run(*inputs)

    return use


def onnx_use(net: runtime.Net) -> Run:
    """Return an inference of the same net in ONNX Runtime."""
    import onnxruntime
    import torch
    from torch_net import TorchNet

    module = TorchNet(net.graph, train=False)
    module.load(net)
    inputs = torch_tensors(net)
    file = io.BytesIO()
    torch.onnx.export(module, tuple(inputs), file, input_names=["data"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"data": inputs[0].numpy()}
    return lambda: session.run(None, feed)


def take_turns(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Return the median seconds of each.

    A turn is a burst of runs, as training is one run after the other; its first part
    brings caches, threads and the clock of the processor up and does not count.
    """
    for run in runs.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    started = time.perf_counter()
    turns = 0
    while turns < LEAST_TURNS or time.perf_counter() - started < seconds:
        for name, run in runs.items():
            time.sleep(PAUSE_SECONDS)
            times[name] += _burst(run)
        turns += 1
    return {name: statistics.median(values) for name, values in times.items()}


def _burst(run: Run) -> list[float]:
    begun = time.perf_counter()
    while time.perf_counter() - begun < WARM_UP_SECONDS:
        run()
    counted: list[float] = []
    begun = before = time.perf_counter()
    while before - begun < BURST_SECONDS or not counted:
        run()
        now = time.perf_counter()
        counted.append(now - before)
        before = now
    return counted


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


def compare_training(name: str, options: argparse.Namespace, peak: float) -> str:
    """Measure the training step of one net and return its row."""
    net = nets.train_net(name)
    check_losses(name, net)
    solver = solver_of(net)
    runs: dict[str, Run] = {"ours": lambda: solver.step(1)}
    images = any(len(solver.net.blobs[x].shape) == 4 for x in solver.net.inputs)
    for label, settings in CONFIGURATIONS.items():
        if label == "channels_last" and not images:
            continue
        run = torch_step(solver.net, **settings)
        if label in options.torch and _works(run, f"{name}: {label}"):
            runs[label] = run
    times = take_turns(runs, options.seconds)
    share = flops(solver.net, train=True) / times["ours"] / 1e9 / peak
    batch = solver.net.blobs[solver.net.inputs[0]].shape[0]
    return _row(f"{name}, {batch}", times, share)


def compare_use(name: str, batch: int, options: argparse.Namespace, peak: float) -> str:
    """Measure the inference of one net and return its row."""
    net = runtime.Net(nets.deploy_net(name, batch), runtime.TEST, keep=(), seed=SEED)
    fill_inputs(net)
    runs: dict[str, Run] = {"ours": net.forward}
    for label, settings in CONFIGURATIONS.items():
        run = torch_use(net, **settings)
        if label in options.torch and _works(run, f"{name}: {label}"):
            runs[label] = run
    if options.onnx:
        run = onnx_use(net)
        if _works(run, f"{name}: ONNX Runtime"):
            runs["ONNX Runtime"] = run
    times = take_turns(runs, options.seconds)
    share = flops(net, train=False) / times["ours"] / 1e9 / peak
    return _row(f"{name}, {batch}", times, share)


def check_losses(name: str, net: NetParameter) -> None:
    """Compare the loss of one forward pass of both; raises where they differ."""
    solver = solver_of(without_dropout(net))
    theirs = torch_step(solver.net, channels_last=False, compiled=False)()
    solver.net.forward_steps()
    ours = solver.net.loss()
    if abs(ours - theirs) > LOSS_TOLERANCE * max(abs(ours), 1):
        raise SystemExit(f"{name}: our loss is {ours}, PyTorch's {theirs}")


def _works(run: Run, what: str) -> bool:
    try:
        run()
    except Exception as error:  # whatever a compiler says
        first = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"{what} does not work: {first[:100]}", file=sys.stderr)
        return False
    return True


def _row(name: str, times: dict[str, float], share: float) -> str:
    ours = times["ours"]
    cells = [name, f"{1000 * ours:.2f}"]
    for key in (*CONFIGURATIONS, "ONNX Runtime"):
        cells.append(f"{1000 * times[key]:.2f}" if key in times else "")
    best = min((times[key] for key in CONFIGURATIONS if key in times), default=None)
    cells.append(f"**{best / ours:.2f}**" if best else "")
    cells.append(f"{share:.0%}")
    row = f"| {' | '.join(cells)} |"
    print(row, flush=True)
    gc.collect()
    return row


def memory_row(name: str, options: argparse.Namespace) -> str:
    """Measure the peak memory of processes that train one net; return their row."""
    sizes = {side: peak_memory(name, side) for side in ("ours", *options.torch)}
    solver = solver_of(nets.train_net(name))
    used = solver.net.plan.memory["arena_bytes"] + 3 * solver.net.flat.data.nbytes
    said = netspec.summarize(nets.train_net(name), phase=netspec.TRAIN).memory["total"]
    best = min(sizes[side] for side in options.torch)
    cells = [
        name,
        *(
            f"{sizes[side]:.0f}" if side in sizes else ""
            for side in ("ours", *CONFIGURATIONS)
        ),
        f"{sizes['ours'] / best:.2f}",
        f"{used / 2**20:.0f}",
        f"{said / 2**20:.0f}",
    ]
    row = f"| {' | '.join(cells)} |"
    print(row, flush=True)
    return row


def peak_memory(name: str, side: str) -> float:
    """Return the peak MiB of a process that trains one net for three steps."""
    command = [sys.executable, __file__, name, "--peak-memory-of", side]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def print_peak_memory(name: str, side: str) -> None:
    """Train one net for three steps and print the peak memory of this process."""
    if side == "ours":
        solver_of(nets.train_net(name)).step(3)
    else:  # what is compiled for us must not count for them
        solver = solver_of(nets.train_net(name), backend="portable")
        run = torch_step(solver.net, **CONFIGURATIONS[side])
        del solver
        gc.collect()
        for _ in range(3):
            run()
    print(nets.peak_mib())


def table(title: str, rows: list[str]) -> str:
    """Return a table of times in Markdown."""
    return _markdown([title, "ours", *PEERS, "ONNX Runtime", "ratio", "of GEMM"], rows)


def memory_table(rows: list[str]) -> str:
    """Return a table of memory in Markdown."""
    heads = ["peak MiB of training", "ours", *PEERS, "ratio", "net alone", "forecast"]
    return _markdown(heads, rows)


def _markdown(heads: list[str], rows: list[str]) -> str:
    """Return a table without its empty columns."""
    cells = [heads, *([cell.strip() for cell in row.split("|")[1:-1]] for row in rows)]
    used = [column for column in zip(*cells, strict=True) if any(column[1:])]
    first, *rest = (" | ".join(row) for row in zip(*used, strict=True))
    line = "| --- |" + " ---: |" * (len(used) - 1)
    return "\n".join([f"| {first} |", line, *(f"| {row} |" for row in rest)])


def write_into(path: Path, text: str) -> None:
    """Replace what stands between the markers of a file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Our speed beside PyTorch's.")
    parser.add_argument("nets", nargs="*", default=TRAINED, help="default: all")
    parser.add_argument("--seconds", type=float, default=12, help="for each net")
    parser.add_argument(
        "--torch",
        nargs="*",
        choices=CONFIGURATIONS,
        default=["default", "channels_last"],
        help="configurations of PyTorch",
    )
    parser.add_argument("--no-use", action="store_true", help="training only")
    parser.add_argument("--onnx", action="store_true", help="also ONNX Runtime")
    parser.add_argument("--memory", nargs="*", default=[], help="nets for peak memory")
    parser.add_argument("--peak-memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help="write the tables into this file")
    options = parser.parse_args()
    if options.peak_memory_of:
        print_peak_memory(options.nets[0], options.peak_memory_of)
        return
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    peak = gemm_peak()
    print(f"matrix product: {peak:.0f} GFLOP/s", flush=True)
    machine = f"{date.today()}, {os.cpu_count()} cores, PyTorch {torch.__version__}"
    parts = [
        f"{machine}; milliseconds; the fastest matrix product: {peak:.0f} GFLOP/s.",
        table(
            "training step: net, batch",
            [compare_training(name, options, peak) for name in options.nets],
        ),
    ]
    if not options.no_use:
        rows = [compare_use(name, batch, options, peak) for name, batch in USED]
        parts.append(table("inference: net, batch", rows))
    if options.memory:
        rows = [memory_row(name, options) for name in options.memory]
        parts.append(memory_table(rows))
    if options.write:
        write_into(options.write, "\n\n".join(parts))


if __name__ == "__main__":
    main()
