"""Warnings name a line of the user's, whatever part of this project gives them."""

import re
import warnings
from pathlib import Path

import numpy as np

import netspec
import runtime
from netspec.errors import SpecWarning
from tests.test_architecture import ROOT

NET = """
layer { name: "x" type: "Input" top: "x" top: "t"
    input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 3 } } }
layer { name: "loss" type: "SmoothL1Loss" bottom: "x" bottom: "t" top: "loss"
    smooth_l1_loss_param { sigma: 2 } loss_param { normalize: true } }
"""


def test_one_function_gives_all_warnings():
    plain = re.compile(r"warnings\.warn\(")
    found = [
        str(path.relative_to(ROOT))
        for package in ("netspec", "runtime")
        for path in sorted((ROOT / package).rglob("*.py"))
        if plain.search(path.read_text(encoding="utf-8"))
    ]
    assert found == [str(Path("netspec") / "notebooks.py")]


def places(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", SpecWarning)
        call()
    assert found
    return {one.filename for one in found}


def test_a_warning_of_a_layer_names_the_line_that_reads_the_net():
    assert places(lambda: netspec.summarize(NET)) == {__file__}
    assert places(lambda: runtime.Net(NET, runtime.TRAIN)) == {__file__}


def test_a_warning_of_a_pass_names_the_line_that_runs_it():
    text = NET.split('layer { name: "loss"')[0]
    text += 'layer { name: "y" type: "Power" bottom: "x" top: "y" }'
    net = runtime.Net(text, runtime.TEST)
    net.forward()
    assert places(lambda: net.backward(y=np.ones((2, 3)))) == {__file__}
