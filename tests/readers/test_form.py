"""The form that every reader takes, and what reports say."""

import numpy as np
import pytest

from netspec.errors import SpecError, UnsupportedError
from netspec.readers import check_for, export_for
from netspec.schema import NetParameter
from tests.readers.running import net_of

TWO_TOPS = """
layer { name: "in" type: "Input" top: "a" top: "b"
        input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "TanH" bottom: "a" top: "y" include { phase: TEST } }
layer { name: "gone" type: "AbsVal" bottom: "a" top: "gone" include { phase: TRAIN } }
layer { name: "a" type: "AbsVal" bottom: "b" top: "z" }
layer { name: "quiet" type: "Silence" bottom: "z" }
"""


def shapes(layer):
    return [list(shape.dim) for shape in layer.input_param.shape]


@pytest.mark.parametrize("reader", ["caffe", "opencv", "mnn", "ncnn"])
def test_inputs_have_a_layer_each_and_layers_have_names_of_their_own(reader):
    layers = export_for(TWO_TOPS, reader).model.net.layer
    inputs = [layer for layer in layers if layer.type == "Input"]
    assert [list(layer.top) for layer in inputs] == [["a"], ["b"]]
    assert [shapes(layer) for layer in inputs] == [[[2, 3]], [[2, 3]]]
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    assert {layer.type for layer in layers} == {"Input", "TanH", "AbsVal"}
    assert not any(layer.include or layer.exclude for layer in layers)
    assert "gone" not in names


def test_values_of_two_layers_of_one_name_are_refused():
    layer = 'layer { name: "p" type: "PReLU" bottom: "x" top: "%s" }'
    text = net_of(layer % "y" + layer % "z", x=(2, 3, 4, 4))
    with pytest.raises(SpecError, match="several layers have the name 'p'"):
        export_for(text, "opencv", {"p": [np.ones(3)]})


def test_data_layers_are_refused_with_the_way_out():
    text = 'layer { name: "d" type: "MemoryData" top: "x" top: "t" }'
    with pytest.raises(SpecError, match=r"data layers \('d'\) .*netspec.deploy"):
        export_for(text, "mnn")


def test_a_report_tells_what_is_written_and_what_is_refused():
    text = net_of(
        'layer { name: "e" type: "Log" bottom: "x" top: "y" log_param { shift: 2 } }'
        'layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "f" }',
        x=(2, 3),
        s=(2,),
    )
    report = check_for(text, "opencv")
    assert [finding.rule for finding in report.rewritten] == ["log-options"]
    assert "layer 'e' (Log)" in str(report)
    assert [finding.layer for finding in report.refused] == ["layer 'f' (Filter)"]
    with pytest.raises(UnsupportedError, match="'f' .Filter.: OpenCV"):
        export_for(text, "opencv")
    done = export_for(text, "opencv", anyway=True)
    assert not done.report.refused
    assert [finding.layer for finding in done.report.warned] == ["layer 'f' (Filter)"]
    assert done.model.net.layer[-1].type == "Filter"


def test_readers_are_known_by_name():
    with pytest.raises(SpecError, match="no reader 'opencvv'; did you mean 'opencv'"):
        check_for(TWO_TOPS, "opencvv")


def test_a_net_in_the_place_of_the_reader_is_told():
    with pytest.raises(SpecError, match="given by its name, .* got a NetParameter"):
        check_for("opencv", NetParameter())
