"""The step benchmark runs and prints what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
NET = """
name: "small"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 4 dim: 3 dim: 6 dim: 5 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def bench(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks/step.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        cwd=ROOT,
    )


def test_a_row_has_batch_time_speed_memory_and_the_speed_of_a_product(tmp_path):
    path = tmp_path / "small.prototxt"
    path.write_text(NET)
    done = bench(path, "--iterations", "2")
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.split()[:2] == ["net", "batch"]
    name, batch, *figures = row.split()
    assert (name, batch) == ("small", "4")
    milliseconds, images, peak, gflops = (float(figure) for figure in figures)
    assert 4000 / images == pytest.approx(milliseconds, rel=0.02, abs=0.006)
    assert peak > 10
    assert gflops > 0.1


def test_a_missing_net_is_one_line(tmp_path):
    done = bench(tmp_path / "absent.prototxt")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "absent.prototxt" in done.stderr
