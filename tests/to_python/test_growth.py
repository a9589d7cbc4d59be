"""The work of to_python and of drawings grows with the layers, no faster."""

import sys

import pytest

import netspec
from netspec.draw.scene import draw, draw_html
from netspec.nets.current import current

INPUT = 'input: "data" input_shape { dim: 1 dim: 8 dim: 9 dim: 7 } '


def layer(name, kind, bottoms, top, options=""):
    wires = " ".join(f'bottom: "{b}"' for b in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {wires} top: "{top}" {options} }} '


def blocks(count):
    """Residual blocks, all alike: repeated windows."""
    text, x = INPUT, "data"
    options = "convolution_param { num_output: 8 kernel_size: 1 }"
    for i in range(count // 4):
        text += layer(f"res{i}_a", "Convolution", [x], f"res{i}_a", options)
        text += layer(f"res{i}_bn", "BatchNorm", [f"res{i}_a"], f"res{i}_a")
        text += layer(f"res{i}", "Eltwise", [x, f"res{i}_a"], f"res{i}")
        text += layer(f"res{i}_relu", "ReLU", [f"res{i}"], f"res{i}")
        x = f"res{i}"
    return text


def varied(count):
    """A chain in which each layer has options and a name of its own."""
    text, x = INPUT, "data"
    for i in range(count):
        name = f"{'abcdefg'[i * i % 7]}{i * 7919 % 1009}_{i}"
        if i % 3:
            text += layer(name, "Power", [x], name, f"power_param {{ scale: {i}.5 }}")
        else:
            slope = f"relu_param {{ negative_slope: 0.{i + 1} }}"
            text += layer(name, "ReLU", [x], name, slope)
        x = name
    return text


def fillers(count):
    """Long values, each given twice, which become constants."""
    text = INPUT
    for i in range(count):
        filler = f'weight_filler {{ type: "gaussian" std: {i // 2}.25 mean: 0.125 }}'
        options = (
            f"convolution_param {{ num_output: {i % 60 + 1} kernel_size: 1 {filler} }}"
        )
        text += layer(f"c{i}", "Convolution", ["data"], f"t{i}", options)
    return text


def one_name(count):
    """Layers in place that all have one name."""
    return INPUT + "".join(
        layer("relu", "ReLU", ["data"], "data") for _ in range(count)
    )


def modules(count):
    """Modules that read each other both ways, in pairs: knots to be untied."""
    text, x = INPUT, "data"
    for i in range(count // 4):
        for path in (f"left{i}/a", f"right{i}/a", f"left{i}/b", f"right{i}/b"):
            text += layer(path, "Sigmoid", [x], path)
            x = path
    return text


def calls(work, net):
    """Return how many functions of ours, and of C, a work calls."""
    count = 0

    def counting(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counting)
    try:
        work(net)
    finally:
        sys.setprofile(None)
    return count


def as_python(net):
    return netspec.load(net).to_python()


SMALL, LARGE = 60, 240


@pytest.mark.parametrize("net", [blocks, varied, fillers, one_name, modules])
def test_work_grows_with_the_layers(net):
    small, large = (current(net(count)) for count in (SMALL, LARGE))
    for work in (as_python, draw, draw_html):
        work(small)  # what is done once
        before, after = calls(work, small), calls(work, large)
        assert after < 1.7 * before * LARGE / SMALL, work
