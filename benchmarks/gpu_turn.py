"""One net, batch and precision on a GPU: made ready, then measured when its turn comes.

`benchmarks/gpu.py` starts this file. What takes long and keeps the device idle, such as
`torch.compile`, is done first; then a line "ready" goes out and a line from standard
input is waited for. Nothing else should run while the turns are taken. Results are
lines of JSON on standard output.

All train the same layers with SGD, momentum and weight decay, with their inputs on the
device. A block is some steps in a row between two synchronisations; blocks of all take
turns, and the median block counts. `host_ms` is the time until the call of one step
comes back.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import nets
import numpy as np
import torch
from torch_net import TorchNet, traced

import runtime
from netspec.graph import Graph, build
from netspec.nets.filter import merge_state
from netspec.schema import TRAIN, SolverParameter
from runtime.backends import get_backend

SEED = 1
RATE, MOMENTUM, DECAY = 1e-4, 0.9, 5e-4
CLASSES = 10  # labels and words are below it
BLOCK_SECONDS = 0.15
BLOCK_STEPS = (3, 100)  # least and most steps of a block
WARM_UP_STEPS = 4
LEAST_ROUNDS, MOST_ROUNDS = 3, 15
HOST_STEPS = 9
EARLY_BATCH = 64  # up to here, our memory may wait for its turn beside that of others
PLANNING_BYTES = 80 << 30  # of the device free, to build what is larger for a moment
WHO = ("ours", "eager", "channels_last", "compile", "reduce_overhead")
MODES = {"compile": "default", "reduce_overhead": "reduce-overhead"}
LATE = ("eager", "channels_last")  # built when the turn has come
LATE_SECONDS = 8.0  # with less left, they are not built any more
TRIED_ENGINES = 5  # of cuDNN, by PyTorch, for each convolution (10 unless said)


@dataclass
class Runner:
    """Something that trains, with what is known of it."""

    step: Callable[[], None]
    steps: Callable[[int], None]
    loss: Callable[[], float]
    peak_mib: Callable[[], float]
    first_loss: float = float("nan")
    count: int = 1  # steps of a block


class Turn:
    """All that train one net, in one process."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.net = nets.train_net(options.net, options.batch)
        self.graph = build(self.net, merge_state(self.net, TRAIN))
        self.inputs = random_inputs(self.graph)
        self.runners: dict[str, Runner] = {}
        self.solver: runtime.Solver | None = None
        self.modules: dict[str, TorchNet] = {}
        self.seconds: dict[str, float] = {}
        self.batch = options.batch

    # ------------------------------------------------------------ made ready

    def make_ready(self) -> None:
        """Do what needs no quiet: compile PyTorch's, and build ours if it is small."""
        for who in MODES:
            if who in self.options.who:
                self._try(who, partial(self._add_torch, who))
        if "ours" in self.options.who:
            early = self.batch <= EARLY_BATCH
            self._try("ours", self.build_ours if early else self._plan_ours)
        if self.options.device == "cuda":
            torch.cuda.empty_cache()

    def finish(self, seconds: float) -> None:
        """Build what is left and warm all up, with the device to itself.

        All start from our parameters. What has run a few steps is told at once; for
        what is built last there may be no time.
        """
        self.end = time.perf_counter() + seconds
        if self.options.device == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.benchmark_limit = TRIED_ENGINES
        who = [one for one in ("ours", *MODES, *LATE) if one in self.options.who]
        if "ours" in who:
            self._try("ours", self._add_ours)
        self.start = TorchNet(self.graph, train=True)
        if self.solver is not None:
            self.start.load(self.solver.net)
            gc.collect()
        for one in who:
            if one in LATE and self.left() < LATE_SECONDS:
                self.say(one, skipped="no time was left")
            elif one in LATE:
                self._try(one, partial(self._add_torch, one))
            if one in self.runners:
                self._try(one, partial(self._warm_up, one))

    def left(self) -> float:
        """Return the seconds that this turn still has."""
        return self.end - time.perf_counter()

    def _try(self, who: str, call: Callable[[], Any]) -> None:
        began = time.perf_counter()
        try:
            call()
        except Exception as error:  # whatever a compiler or a device says
            self._failed(who, error)
        self.seconds[who] = self.seconds.get(who, 0) + time.perf_counter() - began

    def _failed(self, who: str, error: Exception) -> None:
        first = (str(error).strip().splitlines() or [""])[0]
        self.runners.pop(who, None)
        self.say(who, error=f"{type(error).__name__}: {first[:300]}")

    def build_ours(self) -> runtime.Solver:
        """Build our solver, with its inputs on the device."""
        options = self.options
        extra = {"precision": options.precision} if options.ours_precision else {}
        param = SolverParameter(
            net_param=self.net,
            base_lr=RATE,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            lr_policy="fixed",
            max_iter=10**6,
        )
        solver = runtime.get_solver(
            param, seed=SEED, keep=(), backend=options.backend, **extra
        )
        for name, value in self.inputs.items():
            solver.net.blobs[name].data[...] = value
        self.solver = solver
        return solver

    def _plan_ours(self) -> None:
        """Build ours and drop it: what it plans and compiles stays on disk.

        Both together might not fit: then it is planned when the turn comes.
        """
        device = self.options.device
        if device != "cuda" or torch.cuda.mem_get_info()[0] < PLANNING_BYTES:
            return
        with suppress(Exception):
            self.build_ours().close()
        self.solver = None
        gc.collect()
        xp = get_backend(self.options.backend).xp
        if hasattr(xp, "get_default_memory_pool"):
            xp.get_default_memory_pool().free_all_blocks()

    def _add_ours(self) -> None:
        solver = self.solver or self.build_ours()
        step = solver.step
        self.runners["ours"] = Runner(
            step=lambda: step(1),
            steps=step,
            loss=lambda: solver.history.train[-1].loss,
            peak_mib=lambda: our_mib(solver),
        )

    def _add_torch(self, who: str) -> None:
        options, device = self.options, self.options.device
        before = torch_mib(device)
        module = TorchNet(self.graph, train=True).to(device)
        inputs = [torch.from_numpy(x).to(device) for x in self.inputs.values()]
        images = any(x.ndim == 4 for x in inputs)
        if who == "channels_last" and not images:
            return
        if who != "eager" and images:
            module = module.to(memory_format=torch.channels_last)
            inputs = [
                x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
                for x in inputs
            ]
        run: Any = traced(module)
        if who in MODES:
            run = torch.compile(run, mode=MODES[who], dynamic=False)
        optimizer = torch.optim.SGD(
            module.parameters(),
            lr=RATE,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            fused=True,
        )
        kept: list[torch.Tensor] = [torch.zeros(())]
        half = options.precision == "bf16"
        graphs = who == "reduce_overhead"

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            if graphs:
                torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast(device, torch.bfloat16, enabled=half):
                loss = run(*inputs)
            loss.backward()
            optimizer.step()
            kept[0] = loss.detach()

        def steps(count: int) -> None:
            for _ in range(count):
                step()

        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step()
        self._synchronize()
        self.modules[who] = module
        self.runners[who] = Runner(
            step=step,
            steps=steps,
            loss=lambda: float(kept[0]),
            peak_mib=lambda: peak[0],
        )
        peak = [torch_peak_mib(device) - before]

    # ------------------------------------------------------------ measured

    def _warm_up(self, who: str) -> None:
        """Find out how many steps a block has, and tell how long one takes so far."""
        runner = self.runners[who]
        if who in self.modules:
            self.modules[who].load_state_dict(self.start.state_dict())
        runner.step()
        self._synchronize()
        runner.first_loss = runner.loss()
        runner.steps(WARM_UP_STEPS)
        each = self._block(runner, BLOCK_STEPS[0])
        least, most = BLOCK_STEPS
        runner.count = int(min(most, max(least, BLOCK_SECONDS // each)))
        self._tell(who, [each], each)

    def measure(self) -> None:
        """Let the blocks of all take turns, and say what came of it."""
        blocks: dict[str, list[float]] = {who: [] for who in WHO if who in self.runners}
        began = time.perf_counter()
        rounds = 0
        while rounds < MOST_ROUNDS and (
            rounds < LEAST_ROUNDS or time.perf_counter() - began < self.options.seconds
        ):
            if rounds and self.left() < (time.perf_counter() - began) / rounds:
                break
            for who, times in list(blocks.items()):
                runner = self.runners[who]
                try:
                    times.append(self._block(runner, runner.count))
                except Exception as error:  # the others go on
                    del blocks[who]
                    self._failed(who, error)
            rounds += 1
        for who, times in blocks.items():
            self._tell(who, times, self._host(self.runners[who]))

    def _tell(self, who: str, times: list[float], host: float) -> None:
        """Say what is known of one: the seconds of a step in some blocks."""
        runner, median = self.runners[who], statistics.median(times)
        self.say(
            who,
            ms=1000 * median,
            least_ms=1000 * min(times),
            most_ms=1000 * max(times),
            blocks=len(times),
            steps=runner.count,
            per_second=self.batch / median,
            host_ms=1000 * host,
            peak_mib=runner.peak_mib(),
            first_loss=runner.first_loss,
            loss=runner.loss(),
            prepared_s=self.seconds.get(who, 0),
        )

    def _block(self, runner: Runner, count: int) -> float:
        self._synchronize()
        began = time.perf_counter()
        runner.steps(count)
        self._synchronize()
        return (time.perf_counter() - began) / count

    def _host(self, runner: Runner) -> float:
        times = []
        for _ in range(HOST_STEPS):
            self._synchronize()
            began = time.perf_counter()
            runner.step()
            times.append(time.perf_counter() - began)
        self._synchronize()
        return statistics.median(times)

    def _synchronize(self) -> None:
        if self.options.device == "cuda":
            torch.cuda.synchronize()  # of all streams of the device
        if self.solver is not None:
            self.solver.net.backend.synchronize()

    def say(self, who: str, **figures: Any) -> None:
        """Print one result."""
        options = self.options
        record = {"net": options.net, "batch": self.batch}
        record |= {"precision": options.precision, "who": who}
        say(record | figures)


def random_inputs(graph: Graph) -> dict[str, np.ndarray]:
    """Return normal images, small whole numbers, and sequences that begin at step 0."""
    rng = np.random.default_rng(SEED)
    inputs: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if node.type != "Input":
            continue
        for top in node.tops:
            edge = graph.edges[top]
            value: np.ndarray
            if len(edge.shape) == 4:
                value = rng.normal(size=edge.shape)
            elif edge.blob.startswith("cont"):
                value = np.ones(edge.shape)
                value[0] = 0
            else:
                value = rng.integers(CLASSES, size=edge.shape)
            inputs[edge.blob] = value.astype(np.float32)
    return inputs


def our_mib(solver: runtime.Solver) -> float:
    """Return the memory that we hold: of the device's pool, else what the plan has."""
    xp = solver.net.backend.xp
    if hasattr(xp, "get_default_memory_pool"):
        return float(xp.get_default_memory_pool().total_bytes()) / 2**20
    flat = solver.net.flat.data.nbytes  # parameters, their gradients, the momentum
    return (solver.net.plan.memory["arena_bytes"] + 3 * flat) / 2**20


def torch_mib(device: str) -> float:
    """Return the MiB that PyTorch has on the device now."""
    return torch.cuda.memory_allocated() / 2**20 if device == "cuda" else 0.0


def torch_peak_mib(device: str) -> float:
    """Return the most MiB that PyTorch has had on the device at a time."""
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0


def set_precision(precision: str) -> None:
    """Let PyTorch use TF32 for float32 products, or keep it from that."""
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"


def say(record: dict[str, Any]) -> None:
    """Print a line of JSON."""
    rounded = {
        key: float(f"{value:.6g}") if isinstance(value, float) else value
        for key, value in record.items()
    }
    print(json.dumps(rounded), flush=True)


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description="Measure one configuration.")
    parser.add_argument("net")
    parser.add_argument("batch", type=int)
    parser.add_argument("precision", choices=["float32", "tf32", "bf16"])
    parser.add_argument("--who", nargs="+", choices=WHO, default=list(WHO))
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--device", default="cuda", help="of PyTorch")
    parser.add_argument("--seconds", type=float, default=4, help="of taking turns")
    parser.add_argument(
        "--ours-precision",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether ours is told the precision",
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Run the command."""
    options = read_arguments(None)
    set_precision(options.precision)
    began = time.perf_counter()
    turn = Turn(options)
    turn.make_ready()
    say({"ready": True, "seconds": time.perf_counter() - began})
    line = sys.stdin.readline()
    if line:  # else nobody waits for it any more
        turn.finish(float(line))
        turn.measure()
    say({"done": True})


if __name__ == "__main__":
    main()
