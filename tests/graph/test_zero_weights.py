"""Layers with zero weights above one another are told; others are not."""

import pytest

import runtime
from netspec.errors import SpecWarning
from netspec.graph import build, zero_weights
from netspec.nets.state import State
from netspec.schema import TEST, TRAIN
from netspec.text import as_net
from runtime.__main__ import main as command

DATA = """
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 dim: 8 dim: 7 } shape { dim: 4 }
  data_filler { type: "gaussian" } data_filler { type: "constant" } } }
"""
LOSS = """
layer { name: "out" type: "InnerProduct" bottom: "BOTTOM" top: "out"
  inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "out" bottom: "label" top: "loss" }
"""
XAVIER = 'weight_filler { type: "xavier" }'


def conv(name, bottom, options="", more=""):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"{more} convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 {options} }} "
        "}\n"
    )


def told(*layers, bottom, phase=TRAIN):
    text = DATA + "".join(layers) + LOSS.replace("BOTTOM", bottom)
    return zero_weights(build(as_net(text), State(phase, 0, ())))


VALUES = (
    f"blobs {{ shape {{ dim: 3 dim: 3 dim: 3 dim: 3 }} {'data: 1 ' * 81} }} "
    f"blobs {{ shape {{ dim: 3 }} {'data: 0 ' * 3} }}"
)
RELU = 'layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }\n'


def test_two_layers_of_zeros_are_told():
    said = told(conv("c", "x"), RELU, bottom="c")
    assert said == (
        "layer 'c' (Convolution) and layer 'out' (InnerProduct) start with all weights "
        "zero, one above the other, so they learn nothing, or the same in every "
        'channel; give them a weight_filler, such as weight_filler { type: "xavier" }'
    )


def test_every_layer_of_a_chain_is_told():
    said = told(conv("a", "x"), conv("b", "a", XAVIER), conv("c", "b"), bottom="c")
    assert said.startswith(
        "layer 'a' (Convolution), layer 'c' (Convolution) and layer 'out' (InnerP"
    )


@pytest.mark.parametrize(
    ("layers", "bottom"),
    [
        ((), "x"),  # logistic regression
        ((conv("c", "x", XAVIER), RELU), "c"),
        ((conv("c", "x", "weight_filler { value: 0.5 }"),), "c"),
        ((conv("c", "x", "", "param { lr_mult: 0 }"),), "c"),
        ((conv("c", "x", "", VALUES),), "c"),
        (  # a branch that starts at zero, beside what it is added to
            (
                conv("c", "x"),
                'layer { name: "s" type: "Eltwise" bottom: "x" bottom: "c" top: "s" }',
            ),
            "s",
        ),
    ],
)
def test_what_can_learn_is_not_told(layers, bottom):
    assert told(*layers, bottom=bottom) is None


def test_a_phase_in_which_nothing_learns_says_nothing():
    text = DATA + conv("c", "x") + conv("d", "c")
    assert zero_weights(build(as_net(text), State(TEST, 0, ()))) is None


def test_the_commands_tell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    zero = DATA + conv("c", "x") + LOSS.replace("BOTTOM", "c")
    (tmp_path / "zero.prototxt").write_text(zero)
    (tmp_path / "full.prototxt").write_text(zero.replace("pad: 1", f"pad: 1 {XAVIER}"))
    (tmp_path / "solver.prototxt").write_text(
        'net: "zero.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 '
        "snapshot_after_train: false"
    )
    assert command(["check", "zero.prototxt"]) == 0
    said = capsys.readouterr().out
    assert said.count("    note: layer 'c' (Convolution) and layer 'out'") == 2
    assert command(["check", "full.prototxt"]) == 0
    assert "note" not in capsys.readouterr().out
    assert command(["train", "--solver", "solver.prototxt"]) == 0
    said = capsys.readouterr()
    assert said.err.count("warning: layer 'c' (Convolution) and layer 'out'") == 1

    runtime.Net("full.prototxt", runtime.TRAIN).save("w.caffemodel")
    train = ["train", "--solver", "solver.prototxt", "--weights", "w.caffemodel"]
    assert command(train) == 0
    assert "zero" not in capsys.readouterr().err


def test_a_solver_warns_once_when_it_begins():
    net = DATA + conv("c", "x") + LOSS.replace("BOTTOM", "c")
    text = f"net_param {{ {net} }} base_lr: 0.1 lr_policy: 'fixed' max_iter: 3"
    solver = runtime.get_solver(text)
    with pytest.warns(SpecWarning, match="'c' .* and layer 'out' .* start") as seen:
        solver.step(1)
    assert len(seen) == 1
    solver.step(1)
    filled = runtime.get_solver(text)
    for blobs in filled.net.params.values():
        blobs[0].data[...] = 0.5
    filled.step(1)
