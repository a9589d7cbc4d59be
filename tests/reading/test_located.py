"""Mistakes of nets tell file and line of the layer, in commands and in Python."""

import re

import pytest

import runtime
import runtime.pycaffe as caffe
from netspec import layers as L
from netspec.draw.__main__ import main as draw
from netspec.errors import ShapeError, SpecError
from netspec.reading.located import located
from netspec.summary.__main__ import main as summary
from netspec.text import as_net, write_message
from runtime.__main__ import main as command

NET = """name: "wrong"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
  convolution_param { num_output: 3 kernel_size: 2 stride: 2 } }
layer { name: "fuse" type: "Eltwise" bottom: "up" bottom: "data" top: "fuse" }
layer { name: "bad" type: "Pooling" bottom: "data" top: "bad"
  pooling_param { kernel_size: 2 pad: 3 } }
"""
FUSE = r"layer 'fuse' \(Eltwise\): bottoms must have the same shape"
SOLVER = 'net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (command, ["check", "net.prototxt"]),
        (command, ["time", "--model", "net.prototxt"]),
        (command, ["test", "--model", "net.prototxt", "--weights", "w.caffemodel"]),
        (command, ["train", "--solver", "solver.prototxt"]),
        (summary, ["net.prototxt"]),
        (draw, ["net.prototxt", "-o", "net.svg"]),
    ],
)
def test_every_command_tells_file_and_line(main, words, folder, capsys):
    assert main(words) == 1
    said = capsys.readouterr().err
    one = rf"error: 2 mistakes: \(1\) net.prototxt:8: {FUSE}"
    assert re.match(one, said)
    assert "; (2) net.prototxt:9: layer 'bad' (Pooling): " in said
    assert said.count("net.prototxt") == 2


def test_a_net_of_a_file_tells_it_in_python_too(folder):
    with pytest.raises(SpecError, match=rf"net.prototxt:8: {FUSE}"):
        runtime.Net("net.prototxt", runtime.TEST)
    (folder / "net.prototxt").write_text(NET[: NET.index('layer { name: "bad"')])
    with pytest.raises(ShapeError, match=rf"^net.prototxt:8: {FUSE}") as caught:
        runtime.Net(net="net.prototxt")
    assert caught.value.layer == "net.prototxt:8: layer 'fuse' (Eltwise)"
    assert caught.value.text.startswith("bottoms must have the same shape")
    with pytest.raises(ShapeError, match=rf"^<text>:8: {FUSE}"):
        runtime.Net(NET[: NET.index('layer { name: "bad"')])


def test_a_solver_tells_the_file_of_its_net(folder):
    for make in (runtime.get_solver, caffe.SGDSolver):
        with pytest.raises(SpecError, match=rf"\(1\) net.prototxt:8: {FUSE}"):
            make("solver.prototxt")
    (folder / "half.prototxt").write_text(NET[: NET.index('layer { name: "fuse"')])
    text = 'train_net: "half.prototxt" test_net: "net.prototxt" test_iter: 1 '
    text += 'test_interval: 1 base_lr: 1 lr_policy: "fixed"'
    with pytest.raises(SpecError, match=rf"\(1\) net.prototxt:8: {FUSE}"):
        runtime.get_solver(text)
    with pytest.raises(SpecError, match=rf"^2 mistakes: \(1\) {FUSE}"):
        runtime.get_solver(f"net_param {{ {NET} }} base_lr: 1 lr_policy: 'fixed'")


def test_a_message_has_no_place(folder):
    with pytest.raises(SpecError, match=rf"^2 mistakes: \(1\) {FUSE}"):
        runtime.Net(as_net(NET))
    write_message("net.caffemodel", as_net(NET))
    with pytest.raises(SpecError, match=rf"^2 mistakes: \(1\) net.caffemodel: {FUSE}"):
        runtime.Net("net.caffemodel")


def test_layers_of_one_name_tell_all_their_lines():
    text = (
        'layer { name: "d" type: "DummyData" top: "x" include { phase: TRAIN } }\n\n'
        'layer { name: "d" type: "DummyData" top: "x" include { phase: TEST } }\n'
    )
    error = SpecError("is wrong", layer="layer 'd' (DummyData)")
    assert str(located(error, text)) == (
        "<text>:1 or 3: layer 'd' (DummyData): is wrong"
    )


def test_other_errors_stay_as_they_are(folder):
    for error in (
        SpecError("no layer here"),
        SpecError("is wrong", layer="layer 'nobody' (ReLU)"),
        SpecError("is wrong", layer="layer 'fuse' (Eltwise), net.py:3"),
    ):
        assert located(error, "net.prototxt") is error
    error = SpecError("is wrong", layer="layer 'fuse' (Eltwise)")
    assert located(error, "gone.prototxt") is error
    assert located(error, L.Input(shape=[1])) is error


@pytest.mark.parametrize(
    ("sizes", "advice"),
    [
        (((1, 4, 10, 8), (1, 4, 9, 8)), "Crop layer with bottoms 'a' and 'b' before"),
        (((1, 4, 9, 8), (1, 4, 9, 9)), "Crop layer with bottoms 'b' and 'a' before"),
        (((1, 4, 9, 8), (1, 4, 8, 9)), "Check the layers that produce them"),
        (((1, 4, 9, 8), (1, 5, 9, 8)), "Check the layers that produce them"),
        (((4, 9), (4, 8)), "Check the layers that produce them"),
    ],
)
def test_bottoms_of_different_sizes_say_what_to_do(sizes, advice):
    shapes = [" ".join(f"dim: {size}" for size in shape) for shape in sizes]
    text = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {shape} }} }} }}\n"
        for name, shape in zip("ab", shapes, strict=True)
    )
    text += 'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "e" }'
    with pytest.raises(ShapeError, match=f"<text>:3: layer 'e' .*{advice}"):
        runtime.Net(text)
