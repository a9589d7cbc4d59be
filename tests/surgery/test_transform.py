"""A net that takes images as they are computes what it did of prepared ones."""

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError
from netspec.surgery import fold_transform
from tests.example_nets import layer, names
from tests.example_nets import net as parsed
from tests.surgery.common import random_model, snapshot, types

IMAGES = """
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 2 dim: 3 dim: 6 dim: 5 } } }
"""
CONV = layer("l", "Convolution", "data", "y",
             "convolution_param { num_output: 4 kernel_size: 3 }")  # fmt: skip
PADDED = CONV.replace("kernel_size", "pad: 1 kernel_size")
IP = layer("l", "InnerProduct", "data", "y", "inner_product_param { num_output: 4 }")
IN_PLACE = layer("r", "ReLU", "data", "data")
RAW = np.random.default_rng(4).integers(0, 256, (2, 3, 6, 5)).astype(float)
MEAN, SCALE = (104, 117.5, 123), (0.25, 0.5, 0.0625)


def transformed(text, mean, scale, **options):
    model = random_model(IMAGES + text)
    before = snapshot(model)
    result = fold_transform(model, mean, scale, **options)
    assert snapshot(model) == before
    shaped = [np.reshape(each, (-1, 1, 1)) for each in (mean, scale)]
    image = (RAW - shaped[0]) * shaped[1]
    wanted = runtime.Net(model, backend="portable").forward(data=image)
    got = runtime.Net(result.model, backend="portable").forward(data=RAW)
    assert wanted.keys() == got.keys()
    for name, each in wanted.items():
        np.testing.assert_allclose(got[name], each, 1e-4, 1e-4)
    return result


@pytest.mark.parametrize(
    ("text", "mean", "scale"),
    [
        (CONV, MEAN, SCALE),
        (CONV, 100, 0.5),
        (IP, MEAN, SCALE),
        (PADDED, 0, SCALE),
        (CONV.replace("kernel_size", "bias_term: false kernel_size"), [100], 1),
    ],
)
def test_the_first_layer_takes_it_in(text, mean, scale):
    result = transformed(text, mean, scale)
    assert result.folded == {"data_transform": "l"}
    assert len(result.model.net.layer) == 2


def test_a_border_of_zeros_leaves_a_layer_before():
    result = transformed(PADDED, MEAN, SCALE)
    assert types(result.model) == ["Input", "Scale", "Convolution"]
    assert "pads with zeros" in result.left["data_transform"]


def test_several_readers_leave_a_layer_before():
    other = CONV.replace('"l"', '"m"').replace('"y"', '"z"')
    result = transformed(CONV + other, MEAN, SCALE)
    assert types(result.model) == ["Input", "Scale", "Convolution", "Convolution"]
    assert result.left["data_transform"].endswith("several layers read what it makes")


def test_a_layer_that_looks_at_sizes_only_is_no_reader():
    up = "convolution_param { num_output: 2 kernel_size: 5 }"
    up = layer("up", "Deconvolution", "y", "u", up)
    result = transformed(CONV + up + layer("crop", "Crop", "u data", "c"), MEAN, SCALE)
    assert result.folded == {"data_transform": "l"}


def test_layers_in_place_on_the_images_are_kept_right():
    result = transformed(IN_PLACE + CONV, MEAN, SCALE)
    assert types(result.model) == ["Input", "Scale", "ReLU", "Convolution"]


def test_other_layers_are_not_folded():
    bn = layer("bn", "BatchNorm", "y", "y")
    result = transformed(CONV + bn, MEAN, SCALE)
    assert names(result.model.net) == ["data", "l", "bn"]
    assert (list(result.folded), result.left) == (["data_transform"], {})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"mean": "a"}, "mean is 'a'; expected numbers"),
        ({"scale": [1, float("nan"), 1]}, "scale is .*; expected numbers"),
        (
            {"mean": (1, 2)},
            r"mean has shape \(2,\); expected one number, or .* 3 channels",
        ),
        ({"mean": np.ones((3, 6, 5))}, r"shape \(3, 6, 5\); .* image of means"),
        ({"blob": "x"}, "'x' is no input"),
    ],
)
def test_what_cannot_be_is_refused(given, reason):
    with pytest.raises(SpecError, match=reason):
        fold_transform(random_model(IMAGES + CONV), **given)
    assert issubclass(ShapeError, SpecError)


def test_values_are_needed():
    with pytest.raises(SpecError, match="the model has none; give its weights"):
        fold_transform(parsed(IMAGES + CONV), 3)


def test_a_transformation_of_its_own_is_refused():
    text = layer("data", "MemoryData", "", "data label", "memory_data_param { "
                 "batch_size: 2 channels: 3 height: 6 width: 5 } "
                 "transform_param { scale: 0.5 }") + CONV  # fmt: skip
    with pytest.raises(
        SpecError, match=r"'data' \(MemoryData\): transforms its images"
    ):
        fold_transform(random_model(text), 3)
