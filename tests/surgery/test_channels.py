"""A model for images with other channels computes the same of images that are alike."""

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError
from netspec.schema import TEST, TRAIN
from netspec.surgery import change_channels
from netspec.weights import as_model
from tests.example_nets import layer
from tests.example_nets import net as parsed
from tests.surgery.common import random_model, snapshot

RNG = np.random.default_rng(11)


def data(*shape, name="data", more=""):
    dims = " ".join(f"dim: {size}" for size in shape)
    return layer(
        name, "Input", "", name, f"input_param {{ shape {{ {dims} }} }} {more}"
    )


CONV = layer("l", "Convolution", "data", "y",
             "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }")  # fmt: skip
DECONV = layer("l", "Deconvolution", "data", "y",
               "convolution_param { num_output: 4 kernel_size: 3 }")  # fmt: skip
IP = layer("l", "InnerProduct", "data", "y", "inner_product_param { num_output: 4 }")
TURNED = IP.replace("num_output: 4", "num_output: 4 transpose: true")
POWER = layer("p", "Power", "data", "data", "power_param { scale: 2 shift: -0.5 }")


def changed(channels, text, *given, **options):
    model = random_model(data(2, channels, 6, 5) + text)
    before = snapshot(model)
    result = change_channels(model, *given, **options)
    assert snapshot(model) == before
    return model, result


def compute(model, image):
    return runtime.Net(model, backend="portable").forward(data=image)["y"].copy()


def check_equal(models, old, new):
    before, after = compute(models[0], old), compute(models[1], new)
    np.testing.assert_allclose(before, after, 1e-4, 1e-5)


@pytest.mark.parametrize("text", [CONV, DECONV, IP, TURNED, POWER + CONV])
def test_gray_for_colour_and_back(text):
    gray = RNG.normal(size=(2, 1, 6, 5))
    check_equal(changed(3, text, 1), gray.repeat(3, 1), gray)
    colour = RNG.normal(size=(2, 3, 6, 5))
    check_equal(changed(1, text, 3), colour.mean(1, keepdims=True), colour)
    luma = np.einsum("nchw,c->nhw", colour, [0.114, 0.587, 0.299])[:, None]
    check_equal(changed(1, text, 3, "luma"), luma, colour)


@pytest.mark.parametrize("text", [CONV, DECONV, IP, TURNED, POWER + CONV])
def test_another_order(text):
    colour = RNG.normal(size=(2, 3, 6, 5))
    check_equal(changed(3, text, how="swap"), colour, colour[:, ::-1])


def test_more_channels():
    colour = RNG.normal(size=(2, 2, 6, 5))
    check_equal(changed(2, CONV, 6, "repeat"), colour, np.tile(colour, (1, 3, 1, 1)))
    deep = RNG.normal(size=(2, 5, 6, 5))
    check_equal(changed(2, CONV, 5, "zeros"), deep[:, :2], deep)
    few = deep.copy()
    few[:, 3:] = 0
    check_equal(changed(5, CONV, 3, "zeros"), few, few[:, :3])
    gray = RNG.normal(size=(2, 1, 6, 5))
    check_equal(changed(3, CONV, 4), gray.repeat(3, 1), gray.repeat(4, 1))


def test_all_that_read_the_images_change():
    more = layer("b", "Convolution", "data", "z",
                 "convolution_param { num_output: 2 kernel_size: 1 }")  # fmt: skip
    more += layer("q", "Silence", "data", "")
    _, result = changed(3, CONV + more, 1)
    assert result.weights["l"][0].shape == (4, 1, 3, 3)
    assert result.weights["b"][0].shape == (2, 1, 1, 1)


def test_a_layer_that_looks_at_sizes_only_stays():
    up = "convolution_param { num_output: 2 kernel_size: 3 }"
    up = layer("up", "Deconvolution", "y", "u", up)
    _, result = changed(3, CONV + up + layer("crop", "Crop", "u data", "c"), 1)
    assert runtime.Net(result).blobs["c"].shape == (2, 2, 6, 5)
    cut = layer("crop", "Crop", "data data", "c", "crop_param { axis: 1 }")
    with pytest.raises(SpecError, match=r"'crop' \(Crop\): reads 'data' and has no"):
        changed(3, CONV + cut, 1)


def test_shared_weights_change_together():
    shared = CONV.replace('type: "Conv', 'param { name: "w" } type: "Conv')
    other = shared.replace('"l"', '"m"').replace('"y"', '"z"')
    _, result = changed(3, shared + other, 1)
    np.testing.assert_array_equal(result.weights["l"][0], result.weights["m"][0])
    other = data(2, 3, 4, 4, name="b") + other.replace('"data"', '"b"')
    with pytest.raises(
        SpecError, match=r"'l' .* those of layer 'm' .* not read 'data'"
    ):
        changed(3, shared + other, 1, blob="data")


