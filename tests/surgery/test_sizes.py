"""A model for images of another size, or what stands in the way."""

import re
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.commands.model_files import load_model
from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.surgery import cast_to_convolution, resize_input
from netspec.weights import as_model
from tests.example_nets import fc, layer
from tests.example_nets import net as parsed
from tests.surgery.common import outputs, random_model, snapshot

MODELS = Path(__file__).resolve().parents[2] / "models"


def data(*shape, name="data", kind="Input", param="input_param"):
    dims = " ".join(f"dim: {size}" for size in shape)
    return layer(name, kind, "", name, f"{param} {{ shape {{ {dims} }} }}")


IMAGES = data(2, 3, 9, 8)
CONV = layer(
    "conv",
    "Convolution",
    "data",
    "x",
    "convolution_param {num_output: 4 kernel_size: 3}",
)
LABEL = data(2, name="label")


def resized(text, *given, **options):
    model = random_model(text)
    before = snapshot(model)
    result = resize_input(model, *given, **options)
    assert snapshot(model) == before
    return model, result


def shapes(model):
    graph = runtime.Net(model).graph
    return {name: graph.edges[edge].shape for name, edge in graph.blobs.items()}


@pytest.mark.parametrize(
    ("given", "wanted"), [(11, (11, 11)), ((7, 10), (7, 10)), (np.int64(6), (6, 6))]
)
def test_images_get_another_size(given, wanted):
    model, result = resized(IMAGES + CONV, given)
    assert shapes(result)["data"] == (2, 3, *wanted)
    net = runtime.Net(model, backend="portable")
    net.blobs["data"].reshape(2, 3, *wanted)
    image = np.random.default_rng(1).normal(size=(2, 3, *wanted))
    wanted = net.forward(data=image)["x"]
    got = runtime.Net(result, backend="portable").forward(data=image)["x"]
    np.testing.assert_array_equal(got, wanted)


def test_batches_get_another_number():
    _, result = resized(IMAGES + CONV + LABEL, batch_size=5)
    assert shapes(result) == {"data": (5, 3, 9, 8), "label": (5,), "x": (5, 4, 7, 6)}
    _, result = resized(IMAGES + CONV, 5, batch_size=1)
    assert shapes(result)["data"] == (1, 3, 5, 5)


def test_shapes_can_be_given_by_name():
    _, result = resized(IMAGES + CONV + LABEL, shapes={"data": (4, 3, 5, 6)})
    assert shapes(result)["data"] == (4, 3, 5, 6)
    assert shapes(result)["label"] == (2,)


def test_all_images_of_one_size_are_resized_and_labels_are_not():
    other = data(2, 1, 9, 8, name="other") + data(2, 1, 1, 1, name="label")
    _, result = resized(IMAGES + CONV + other, 7)
    found = shapes(result)
    assert (found["other"], found["label"]) == ((2, 1, 7, 7), (2, 1, 1, 1))


def test_forms_of_inputs_stay():
    pair = 'top: "b" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } }'
    _, result = resized(layer("in", "Input", "", "a", pair), 5)
    assert len(result.net.layer[0].input_param.shape) == 1
    assert shapes(result) == {"a": (2, 3, 5, 5), "b": (2, 3, 5, 5)}
    _, result = resized(layer("in", "Input", "", "a", pair), shapes={"a": (1, 2)})
    assert shapes(result) == {"a": (1, 2), "b": (2, 3, 9, 8)}


def test_a_shape_for_each_top_stays_one_for_each():
    two = "shape { dim: 2 dim: 3 dim: 9 dim: 8 } shape { dim: 2 dim: 3 dim: 9 dim: 8 }"
    text = layer("in", "Input", "", "a b", f"input_param {{ {two} }}")
    _, result = resized(text, 5)
    assert len(result.net.layer[0].input_param.shape) == 2


@pytest.mark.parametrize(
    "text",
    [
        data(2, 3, 9, 8, kind="DummyData", param="dummy_data_param"),
        layer("data", "DummyData", "", "data",
              "dummy_data_param { num: 2 channels: 3 height: 9 width: 8 }"),
    ],
)  # fmt: skip
def test_dummy_data_is_resized(text):
    _, result = resized(text + CONV, 6, batch_size=4)
    assert shapes(result)["data"] == (4, 3, 6, 6)


def test_arrays_in_memory_are_resized():
    text = layer("data", "MemoryData", "", "data label", "memory_data_param { "
                 "batch_size: 2 channels: 3 height: 9 width: 8 }") + CONV  # fmt: skip
    _, result = resized(text, (5, 6), batch_size=4)
    param = result.net.layer[0].memory_data_param
    assert (param.batch_size, param.channels, param.height, param.width) == (4, 3, 5, 6)
    with pytest.raises(ShapeError, match=r"'data' \(MemoryData\): its tops would"):
        resize_input(random_model(text), shapes={"data": (4, 3, 5)})
    with pytest.raises(ShapeError, match=r"'data' \(MemoryData\): its tops would"):
        resize_input(random_model(text), shapes={"label": (5,)})


