"""`--allow-python`: the commands import modules of nets when they are told to."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netspec.errors import ShapeError
from runtime import Net
from runtime.__main__ import main
from runtime.training.testing import mean_outputs
from tests.patience import PATIENCE_S
from tests.runtime.cli.command_line import ROOT, fail

LAYERS = """
import caffe

class Squares(caffe.Layer):
    def setup(self, bottom, top):
        self.passes = 0
    def reshape(self, bottom, top):
        self.passes += 1
        top[0].reshape(2, 1, 3 + self.passes % 2, 4)
        top[1].reshape(2, 1)
    def forward(self, bottom, top):
        top[0].data[...] = 0.5
        top[1].data[...] = 1

class Loss(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)
    def forward(self, bottom, top):
        self.d = bottom[0].data - bottom[1].data
        top[0].data[0] = (self.d ** 2).sum()
    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * self.d
"""
NET = """
name: "own"
layer { name: "d" type: "Python" top: "x" top: "t"
  python_param { module: "command_layers" layer: "Squares" } }
layer { name: "pool" type: "Pooling" bottom: "x" top: "p"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "p" top: "y"
  inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Python" bottom: "y" bottom: "t" top: "loss" loss_weight: 1
  python_param { module: "command_layers" layer: "Loss" } }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" max_iter: 30 test_iter: 2
test_interval: 30 snapshot_prefix: "run"
"""
REFUSED = "wants class 'Squares' of module 'command_layers'"
ALLOW = ("--allow-python", "command_layers")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "command_layers.py").write_text(LAYERS)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    yield tmp_path
    sys.modules.pop("command_layers", None)


@pytest.mark.parametrize(
    "command",
    [
        ("time", "--model", "net.prototxt", "--iterations", "3"),
        ("train", "--solver", "solver.prototxt", "--no-progress"),
    ],
)
def test_commands_import_what_is_allowed_and_nothing_else(folder, capsys, command):
    error = fail(capsys, *command)
    assert REFUSED in error
    assert "command_layers" not in sys.modules
    assert main([*command, *ALLOW]) == 0


def test_check_tells_what_it_did_not_import_and_checks_the_rest(folder, capsys):
    assert main(["check", "net.prototxt"]) == 0
    out = capsys.readouterr().out
    assert "TRAIN: 4 layers, 0 of them with known shapes" in out
    assert REFUSED in out
    assert "what lies above is not checked" in out
    assert "command_layers" not in sys.modules
    wrong = """
    layer { name: "in" type: "Input" top: "i" input_param { shape { dim: 2 } } }
    layer { name: "crop" type: "Concat" bottom: "i" top: "c" concat_param { axis: 3 } }
    """
    (folder / "wrong.prototxt").write_text(NET + wrong)
    assert "layer 'crop' (Concat): axis" in fail(capsys, "check", "wrong.prototxt")
    assert main(["check", "net.prototxt", *ALLOW]) == 0
    assert "TRAIN: 4 layers, 2 parameters" in capsys.readouterr().out


def test_a_net_is_trained_and_tested_from_the_command_line(folder, capsys):
    train = ("train", "--solver", "solver.prototxt", "--no-progress")
    assert main([*train, *ALLOW]) == 0
    test = ("test", "--model", "net.prototxt", "--weights", "run_iter_30.caffemodel")
    assert REFUSED in fail(capsys, *test)
    assert main([*test, "--iterations", "2", *ALLOW]) == 0
    out = capsys.readouterr().out
    loss = float(out.split("objective = ")[1])
    assert 0 <= loss < 0.02


def test_check_needs_no_code_where_shapes_are_given(folder, capsys):
    shapes = ("--shape", "x=2,1,5,4", "--shape", "t=2,1", "--shape", "loss=1")
    assert main(["check", "net.prototxt", *shapes]) == 0
    assert "command_layers" not in sys.modules
    assert "TRAIN: 4 layers, 2 parameters" in capsys.readouterr().out


def test_a_module_in_the_current_folder_is_found(folder):
    arguments = ["check", "net.prototxt", *ALLOW]
    done = subprocess.run(
        [sys.executable, "-m", "runtime", *arguments],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


def test_outputs_that_change_have_no_mean(folder, capsys):
    (folder / "net.prototxt").write_text(NET.split('layer { name: "pool"')[0])

    net = Net("net.prototxt", allow_python=["command_layers"])
    with pytest.raises(
        ShapeError, match=r"output 'x' has shape \(2, 1, 4, 4\) in batch"
    ):
        mean_outputs(net, 2)
