"""The whole path in one command: `make demo`.

Runs the public commands one after the other, in the folder of the results: prepare the
handwritten digits that scikit-learn bundles, export LeNet, draw it, train it, and score
what it learned on digits that it has not seen.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED_ACCURACY = 0.97
TEST_BATCHES, TEST_BATCH_SIZE = 3, 120
# The matrices of LeNet are small: more threads would mostly wait for each other.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", **os.environ}


def run(folder: Path, *arguments: str | Path, capture: bool = False) -> str:
    """Show a command, run it in `folder`, and return its output; stop if it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ {shlex.join(['python', *words])}", flush=True)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if capture:
        print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        raise SystemExit(f"demo: this command failed (exit {done.returncode})")
    return done.stdout or ""


def demonstrate(folder: Path) -> int:
    """Run all steps, print where the results are, and return the exit status."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    net, model = "lenet_train_test.prototxt", ROOT / "models/lenet.py"
    settings = [
        "--set",
        "source=digits_train_lmdb",
        "--set",
        "test_source=digits_test_lmdb",
    ]
    settings += ["--set", f"test_batch_size={TEST_BATCH_SIZE}"]

    run(folder, "-m", "runtime.data", "digits", "--force")
    run(folder, "-m", "netspec.export", model, *settings, "-o", net)
    run(folder, "-m", "netspec.export", model, "--deploy", "-o", "lenet.prototxt")
    shapes = ["--shape", "data=64,1,28,28", "--shape", "label=64"]
    drawing = ["-m", "netspec.draw", net, "--phase", "TRAIN", *shapes]
    run(folder, *drawing, "-o", "lenet.svg")
    solver = ROOT / "models/lenet_digits_solver.prototxt"
    run(folder, "-m", "runtime", "train", "--solver", solver, "--plot", "loss.svg")
    weights = max(folder.glob("lenet_digits_iter_*.caffemodel"), key=_written)
    report = run(
        folder,
        *("-m", "runtime", "test", "--model", net, "--weights", weights.name),
        *("--iterations", str(TEST_BATCHES)),
        capture=True,
    )
    accuracy = read_accuracy(report)
    seconds = time.perf_counter() - started
    print(
        f"\nLeNet reads {accuracy:.1%} of the held-out digits, after {seconds:.0f} s."
    )
    for what, name in (
        ("net for training", net),
        ("net for use", "lenet.prototxt"),
        ("drawing", "lenet.svg"),
        ("loss curve", "loss.svg"),
        ("weights", weights.name),
    ):
        print(f"  {what:<18}{folder / name}")
    if accuracy < NEEDED_ACCURACY:
        print(f"demo: expected at least {NEEDED_ACCURACY:.0%}", file=sys.stderr)
        return 1
    return 0


def read_accuracy(report: str) -> float:
    """Find the accuracy in what `python -m runtime test` printed."""
    found = re.search(r"\baccuracy\s*[=:]?\s*([\d.]+)", report)
    if found is None:
        raise SystemExit("demo: the test printed no accuracy")
    return float(found.group(1))


def _written(path: Path) -> float:
    return path.stat().st_mtime


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Train LeNet on handwritten digits.")
    parser.add_argument(
        "--output", type=Path, default=Path("out"), help="folder of the results"
    )
    return demonstrate(parser.parse_args(arguments).output)


if __name__ == "__main__":
    sys.exit(main())