def test_the_input_is_named_where_there_are_several():
    other = data(2, 3, 4, 4, name="b") + CONV.replace('"data"', '"b"').replace(
        '"l"', '"m"'
    ).replace('"y"', '"z"')
    with pytest.raises(
        SpecError, match=r"which input has the images\? .*'data', 'b'; n"
    ):
        changed(3, CONV + other, 1)
    _, result = changed(3, CONV + other, 1, blob="b")
    assert result.weights["m"][0].shape[1] == 1
    assert result.weights["l"][0].shape[1] == 3
    with pytest.raises(SpecError, match="'dat' is no input .*; did you mean 'data'"):
        changed(3, CONV, 1, blob="dat")


def test_both_phases_change():
    train = data(4, 3, 6, 5, more="include { phase: TRAIN }")
    test = data(2, 3, 6, 5, more="include { phase: TEST }")
    more = CONV.replace('"l"', '"m"').replace('"y"', '"z"')
    more = more.replace('type: "Conv', 'include { phase: TRAIN } type: "Conv')
    result = change_channels(random_model(train + test + CONV + more), 1)
    assert runtime.Net(result, TRAIN).params["m"][0].data.shape[1] == 1
    for phase, size in ((TRAIN, 4), (TEST, 2)):
        assert runtime.Net(result, phase).blobs["data"].shape == (size, 1, 6, 5)


def test_without_values_the_net_changes():
    result = change_channels(parsed(data(2, 3, 6, 5) + CONV), 1)
    assert result.weights is None
    assert runtime.Net(result).params["l"][0].data.shape == (4, 1, 3, 3)


def memory(transform):
    return layer("data", "MemoryData", "", "data label", "memory_data_param { "
                 "batch_size: 2 channels: 3 height: 6 width: 5 } "
                 f"transform_param {{ {transform} }}") + CONV  # fmt: skip


def test_what_is_subtracted_follows_or_is_refused():
    def means(transform, *given):
        source = change_channels(parsed(memory(transform)), *given).net.layer[0]
        return [*source.transform_param.mean_value], source.memory_data_param.channels

    three = "mean_value: 4 mean_value: 5 mean_value: 6"
    assert means(three, None, "swap") == ([6, 5, 4], 3)
    assert means("mean_value: 4", 1) == ([4], 1)
    assert means(three.replace("5", "4").replace("6", "4"), 1) == ([4], 1)
    for transform, given in (
        (three, (1,)),
        ('mean_file: "m"', (1,)),
        ('mean_file: "m"', (None, "swap")),
    ):
        with pytest.raises(
            SpecError, match=r"'data' \(MemoryData\): subtracts another"
        ):
            means(transform, *given)


BN = layer("bn", "BatchNorm", "data", "x") + CONV.replace('"data"', '"x"')


@pytest.mark.parametrize(
    ("channels", "text", "given", "reason"),
    [
        (3, CONV, [1, "maen"], "how is 'maen'; did you mean 'mean'.*one of mean"),
        (3, CONV, [], "how 'mean' needs channels"),
        (3, CONV, [0], "channels is 0; expected a number above 0"),
        (3, CONV, ["1"], "channels is '1'"),
        (3, CONV, [1, "luma"], "how 'luma' cannot make 1 channels of 3: it is"),
        (3, CONV, [4, "repeat"], "cannot make 4 channels of 3: it needs a multiple"),
        (3, CONV, [4, "swap"], "cannot make 4 channels of 3: it keeps their number"),
        (3, BN, [1], r"'bn' \(BatchNorm\): has values"),
        (3, layer("f", "Flatten", "data", "y"), [1],
         r"'f' \(Flatten\): reads 'data' and has no weights for each of its channels"),
        (3, IP.replace("num_output", "axis: 2 num_output"), [1], r"'l' .* has no"),
        (4, CONV.replace("pad: 1", "group: 2"), [2], r"'l' .* of 'data' in 2 groups"),
        (3, layer("p", "Power", "data", "y", "power_param { power: 2 }"), [1],
         r"'p' \(Power\): reads 'data' and has no"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(channels, text, given, reason):
    with pytest.raises(SpecError, match=reason):
        changed(channels, text, *given)


def test_values_of_another_shape_are_refused():
    model = random_model(data(2, 3, 6, 5) + CONV)
    model.weights["l"][0] = np.zeros((4, 3, 2, 2), np.float32)
    with pytest.raises(ShapeError, match=r"'l' .* weights have shape \(4, 3, 2, 2\)"):
        change_channels(model, 1)
    other = as_model(model.net, {"l": [np.zeros((4, 3, 3, 3)), np.zeros(4)]})
    assert change_channels(other, 1).weights["l"][0].shape == (4, 1, 3, 3)
