"""What is refused, in words that name the layer, the option and what to do."""

import builtins

import numpy as np
import pytest

import netspec
from netspec.errors import MachineError, ShapeError, SpecError, UnsupportedError
from netspec.text import as_net
from tests.onnx.writing.running import net_of

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 } } }'


@pytest.mark.parametrize(
    ("layer", "shapes", "said"),
    [
        ('type: "SoftmaxWithLoss"', [(2, 3), (2,)], "it is a loss.*--deploy"),
        ('type: "Accuracy"', [(2, 3), (2,)], "it measures.*--deploy"),
        (
            'type: "Python" python_param { module: "my" layer: "Own" }',
            [(2, 3)],
            r"Python code, my\.Own",
        ),
        (
            'type: "ROIPooling" roi_pooling_param { pooled_size: 2 pad_ratio: 0.5 }',
            [(2, 3, 4, 5), (3, 5)],
            "MaxRoiPool has no pad_ratio",
        ),
        (
            'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }',
            [(2, 3, 4, 5)],
            "STOCHASTIC pooling",
        ),
        (
            'type: "Pooling" pooling_param { pool: AVE kernel_size: 1 stride: 6 }',
            [(2, 3, 5, 5)],
            r"window begins beyond the image \(5, 5\).*round_mode: FLOOR",
        ),
        (
            (
                'type: "DummyData" dummy_data_param { shape { dim: 2 } '
                'data_filler { type: "gaussian" } }'
            ),
            [],
            "fills its blobs anew with 'gaussian'.*Input layer",
        ),
    ],
)
def test_a_layer_is_named(layer, shapes, said):
    net = text_of(layer, shapes)
    with pytest.raises(UnsupportedError, match=rf"layer 'layer' \(\w+\): .*{said}"):
        netspec.to_onnx(net)


def text_of(layer, shapes):
    """A net whose shapes need not be known."""
    inputs = "".join(
        f'layer {{ name: "in{n}" type: "Input" top: "x{n}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {size}' for size in shape)} }} }} }}"
        for n, shape in enumerate(shapes)
    )
    bottoms = " ".join(f'bottom: "x{n}"' for n in range(len(shapes)))
    return as_net(f'{inputs} layer {{ name: "layer" {bottoms} top: "y" {layer} }}')


@pytest.mark.parametrize(
    "data",
    [
        (
            'type: "MemoryData" memory_data_param { batch_size: 1 channels: 2 '
            "height: 3 width: 4 }"
        ),
        'type: "Data" data_param { source: "somewhere" batch_size: 2 }',
    ],
)
def test_data_layers_are_refused_with_the_advice_to_deploy(data):
    net = as_net(f'layer {{ name: "d" top: "x" top: "t" {data} }}')
    with pytest.raises(UnsupportedError, match=r"'d' \(\w*Data\).*--deploy"):
        netspec.to_onnx(net)


def test_all_layers_are_told_at_once():
    net = as_net(
        INPUT + 'layer { name: "a" type: "HDF5Output" bottom: "x" bottom: "x" '
        'hdf5_output_param { file_name: "f" } }'
        + 'layer { name: "b" type: "EuclideanLoss" bottom: "x" bottom: "x" top: "l" }'
    )
    with pytest.raises(UnsupportedError, match=r"2 mistakes: .*'a'.*'b'"):
        netspec.to_onnx(net)


def test_a_blob_without_values_is_refused():
    net, _ = net_of('type: "TanH"', [(0, 3)])
    with pytest.raises(UnsupportedError, match=r"'x0' has no values.*\(0, 3\)"):
        netspec.to_onnx(net)


def test_a_net_without_outputs_is_refused():
    net, _ = net_of('type: "Silence"', [(2, 3)], 0)
    with pytest.raises(SpecError, match="no outputs"):
        netspec.to_onnx(net)


@pytest.mark.parametrize("opset", [12, 99, "17", None])
def test_other_opsets_are_refused(opset):
    net, _ = net_of('type: "TanH"', [(2, 3)])
    with pytest.raises(SpecError, match="opset is .*; expected a number from 13 to"):
        netspec.to_onnx(net, opset=opset)


def test_values_must_be_there_and_fit():
    options = "inner_product_param { num_output: 4 }"
    net, _ = net_of(f'type: "InnerProduct" {options}', [(2, 3)])
    with pytest.raises(SpecError, match="no values of its parameters.*--weights"):
        netspec.to_onnx(net)
    with pytest.raises(SpecError, match="no values for layer 'layer'"):
        netspec.to_onnx(net, {"other": [np.zeros(3)]})
    with pytest.raises(ShapeError, match="parameter 0 has shape"):
        netspec.to_onnx(net, {"layer": [np.zeros((3, 4)), np.zeros(4)]})


def test_without_the_library_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "onnx":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    net, _ = net_of('type: "TanH"', [(2, 3)])
    with pytest.raises(MachineError, match=r"netspec\[interop\]"):
        netspec.to_onnx(net)


def test_states_that_are_not_carried_over_are_warned_of():
    net, _ = net_of(
        'type: "LSTM" recurrent_param { num_output: 3 weight_filler { } }',
        [(3, 2, 4), (3, 2)],
    )
    weights = {"layer": [np.ones((12, 4)), np.ones(12), np.ones((12, 3))]}
    with pytest.warns(netspec.SpecWarning, match="'layer'.*zeros.*expose_hidden"):
        netspec.to_onnx(net, weights)
