"""Ask cuDNN for which convolutions of the models it has engines, on which devices.

    python -m tools.cudnn_support [DEVICE.json ...] [--models NAME ...] [--batch N]
    python -m tools.cudnn_support --describe

Devices are described in JSON and need not be here: where there is no driver, a stand-in
is compiled. By default they are those of tests/backends/cuda/devices. `--describe`
prints the description of this machine's device. Prints for each device a table of how
many convolutions are accepted, of how many, and how many plans cuDNN proposes for one,
in the middle; `*` marks where it would compile something, a second or two for each.
Below are those without an engine.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from netspec.commands.model_files import load_model
from netspec.errors import NetspecError
from netspec.graph import build as build_graph
from netspec.nets.filter import merge_state
from netspec.schema import TEST
from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.cudnn_graph import (
    compiles,
    load_library,
    proposed,
    told,
    version_of,
)
from tools.no_driver import build

ROOT = Path(__file__).resolve().parents[1]
DEVICES = ROOT / "tests" / "backends" / "cuda" / "devices"
MODELS = ("googlenet", "resnet50", "alexnet", "caffenet", "lenet", "cifar10_full")
BATCH = 32
HAS_STAND_IN = "--stand-in"  # given to the process that has one
STORAGES: Mapping[str, Mapping[str, Any]] = {
    "float32": {},
    "tf32": {"tf32": True},
    "bfloat16": {"storage": "bfloat16", "bias_storage": "bfloat16"},
    "float16": {"storage": "float16", "bias_storage": "float16"},
}
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "y": {},
    "y + bias": {"bias": True},
    "ReLU": {"bias": True, "relu": True},
    "add, ReLU": {"bias": True, "add": True, "relu": True},
    "dx": {"kind": "input_gradient"},
    "dw": {"kind": "weight_gradient"},
}


def convolutions(models: Sequence[str], batch: int) -> list[Convolution]:
    """Return the different convolutions of the models, as they run forward."""
    found: dict[Convolution, None] = {}
    for model in models:
        path = ROOT / "models" / f"{model}.py"
        net = load_model(path, deploy=True, batch_size=batch)
        for node in build_graph(net, merge_state(net, TEST, 0, ())).nodes:
            op: Any = node.op
            if node.op.type in ("Convolution", "Deconvolution"):
                deconvolves = node.op.type == "Deconvolution"
                bottom, top = op.bottoms[0], op.tops[0]
                spec = Convolution(
                    kind="forward",
                    x=top if deconvolves else bottom,
                    w=op.params[0].shape,
                    y=bottom if deconvolves else top,
                    stride=op.stride,
                    pad=op.pad,
                    dilation=op.dilation,
                    groups=op.group,
                )
                found[spec] = None
    return list(found)


def variants(spec: Convolution) -> Iterator[tuple[str, str, Convolution]]:
    """Yield all that may be asked of a convolution, with its row and its column."""
    for row, storage in STORAGES.items():
        for column, end in COLUMNS.items():
            options = {**storage, **end}
            if not options.get("bias"):
                options.pop("bias_storage", None)
            yield row, column, replace(spec, **options)


def ask(library: Any, spec: Convolution, properties: Any) -> tuple[int, str]:
    """Return how many plans are proposed, and "" for no engine, "*" or "+" for one.

    "*": the first that is allowed would be compiled.
    """
    try:
        graph = proposed(library, spec, properties)
        graph.check_support()
    except library.cudnnGraphNotSupportedError:
        return 0, ""
    plans = int(graph.get_execution_plan_count())
    for index in range(plans):
        if compiles(library, graph, index):
            return plans, "*"
        try:
            graph.build_plan_at_index(index)
        except library.cudnnGraphNotSupportedError:
            continue
        return plans, "+"
    return plans, ""


def report(library: Any, description: str, specs: Sequence[Convolution]) -> str:
    """Return the table of one device, and what it has no engines for."""
    properties = library.create_device_properties(description)
    cells: dict[tuple[str, str], list[tuple[int, str]]] = {}
    without = []
    for spec in specs:
        for row, column, one in variants(spec):
            answer = ask(library, one, properties)
            cells.setdefault((row, column), []).append(answer)
            if not answer[1]:
                without.append(f"  no engine: {one}\n")
    device = json.loads(description)
    name = f"{device['deviceName']} (sm_{device['deviceVer'] // 10})"
    asked = f"cuDNN {version_of(library)}, {len(specs)} convolutions"
    head = f"{'':10}" + "".join(f"{column:>16}" for column in COLUMNS)
    lines = [f"{name}, {asked}\n", f"{head}\n"]
    for row in STORAGES:
        line = f"{row:10}"
        for column in COLUMNS:
            answers = cells[row, column]
            accepted = sum(bool(mark) for _, mark in answers)
            compiled = sum(mark == "*" for _, mark in answers)
            plans = statistics.median(count for count, _ in answers)
            marks = f", {compiled}*" if compiled else ""
            line += f"{f'{accepted}{marks} ({plans:.0f})':>16}"
        lines.append(line + "\n")
    return "".join(lines + without)


def has_driver() -> bool:
    """Whether this machine has NVIDIA's driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("devices", nargs="*", type=Path, metavar="DEVICE.json")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N")
    parser.add_argument("--describe", action="store_true")
    parser.add_argument(HAS_STAND_IN, action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.describe:
            library = load_library()
            with told("describe this machine's device", library):
                description = library.create_device_properties(0).serialize()
            print(json.dumps(json.loads(description), indent=2))
            return 0
        if not chosen.stand_in and not has_driver():
            return _again_with_stand_in(arguments)
        library = load_library()
        specs = convolutions(chosen.models, chosen.batch)
        for path in chosen.devices or sorted(DEVICES.glob("*.json")):
            print(report(library, path.read_text(), specs), flush=True)
    except (NetspecError, OSError, RuntimeError) as error:
        print(f"cudnn_support: {error}", file=sys.stderr)
        return 1
    return 0


def _again_with_stand_in(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    with tempfile.TemporaryDirectory() as folder:
        environment = build(Path(folder))
        command = [sys.executable, "-m", "tools.cudnn_support", HAS_STAND_IN, *given]
        return os.spawnve(os.P_WAIT, sys.executable, command, environment)


if __name__ == "__main__":
    sys.exit(main())
