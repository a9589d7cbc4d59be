"""ONNX files as arguments of commands and of `load`, and sizes of their inputs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import netspec
import runtime
from netspec.errors import SpecWarning
from tests.onnx.reading.graphs import (
    IMAGE,
    by_onnx_runtime,
    model,
    node,
    residual_net,
    saved,
    values,
)


def command(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_commands_take_onnx_files(tmp_path):
    saved(tmp_path, residual_net())
    done = command("netspec.export", "net.onnx", "-o", "net.prototxt", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = command(
        "netspec.export", "net.onnx", "-o", "net.caffemodel", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    net = runtime.Net(
        str(tmp_path / "net.prototxt"),
        weights=str(tmp_path / "net.caffemodel"),
        phase="TEST",
        backend="portable",
    )
    data = {"input.1": values(3, *IMAGE)}
    wanted = by_onnx_runtime(tmp_path / "net.onnx", data)["495"]
    np.testing.assert_allclose(net.forward(**data)["495"], wanted, atol=1e-5)
    text = command("netspec.export", "net.onnx", folder=tmp_path).stdout
    assert "blobs" not in text
    for name in ("summary", "to_python", "draw"):
        done = command(f"netspec.{name}", "net.onnx", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "stem" in done.stdout


def test_the_export_takes_sizes_of_inputs(tmp_path):
    nodes = [node("Relu", "x")]
    saved(tmp_path, model(nodes, {"x": ["batch", 3, "h", "w"]}))
    done = command("netspec.export", "net.onnx", folder=tmp_path)
    assert done.returncode == 1
    assert "axis 2 of input 'x' is open in the file: (batch, 3, h, w)" in done.stderr
    done = command(
        "netspec.export", "net.onnx", "--shape", "x=4,3,8,9", folder=tmp_path
    )
    assert "dim: 4 dim: 3 dim: 8 dim: 9" in " ".join(done.stdout.split())
    done = command(
        "netspec.summary", "net.onnx", "--shape", "x=4,3,8,9", folder=tmp_path
    )
    assert "4 x 3 x 8 x 9" in done.stdout
    done = command(
        "netspec.export",
        "net.onnx",
        "--batch-size",
        "7",
        "--shape",
        "x=4,3,8,9",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_an_open_batch_is_one_and_warned_of(tmp_path):
    path = saved(tmp_path, model([node("Relu", "x")], {"x": ["n", 3]}))
    with pytest.warns(SpecWarning, match="number of items of input 'x' is open"):
        n = netspec.load(path)
    assert n.x.shape == (1, 3)
    assert netspec.load(path, batch_size=5).x.shape == (5, 3)
    assert netspec.load(path, shapes={"x": (6, 3)}).x.shape == (6, 3)


def test_shapes_are_for_other_formats_only():
    with pytest.raises(netspec.errors.SpecError, match="are for .onnx files"):
        netspec.load("layer {}", batch_size=3)


def test_a_shape_of_no_input_is_refused(tmp_path):
    path = saved(tmp_path, model([node("Relu", "image")], {"image": [1, 3]}))
    with pytest.raises(netspec.errors.SpecError, match="did you mean 'image'"):
        netspec.load(path, shapes={"imge": (1, 3)})
