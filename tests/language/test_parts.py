"""Names with a path in common are a part of a spec: `n["inception_3a"]`."""

import numpy as np
import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError

TEXT = """
name: "parts"
input: "data" input_shape { dim: 2 dim: 3 dim: 9 dim: 8 }
layer { name: "mix/1x1" type: "Convolution" bottom: "data" top: "mix/1x1"
        convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "mix/relu" type: "ReLU" bottom: "mix/1x1" top: "mix/1x1" }
layer { name: "mix/sum/other" type: "Convolution" bottom: "data" top: "mix/other"
        convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "mix/output" type: "Concat" bottom: "mix/1x1" bottom: "mix/other"
        top: "mix/output" }
layer { name: "score" type: "InnerProduct" bottom: "mix/output" top: "score"
        inner_product_param { num_output: 7 } }
"""


def test_a_part_of_a_loaded_net_has_the_names_below_its_path():
    n = netspec.load(TEXT)
    part = n["mix"]
    assert part.keys() == ["1x1", "relu", "other", "output"]
    assert [top.fn.type_name for top in part.vals()] == [
        "Convolution",
        "ReLU",
        "Convolution",
        "Concat",
    ]
    assert part["1x1"] is n["mix/1x1"]
    assert n.mix.output is n["mix/output"]
    assert "relu" in part
    assert "score" not in part
    assert len(part) == 4
    assert repr(part).splitlines()[1] == "  1x1: Convolution (2, 5, 9, 8)"
    with pytest.raises(SpecError, match=r"no top is named 'mix/outptu'; did you mean"):
        part["outptu"]


def test_a_part_stands_for_its_output():
    n = netspec.load(TEXT)
    n.pool = L.Pooling(n["mix"], pool="AVE", global_pooling=True)
    assert n.pool.shape == (2, 9, 1, 1)
    m = NetSpec()
    m.data = L.Input(shape=[2, 3])
    m["a/first"] = L.ReLU(m.data)
    m["a/last"] = L.TanH(m["a/first"])
    m.end = L.AbsVal(m["a"])
    assert m.end.fn.inputs == (m["a/last"],)


def test_a_part_is_deleted_as_a_whole():
    n = netspec.load(TEXT)
    n.replace("mix/output", n.data)
    del n["mix"]
    assert [layer.name for layer in n.to_proto().layer] == ["input", "score"]
    assert n.score.shape == (2, 7)
    with pytest.raises(SpecError, match="no top is named 'mix'"):
        del n["mix"]


def test_a_layer_of_a_part_is_replaced_and_deleted_in_it():
    n = netspec.load(TEXT)
    n.mix["1x1"] = L.Convolution(n.data, num_output=8, kernel_size=1)
    assert n["mix/output"].shape == (2, 12, 9, 8)
    del n["mix"]["relu"]
    assert "mix/relu" not in n


def test_a_part_whose_layer_is_still_needed_is_not_left_out_in_silence():
    n = netspec.load(TEXT)
    del n["mix"]
    with pytest.raises(SpecError, match=r"reads 'mix/output', which was deleted at "):
        n.to_proto()


def test_a_part_has_no_name_of_its_own():
    n = netspec.load(TEXT)
    with pytest.raises(
        SpecError, match=r"'copy' is a part of a NetSpec; expected a top"
    ):
        n.copy = n["mix"]
    assert "mix" not in n


def test_arrays_in_messages_are_their_shapes():
    n = NetSpec()
    values = np.zeros((1, 3, 8, 8))
    with pytest.raises(SpecError, match=r"bottom 0 is an array of shape \(1, 3, 8, 8"):
        L.ReLU(values)
    with pytest.raises(SpecError, match=r"num_output is an array of shape \(1, 3, 8"):
        L.InnerProduct(L.Input(shape=[2, 3]), num_output=values)
    with pytest.raises(SpecError, match=r"'a' is an array of shape \(1, 3, 8, 8\); ex"):
        n.a = values


def test_an_axis_is_cut_into_all_its_parts_by_one_layer():
    n = NetSpec()
    n.x = L.Input(shape=[2, 6, 5])
    parts = netspec.unstack(n.x, axis=1)
    assert [part.shape for part in parts] == [(2, 1, 5)] * 6
    pairs = netspec.unstack(n.x, axis=-2, size=3)
    assert [part.shape for part in pairs] == [(2, 3, 5)] * 2
    for place, part in enumerate((*parts, *pairs)):
        n[f"part{place}"] = L.ReLU(part)
    layers = n.to_proto().layer
    assert [layer.type for layer in layers].count("Slice") == 2
    assert "Silence" not in {layer.type for layer in layers}
    assert netspec.unstack(n.x, axis=0, size=2) == (n.x,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3,), r"unstack of 3; expected a top"),
        (("x", "y"), r"axis is 'y'; expected an integer"),
        (("x", 3), r"has shape \(2, 6, 5\), so no axis 3"),
        (("x", 1, 4), r"axis 1 of \(2, 6, 5\) cannot be cut into parts of size 4; "),
        (("x", 1, 0), r"parts of size 0; expected a divisor of 6"),
        (("d", 2), r"the size of axis 2 of \(2, .* is not known"),
        (("u", 0), r"its shape is not known, which unstack needs"),
    ],
)
def test_what_cannot_be_cut_is_refused(arguments, said):
    n = NetSpec()
    n.x = L.Input(shape=[2, 6, 5])
    n.d = L.Data(source="d", batch_size=2)
    n.u = netspec.layer("Unknown", n.x)
    first = n[arguments[0]] if isinstance(arguments[0], str) else arguments[0]
    with pytest.raises(SpecError, match=said) as caught:
        netspec.unstack(first, *arguments[1:])
    assert "test_parts.py" in str(caught.value)
