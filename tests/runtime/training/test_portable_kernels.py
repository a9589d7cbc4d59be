"""Training without llvmlite says so, once, and how to get it."""

import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
SOLVER = """
base_lr: 0.1 lr_policy: "fixed" max_iter: 2 snapshot_after_train: false
net_param {
  layer { name: "x" type: "DummyData" top: "x" top: "t"
          dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 4 } } }
  layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 4 } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" } }
"""
MISSING = 'sys.modules["llvmlite"] = None'
OLD = 'import llvmlite; llvmlite.__version__ = "0.43.1"'
FROZEN = (
    "import runtime.backends.cpu.backend as backend; "
    "backend.__file__ = backend.__file__.replace('backend.py', 'nowhere.py')"
)
TRAIN = f"""
import runtime
for backend in sys.argv[1:]:
    solver = runtime.get_solver({SOLVER!r}, backend=backend)
    print(solver.net.backend.title)
    solver.step(2)
    solver.step(1)
"""


def told(*backends, without=MISSING):
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{without}\n{TRAIN}", *backends],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )


def test_it_is_told_once_with_what_to_install():
    done = told("numpy", "numpy")
    assert done.stdout.split("\n")[:2] == ["numpy (portable)"] * 2
    assert done.stderr.count("kernels are not compiled") == 1
    assert "pip install 'netspec[cpu]'" in done.stderr


@pytest.mark.parametrize(
    ("without", "why"),
    [
        (OLD, "as llvmlite 0.43.1 is too old, so all takes"),
        (FROZEN, "as the source files of the package `runtime` are not there, so all"),
    ],
)
def test_what_cannot_compile_trains_and_tells_why(without, why):
    pytest.importorskip("llvmlite")
    done = told("numpy", without=without)
    assert done.stdout == "numpy (portable)\n"
    assert why in done.stderr


def test_who_asks_for_portable_kernels_is_told_nothing():
    done = told("portable")
    assert done.stdout == "portable\n"
    assert done.stderr == ""


def test_the_title_tells_compiled_kernels():
    pytest.importorskip("llvmlite")
    assert runtime.get_backend("numpy").title == "numpy (compiled)"
    assert runtime.get_backend("portable").title == "portable"
