"""Kernels are compiled once, by several processes, and then found on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

pytest.importorskip("llvmlite")

ROOT = Path(__file__).resolve().parents[4]
NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 } } }
layer { name: "relu" type: "ReLU" bottom: "x" top: "relu" }
layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "relu" top: "sum" }
layer { name: "bias" type: "Bias" bottom: "sum" top: "bias"
        bias_param { filler { type: "constant" value: 1 } } }
layer { name: "part" type: "Slice" bottom: "bias" top: "a" top: "b" }
layer { name: "all" type: "Concat" bottom: "b" bottom: "a" top: "all" }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "all" bottom: "t" top: "loss" }
"""


def run(
    folder: Path, executable: str = "", told: str = "None", threads: str = "2"
) -> tuple[str, str, str]:
    """Return what a process says that runs the net.

    How many helpers it started, whether they left all kernels ready, and the loss.
    """
    code = f"""
import subprocess, sys
import runtime
from runtime.backends.cpu.machine import ahead

started, start = [], subprocess.Popen
def watched(*arguments, **options):
    started.append(arguments)
    return start(*arguments, **options)
ahead.subprocess.Popen = watched

ready, compile_ahead = [], ahead.compile_ahead
def judged(kernels, *more):
    compile_ahead(kernels, *more)
    ready.append(all(one.is_ready for one in kernels))
ahead.compile_ahead = judged

sys.executable = {executable!r} or sys.executable
net = runtime.Net({NET!r}, runtime.TRAIN)
told = {told}
listening = net.backend.compilation.listen(told or (lambda *_: None))
listening.__enter__()
net.blobs["x"].data[...] = [[3, 1, 4, 1, 5, 9], [-2, 6, -5, 3, 5, -8]]
net.forward_backward()
print(len(started), all(ready), float(net.blobs["loss"].data))
"""
    environment = {**os.environ, "NETSPEC_CACHE_DIR": str(folder)}
    environment["NETSPEC_NUM_THREADS"] = threads
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    helpers, ready, loss = done.stdout.split()
    return helpers, ready, loss


def test_helpers_compile_what_is_not_on_the_disk(tmp_path: Path) -> None:
    helpers, ready, loss = run(tmp_path)
    assert (helpers, ready) == ("1", "True")  # this process compiles too
    assert run(tmp_path) == ("0", "True", loss)


@pytest.mark.parametrize("executable", ["nowhere", shutil.which("false")])
def test_what_a_helper_cannot_do_is_done_without_it(
    tmp_path: Path, executable: str
) -> None:
    helpers, ready, loss = run(tmp_path, executable)
    assert (helpers, ready) == ("1", "True")
    assert run(tmp_path) == ("0", "True", loss)


def test_what_cannot_be_kept_is_compiled_in_every_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    helpers, ready, loss = run(file)
    assert (helpers, ready) == ("0", "True")
    assert run(tmp_path)[2] == loss


@pytest.mark.parametrize("threads", ["2", "1"])
def test_what_is_compiled_is_told_from_nothing_to_all_and_nothing_when_warm(
    tmp_path: Path, threads: str
) -> None:
    file = tmp_path / "told"
    told = f"lambda *counts: print(*counts, file=open({str(file)!r}, 'a'))"
    helpers, ready, _ = run(tmp_path, told=told, threads=threads)
    assert (helpers, ready) == (str(int(threads) - 1), "True")
    counts = [tuple(map(int, line.split())) for line in file.read_text().splitlines()]
    done, totals = zip(*counts, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(done)
    assert (done[0], done[-1]) == (0, totals[0])
    assert len(set(done)) > 2
    file.unlink()
    run(tmp_path, told=told, threads=threads)
    assert not file.exists()
