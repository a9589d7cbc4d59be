"""cuDNN itself plans for devices that are described and not here.

It needs the packages nvidia-cudnn-cu13 and nvidia-cudnn-frontend, half a gigabyte, and
a C compiler for what stands in for the driver; without them these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netspec.errors import MachineError
from tests.patience import PATIENCE_S
from tools.no_driver import build

ROOT = Path(__file__).resolve().parents[3]
MODELS = ("--models", "lenet", "alexnet", "--batch", "3")
DEVICES = sorted(Path(__file__).with_name("devices").glob("*.json"))

PLAN = """
import json, sys
from dataclasses import replace
from pathlib import Path
from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.cudnn import Cudnn

cudnn = Cudnn(Path(sys.argv[1]).read_text())
first = Convolution("forward", x=(4, 64, 28, 26), w=(72, 64, 3, 3), y=(4, 72, 28, 26),
                    stride=(1, 1), pad=(1, 1), dilation=(1, 1))
plain = [replace(first, kind=kind, **storage)
         for kind in ("forward", "input_gradient", "weight_gradient")
         for storage in ({}, {"tf32": True}, {"storage": "bfloat16"},
                         {"storage": "float16"})]
ends = [replace(first, bias=True, add=add, relu=True, **storage)
        for add in (False, True)
        for storage in ({}, {"tf32": True},
                        {"storage": "bfloat16", "bias_storage": "bfloat16"})]
line = Convolution("forward", x=(3, 16, 40), w=(24, 16, 5), y=(3, 24, 20), stride=(2,),
                   pad=(2,), dilation=(1,))
cube = Convolution("input_gradient", x=(2, 8, 6, 9, 7), w=(16, 8, 3, 3, 3),
                   y=(2, 16, 6, 9, 7), stride=(1,) * 3, pad=(1,) * 3,
                   dilation=(1,) * 3)
compiled = [replace(first, kind="input_gradient", relu=True),
            replace(first, kind="weight_gradient", add=True, tf32=True),
            replace(first, bias=True, storage="bfloat16")]
deep = [Convolution("weight_gradient", x=(n, 8, 9, 9), w=(8, 1, 3, 3), y=(n, 8, 9, 9),
                    stride=(1, 1), pad=(1, 1), dilation=(1, 1), groups=8,
                    storage="bfloat16") for n in range(1, 7)]
cudnn.prepare([*plain, *ends, line, cube, *compiled], 1)
if "deep" in sys.argv:
    cudnn.prepare(deep, 2)
names = {}
for one in (*plain, *ends, line, cube, *(deep if "deep" in sys.argv else ())):
    assert cudnn.knows(one), one
    planned = cudnn.plan(one)
    assert planned.workspace_bytes >= 0
    names[str(one)] = planned.name
print(json.dumps({
    "version": cudnn.version,
    "names": names,
    "unsupported": [not cudnn.supports(one) for one in compiled],
    "exact differs": cudnn.plan(plain[0]).name != cudnn.plan(plain[1]).name,
    "kept": len(list(cudnn.store.folder.iterdir())),
}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds stand-ins for the driver."""
    for package in ("cudnn", "nvidia.cudnn"):
        try:
            missing = importlib.util.find_spec(package) is None
        except ImportError:
            missing = True
        if missing:
            pytest.skip(f"{package} is not installed; see netspec[cuda]")
    try:
        found = build(tmp_path_factory.mktemp("driver"))
    except MachineError as error:
        pytest.skip(str(error))
    path = [str(ROOT), *sys.path]
    return {**found, "PYTHONPATH": ":".join(path), "OPENBLAS_NUM_THREADS": "1"}


def plan(environment: dict[str, str], device: Path, folder: Path, *more: str):
    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(device), *more],
        env={**environment, "NETSPEC_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("device", DEVICES, ids=lambda path: path.stem)
def test_plans_are_made_for_devices_that_are_not_here(environment, tmp_path, device):
    told = plan(environment, device, tmp_path)
    assert len(told["names"]) == 12 + 6 + 2
    assert told["unsupported"] == [True] * 3
    assert told["exact differs"]
    assert told["kept"] == 12 + 6 + 2 + 3
    assert plan(environment, device, tmp_path)["names"] == told["names"]


def test_what_cudnn_compiles_is_planned_by_several_processes(environment, tmp_path):
    device = next(path for path in DEVICES if path.stem == "sm_90")
    told = plan(environment, device, tmp_path, "deep")
    assert len(told["names"]) == 12 + 6 + 2 + 6


def test_all_convolutions_of_a_model_have_engines(environment):
    done = subprocess.run(
        [sys.executable, "-m", "tools.cudnn_support", "--stand-in", *MODELS],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(?:float32|tf32) .*", done.stdout, re.MULTILINE)
    assert len(rows) == 2 * len(DEVICES)
    for row in rows:  # of 7 convolutions so many, of which so many would be compiled
        assert re.findall(r"(\d+)(?:, \d+\*)? \(\d+\)", row) == ["7"] * 6


def test_a_description_of_a_device_has_what_cudnn_asks_for():
    assert [path.stem for path in DEVICES] == ["sm_100", "sm_120", "sm_80", "sm_90"]
    keys = {tuple(sorted(json.loads(path.read_text()))) for path in DEVICES}
    assert len(keys) == 1
    for path in DEVICES:
        description = json.loads(path.read_text())
        assert path.stem == f"sm_{description['deviceVer'] // 10}"
