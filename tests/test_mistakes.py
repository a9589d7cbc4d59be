"""A mistake is reported where it was written, with the value and the fix."""

import inspect
import re
import warnings
from pathlib import Path

import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec import params as P
from netspec.errors import ShapeError, SpecError


def data():
    return L.Input(shape=[1, 3, 8, 8])


def refused(write, *parts, kind=SpecError, line=1):
    """Check that `write` is refused with `parts`, at its line `line` (from 0)."""
    with pytest.raises(kind) as caught:
        write()
    message = str(caught.value)
    for part in parts:
        assert re.search(part, message), message
    first = inspect.getsourcelines(write)[1]
    assert f"test_mistakes.py:{first + line}" in message, message


def test_misspelt_field():
    def write():
        L.Convolution(data(), num_outputs=4, kernel_size=3)

    refused(write, "num_outputs is no field", "did you mean 'num_output'")


@pytest.mark.parametrize(
    ("name", "near"), [("Convolutoin", "Convolution"), ("ReLu", "ReLU")]
)
def test_misspelt_type(name, near):
    def write():
        getattr(L, name)(data())

    refused(
        write, f"no layer type is named '{name}'; did you mean '{near}'", kind=Exception
    )


def test_required_field_left_out():
    def write():
        L.Convolution(data(), kernel_size=3)

    refused(write, "Convolution layer", "num_output is missing")


def test_kernel_larger_than_the_input():
    def write():
        L.Convolution(data(), num_output=4, kernel_size=9)

    refused(write, r"kernel covers \(9, 9\)", r"input \(8, 8\)", kind=ShapeError)


def test_branch_over_a_layer_in_place():
    n = NetSpec()
    n.data = data()
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=1)

    def write():
        n.relu = L.ReLU(n.conv, in_place=True)
        n.late = L.Sigmoid(n.conv, in_place=True)
        n.to_proto()

    refused(write, "'late'", "before layer 'relu'", r"read n\['relu'\]", line=2)


def test_same_name_for_two_tops():
    n = NetSpec()

    def write():
        n.data = data()
        n.data = L.ReLU(n.data)
        n.to_proto()

    refused(write, "'data', which was assigned at", "its own name", line=2)


def test_same_top_under_two_names():
    n = NetSpec()
    n.data = data()

    def write():
        n.again = n.data

    refused(write, "'again' here and 'data' since", r"use n\['data'\]")


def test_blob_that_nobody_reads_in_a_net_with_a_loss():
    n = NetSpec()
    n.data = data()
    n.label = L.Input(shape=[1])
    n.unused = L.ReLU(n.data)
    n.ip = L.InnerProduct(n.data, num_output=2)
    n.loss = L.SoftmaxWithLoss(n.ip, n.label)
    with pytest.warns(netspec.SpecWarning, match="'unused'"):
        n.to_proto()


def test_outputs_of_a_net_without_loss_are_no_mistake():
    n = NetSpec()
    n.data = data()
    n.one = L.ReLU(n.data)
    n.other = L.Sigmoid(n.data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(n.to_proto().layer) == 3


def test_forgotten_ntop():
    def write():
        _images, _labels = L.Data(source="x", batch_size=2, backend=P.Data.LMDB)

    refused(write, "makes 1 top", "ntop=2", kind=Exception)


def test_several_tops_under_one_name():
    n = NetSpec()

    def write():
        n.data = L.Data(source="x", batch_size=2, backend=P.Data.LMDB, ntop=2)

    refused(write, "'data' is a tuple of 2 tops", "write a name for each")


def test_list_as_a_shape_means_that_shape():
    layer = data().to_proto().layer[0]
    assert [list(shape.dim) for shape in layer.input_param.shape] == [[1, 3, 8, 8]]


def test_word_as_a_filler_means_its_type_and_number_a_constant():
    top = L.Convolution(
        data(), num_output=4, kernel_size=3, weight_filler="xavier", bias_filler=0.2
    )
    param = top.to_proto().layer[1].convolution_param
    assert param.weight_filler.type == "xavier"
    assert param.bias_filler.value == pytest.approx(0.2)


def test_pair_as_a_kernel_size_means_both_sides():
    top = L.Convolution(data(), num_output=4, kernel_size=(3, 5))
    assert list(top.to_proto().layer[1].convolution_param.kernel_size) == [3, 5]


def test_arithmetic_with_tops_becomes_layers():
    net = (data() + 1).to_proto()
    assert net.layer[-1].type == "Power"
    assert net.layer[-1].power_param.shift == 1


def test_layers_and_options_can_be_looked_up():
    assert "Convolution" in dir(L)
    assert {"MAX", "AVE", "STOCHASTIC"} <= set(dir(P.Pooling))
    assert "negative_slope" in inspect.signature(L.ReLU).parameters
    assert "negative_slope" in (L.ReLU.__doc__ or "")
    assert "(1, 3, 8, 8)" in repr(data())


def test_chain_of_20_000_layers_without_names():
    top = data()
    for _ in range(20_000):
        top = L.ReLU(top)
    assert len(netspec.to_proto(top).layer) == 20_001


def test_value_of_another_type():
    def write():
        L.Convolution(data(), num_output="4", kernel_size=3)

    refused(write, "num_output is '4'; expected an integer")


def test_unknown_value_of_an_enumeration():
    def write():
        L.Pooling(data(), pool="MAXX", kernel_size=2)

    refused(write, "pool is 'MAXX'; expected one of 'MAX'", "did you mean 'MAX'")


def test_wrong_number_of_bottoms():
    def write():
        L.Eltwise(data())

    refused(write, "takes at least 2 bottoms", "got 1")


def test_shapes_that_cannot_meet():
    def write():
        L.Concat(data(), L.Input(shape=[1, 3, 7, 8]))

    refused(write, "agree except on axis 1", r"\(1, 3, 7, 8\)", kind=ShapeError)


def test_top_that_is_not_there():
    n = NetSpec()
    n.data = data()
    with pytest.raises(AttributeError, match="'dta'; did you mean 'data'"):
        n.dta  # noqa: B018
    assert not hasattr(n, "nope")


TABLE = Path(__file__).resolve().parents[1] / "docs" / "mistakes.md"
ROW = r"^\| [^`|]*(?:`ntop=2`[^`|]*)?: `(.*?)` \|(.*)\|$"
ROWS = re.findall(ROW, TABLE.read_text(), re.M)
DATA = "n.data = L.Input(shape=[1, 3, 8, 8])"


def written(code):
    """What one line in a file net.py says: its error or its warning, or None."""
    n = NetSpec()
    names = {"n": n, "L": L, "P": P, "netspec": netspec}
    exec(compile(DATA, "net.py", "exec"), names)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            exec(compile(code, "net.py", "exec"), names)
        except Exception as error:
            return str(error)
    return str(told[0].message) if told else None


def test_the_table_has_all_mistakes():
    assert len(ROWS) == 40


@pytest.mark.parametrize(("code", "cells"), ROWS, ids=[code for code, _ in ROWS])
def test_messages_are_those_of_the_table(code, cells):
    here = cells.split("|")[-1].strip()
    assert written(code) == (here.strip("`") if here.startswith("`") else None)