def test_data_layers_crop_to_another_size():
    more = (
        "data_param { batch_size: 2 } transform_param { crop_size: 9 force_color: 1 }"
    )
    text = layer("data", "Data", "", "data label", more) + CONV
    result = resize_input(parsed(text), 7, batch_size=4)
    source = result.net.layer[0]
    assert (source.transform_param.crop_size, source.data_param.batch_size) == (7, 4)
    reason = r"'data' \(Data\): crop_size cuts out a square, so 7 x 8 cannot be"
    with pytest.raises(SpecError, match=reason):
        resize_input(parsed(text), (7, 8))
    more = "image_data_param { batch_size: 2 new_height: 9 new_width: 8 }"
    text = layer("data", "ImageData", "", "data label", more) + CONV
    param = resize_input(parsed(text), (7, 6)).net.layer[0].image_data_param
    assert (param.new_height, param.new_width) == (7, 6)


def test_shapes_of_files_are_looked_at():
    text = layer("data", "Data", "", "data label", "data_param { batch_size: 2 }")
    text += fc("ip", "data", "y", 4)
    weights = random_model(IMAGES + fc("ip", "data", "y", 4)).weights
    model = as_model(parsed(text), weights)
    assert resize_input(model, shapes={"data": (2, 3, 9, 8)}).net == model.net
    with pytest.raises(ShapeError, match=r"'ip' .* shape \(4, 216\), .* \(4, 210\)"):
        resize_input(model, shapes={"data": (2, 3, 10, 7)})


# ---------------------------------------------------------------- refusals


def test_an_inner_product_that_no_longer_fits_is_named_and_casting_helps():
    text = IMAGES + CONV + fc("ip1", "x", "y", 5) + fc("ip2", "y", "z", 4)
    model = random_model(text)
    reason = (
        "layer 'ip1' (InnerProduct): parameter 0 has shape (5, 168), with the new "
        "input (2, 4, 9, 8) it needs (5, 288); cast it to a convolution first: "
        "netspec.surgery.cast_to_convolution(model, ['ip1'])"
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(reason)}$"):
        resize_input(model, (11, 10))
    result = resize_input(cast_to_convolution(model), (11, 10))
    assert outputs(result)["z"].shape == (2, 4, 3, 3)


def test_other_layers_with_values_for_places_are_named():
    more = "scale_param { axis: 2 num_axes: 1 }"
    text = IMAGES + layer("s", "Scale", "data", "y", more)
    reason = r"'s' \(Scale\): parameter 0 has shape \(9,\), .* needs \(7,\); take a"
    with pytest.raises(ShapeError, match=reason):
        resize_input(random_model(text), 7)


def test_without_values_it_is_said():
    net = parsed(IMAGES + fc("ip", "data", "y", 4))
    with pytest.warns(SpecWarning, match=r"'ip' .*no values, they start anew"):
        result = resize_input(net, 5)
    assert shapes(result)["y"] == (2, 4)


def test_old_shapes_of_values_fit():
    model = random_model(IMAGES + fc("ip", "data", "y", 4))
    model.weights["ip"][0] = model.weights["ip"][0].reshape(1, 1, 4, -1)
    assert resize_input(model, batch_size=3)
    with pytest.raises(ShapeError, match=r"'ip' .* shape \(1, 1, 4, 216\), with"):
        resize_input(model, 3)


@pytest.mark.parametrize(
    ("text", "given", "options", "reason"),
    [
        (IMAGES + CONV, [], {}, "needs a size, a batch_size or shapes"),
        (IMAGES + CONV, [0], {}, "size is 0; expected one number above 0, or"),
        (IMAGES + CONV, [(3, 4, 5)], {}, r"size is \(3, 4, 5\)"),
        (IMAGES + CONV, ["5"], {}, "size is '5'"),
        (IMAGES + CONV, [2.5], {}, "size is 2.5"),
        (IMAGES + CONV, [], {"batch_size": 0}, "batch_size is 0"),
        (IMAGES + CONV, [], {"shapes": {"dat": (1,)}}, "no input; did you mean 'data'"),
        (IMAGES + CONV, [2], {}, r"'conv' \(Convolution\): the kernel covers"),
        (data(2, 5, name="l") + fc("ip", "l", "y", 3), [5], {}, "no input of shape"),
        (IMAGES + data(2, 3, 6, 5, name="b"), [5], {},
         r"images of several sizes: 'data' \(2, 3, 9, 8\), 'b' \(2, 3, 6, 5\);"),
        (IMAGES + data(5, 5, name="rois"), [], {"batch_size": 3},
         r"the first axes of inputs differ: 'data' .*, 'rois' \(5, 5\); give them"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(text, given, options, reason):
    with pytest.raises(SpecError, match=reason):
        resize_input(random_model(text), *given, **options)


def test_models_are_resized_after_casting():
    net = load_model(MODELS / "lenet.py", deploy=True)
    model = random_model(net)
    with pytest.raises(ShapeError, match=r"cast_to_convolution\(model, \['ip1'\]\)"):
        resize_input(model, 36)
    result = resize_input(cast_to_convolution(model), 36, batch_size=2)
    assert next(iter(outputs(result).values())).shape == (2, 10, 3, 3)
