"""Families of layers, and their options in a few words."""

import pytest

from netspec.draw.captions import family, family_of, options
from netspec.ops import known_types, op_class
from netspec.ops.base import brings_data
from netspec.schema import LayerParameter
from netspec.text import as_net


def test_what_brings_data_in_is_of_one_family():
    sources = [kind for kind in known_types() if op_class(kind).is_source]
    assert {"Input", "DummyData", "WindowData", "VideoData"} < set(sources)
    assert {family(kind) for kind in sources} == {"data"}
    assert {family(kind) for kind in ("Parameter", "HDF5Output")} == {"data"}
    assert (family("EuclideanLoss"), family("Python")) == ("loss", "other")
    own = LayerParameter(type="Python", loss_weight=[0, 1])
    own.python_param.module, own.python_param.layer = "__main__", "Own"
    assert (family_of(own), options(own)) == ("loss", "Own")
    own.python_param.module = "mine"
    own.loss_weight[1] = 0
    assert (family_of(own), options(own)) == ("other", "mine.Own")
    assert family_of(LayerParameter(type="ReLU", loss_weight=[1])) == "activation"
    assert family("OfAnotherFork") == "other"


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("Data", "data_param"),
        ("HDF5Data", "hdf5_data_param"),
        ("ImageData", "image_data_param"),
    ],
)
def test_data_layers_name_their_file(kind, field):
    layer = LayerParameter(type=kind, **{field: {"source": "some/where/list.txt"}})
    assert options(layer) == "list.txt"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('type: "Interp" interp_param { height: 60 width: 40 }', "60×40"),
        ('type: "Interp" interp_param { zoom_factor: 8 }', "zoom 8"),
        ('type: "Upsample" bottom: "x" upsample_param { scale: 3 }', "scale 3"),
        ('type: "Upsample" bottom: "x" bottom: "mask"', "scale 2, by mask"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', "group 3"),
        ('type: "Reorg" reorg_param { stride: 2 }', "stride 2"),
        (
            'type: "ConvolutionDepthwise" convolution_param { kernel_size: 3 hole: 2 }',
            "3×3, dilation 2",
        ),
    ],
)
def test_layers_of_forks_say_what_they_are_told_apart_by(text, said):
    (layer,) = as_net(f"layer {{ {text} }}").layer
    assert options(layer) == said


@pytest.mark.parametrize("rounding", ["round_mode: FLOOR", "ceil_mode: false"])
def test_pooling_that_rounds_down_says_so(rounding):
    text = 'layer { type: "Pooling" pooling_param { kernel_size: 3 stride: 2 %s } }'
    (layer,) = as_net(text % rounding).layer
    assert options(layer) == "MAX, 3×3, stride 2, rounded down"


@pytest.mark.parametrize(
    ("kind", "bottoms", "expected"),
    [
        ("Data", 0, True),
        ("OfAnotherFork", 0, True),
        ("Python", 0, True),
        ("Python", 1, False),
        ("Parameter", 0, False),
        ("ReLU", 1, False),
    ],
)
def test_data_is_told_by_the_wires_of_any_layer(kind, bottoms, expected):
    assert brings_data(kind, bottoms) is expected
