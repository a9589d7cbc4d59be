"""What all operations do with what they are given."""

import subprocess
import sys

import numpy as np
import pytest

import runtime
from netspec import surgery
from netspec.weights import as_model
from tests.example_nets import layer
from tests.patience import PATIENCE_S
from tests.surgery.common import largest_difference, outputs, random_model

DATA = """
layer { name: "data" type: "Input" top: "x" input_param { shape {
  dim: 2 dim: 3 dim: 4 dim: 5 } } }
layer { name: "r" type: "ReLU" bottom: "x" top: "u" }
"""
IP = "inner_product_param { num_output: 4 }"
SOME, ALL = 'param { name: "w" }', 'param { name: "w" } param { name: "b" }'

OPERATIONS = {
    "rename": lambda model: surgery.rename(model, layers=str.upper),
    "cast": surgery.cast_to_convolution,
    "resize": lambda model: surgery.resize_input(model, batch_size=3),
    "swap": lambda model: surgery.change_channels(model, how="swap"),
    "fold": lambda model: surgery.fold_batchnorm(model).model,
    "extract": lambda model: surgery.extract(model, "b"),
}


def test_operations_are_found_when_they_are_first_used():
    code = (
        "import netspec, sys; assert 'numpy' not in sys.modules; "
        "assert 'surgery' in dir(netspec); print(netspec.surgery.rename.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "rename\n", done.stderr


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("params", [SOME, ALL])
def test_values_that_a_file_leaves_to_who_shares_them_are_filled_in(
    operation, params, tmp_path
):
    pytest.importorskip("h5py")
    text = DATA.replace('bottom: "x" top: "u"', 'bottom: "x" top: "x"')
    if operation == "swap":
        text = text.replace("ReLU", "Dropout")
    text += layer("a", "InnerProduct", "x", "y", params + IP)
    text += layer("b", "InnerProduct", "x", "z", params + IP)
    model = random_model(text)
    runtime.Net(model).save_hdf5(tmp_path / "w.h5")
    read = as_model(model.net, tmp_path / "w.h5")
    left = read.weights.get("b", [None])
    assert left[0] is None
    got, wanted = (OPERATIONS[operation](each) for each in (read, model))
    assert got.weights.keys() == wanted.weights.keys()
    assert largest_difference(wanted, got) == 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nets_of_old_formats_and_messages_do(operation):
    old = """
    input: "x" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5
    layers { name: "b" type: INNER_PRODUCT bottom: "x" top: "z"
             inner_product_param { num_output: 4 } }
    """
    weights = random_model(DATA + layer("b", "InnerProduct", "x", "z", IP)).weights
    result = OPERATIONS[operation](as_model(old, weights))
    assert np.isfinite(outputs(result)["z"]).all()
    again = OPERATIONS["rename"](result.to_proto())
    assert set(outputs(again)) == {"z"}
