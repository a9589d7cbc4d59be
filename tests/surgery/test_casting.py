"""Inner products become convolutions: equal numbers, sliding on larger images."""

from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.commands.model_files import load_model
from netspec.errors import ShapeError, SpecError
from netspec.schema import TEST, TRAIN
from netspec.surgery import cast_to_convolution
from netspec.weights import as_model
from tests.example_nets import fc, layer
from tests.example_nets import net as parsed
from tests.surgery.common import largest_difference, random_model, snapshot, types

TOLERANCE = 1e-5
MODELS = Path(__file__).resolve().parents[2] / "models"

HEIGHT, WIDTH = 8, 6  # of the image of training; a step of 2 moves the window
DATA = f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{
  dim: 2 dim: 3 dim: {HEIGHT} dim: {WIDTH} }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "x"
  convolution_param {{ num_output: 4 kernel_size: 2 stride: 2 }} }}
"""
SIDE = """
layer {{ name: "label" type: "Input" top: "label" input_param {{ shape {{
  dim: 2 {} }} }} }}
"""
LABEL, TARGET = SIDE.format(""), SIDE.format("dim: 5")


def relu(name, bottom, top):
    return layer(name, "ReLU", bottom, top)


def options(message, text):
    return f"{message} {{ {text} }}"


def cast(text, layers=None, seed=0, **given):
    """Cast a net with random values, which is equal then; the model is unchanged."""
    model = random_model(text, seed)
    before = snapshot(model)
    result = cast_to_convolution(model, layers, **given)
    assert snapshot(model) == before
    assert largest_difference(model, result) < TOLERANCE
    return model, result


def check_sliding(model, result, name):
    """An output on a larger image has the old output of each window."""
    rng = np.random.default_rng(5)
    image = rng.normal(size=(2, 3, HEIGHT + 4, WIDTH + 2))
    large = runtime.Net(result, backend="portable")
    large.blobs["data"].reshape(*image.shape)
    maps = large.forward(data=image)[name].copy()
    assert maps.shape[-2:] == (3, 2)
    small = runtime.Net(model, backend="portable")
    for row, column in np.ndindex(3, 2):
        top, left = 2 * row, 2 * column
        window = image[:, :, top : top + HEIGHT, left : left + WIDTH]
        wanted = small.forward(data=window)[name]
        got = maps[..., row, column]
        np.testing.assert_allclose(got, wanted.reshape(got.shape), 1e-4, 1e-5)


FC6 = fc("fc6", "x", "y", 5)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (FC6, "y"),
        (layer("fc6", "InnerProduct", "x", "y",
               options("inner_product_param", "num_output: 5 transpose: true")), "y"),
        (layer("fc6", "InnerProduct", "x", "y",
               options("inner_product_param", "num_output: 5 bias_term: false")), "y"),
        (FC6 + relu("r", "y", "y") + fc("fc7", "y", "z", 4) + relu("s", "z", "z")
         + fc("fc8", "z", "w", 3), "w"),
        (layer("f", "Flatten", "x", "f") + fc("fc6", "f", "y", 5), "y"),
        (layer("f", "Flatten", "x", "f") + layer("g", "Flatten", "f", "g")
         + fc("fc6", "g", "y", 5), "y"),
        (layer("f", "Reshape", "x", "f",
               options("reshape_param", "shape { dim: 0 dim: -1 }"))
         + relu("r", "f", "f") + fc("fc6", "f", "y", 5), "y"),
        (FC6 + layer("f", "Flatten", "y", "f") + fc("fc7", "f", "z", 4), "z"),
        (FC6 + layer("f", "Flatten", "y", "f"), "f"),
        (FC6 + layer("p", "Softmax", "y", "p"), "p"),
        (FC6 + layer("p", "Softmax", "y", "p", options("softmax_param", "axis: -1")),
         "p"),
        (FC6 + layer("p", "Reshape", "y", "f",
                     options("reshape_param", "shape { dim: -1 dim: 5 }"))
         + layer("p", "Softmax", "f", "p"), "p"),
        (FC6 + layer("b", "BatchNorm", "y", "y") + layer("s", "Scale", "y", "z"), "z"),
        (FC6 + layer("s", "Scale", "y", "z",
                     options("scale_param", "axis: -1 num_axes: -1 bias_term: true")),
         "z"),
        (FC6 + layer("s", "Bias", "y", "z",
                     options("bias_param", "axis: 1 num_axes: -1")), "z"),
        (FC6 + layer("s", "Scale", "y", "z", options("scale_param", "num_axes: 0")),
         "z"),
        (FC6 + layer("s", "PReLU", "y", "z"), "z"),
        (layer("f", "Flatten", "x", "f")
         + layer("s", "PReLU", "f", "f", options("prelu_param", "channel_shared: true"))
         + fc("fc6", "f", "y", 5), "y"),
        (FC6 + fc("fc7", "x", "z", 5) + layer("e", "Eltwise", "y z", "w"), "w"),
        (FC6 + fc("fc7", "x", "z", 4)
         + layer("c", "Concat", "y z", "w", options("concat_param", "axis: -1")), "w"),
        (FC6 + fc("fc7", "x", "z", 4)
         + layer("c", "Concat", "y z", "w", options("concat_param", "concat_dim: 1")),
         "w"),
        (FC6 + fc("fc7", "x", "z", 5) + layer("s", "Scale", "y z", "w",
                                               options("scale_param", "axis: 0")), "w"),
        (fc("fc6", "x", "y", 6)
         + layer("s", "Slice", "y", "u w", options("slice_param", "axis: -1")), "w"),
        (FC6 + layer("a", "ArgMax", "y", "w", options("argmax_param", "axis: -1")),
         "w"),
        (FC6 + layer("a", "ArgMax", "y", "w", options("argmax_param", "top_k: 3")),
         "w"),
    ],
)  # fmt: skip
def test_outputs_are_equal_and_slide(text, end):
    model, result = cast(DATA + text)
    assert "InnerProduct" not in types(result)
    check_sliding(model, result, end)


def test_a_chain_becomes_windows_and_points():
    _, result = cast(DATA + FC6 + relu("r", "y", "y") + fc("fc7", "y", "z", 4))
    fc6, _, fc7 = result.net.layer[2:]
    param = fc6.convolution_param
    assert (param.kernel_h, param.kernel_w, param.num_output) == (4, 3, 5)
    assert [*fc7.convolution_param.kernel_size] == [1]
    assert [each.shape for each in result.weights["fc6"]] == [(5, 4, 4, 3), (5,)]
    assert not fc6.HasField("inner_product_param")


def test_what_a_layer_says_of_its_parameters_goes_along():
    more = """param { lr_mult: 3 } param { lr_mult: 0.5 } inner_product_param {
      num_output: 5 weight_filler { type: "xavier" } bias_filler { value: 2 } }"""
    _, result = cast(DATA + layer("fc6", "InnerProduct", "x", "y", more))
    param = result.net.layer[2].convolution_param
    assert (param.weight_filler.type, param.bias_filler.value) == ("xavier", 2)
    assert [each.lr_mult for each in result.net.layer[2].param] == [3, 0.5]


def test_a_flatten_that_others_read_stays():
    others = layer("o", "Reduction", "f", "o", options("reduction_param", "axis: 1"))
    text = DATA + layer("f", "Flatten", "x", "f") + fc("fc6", "f", "y", 5) + others
    _, result = cast(text)
    assert types(result)[2:] == ["Flatten", "Convolution", "Reduction"]
    assert [*result.net.layer[3].bottom] == ["x"]


def test_a_flatten_that_one_phase_reads_stays():
    others = layer("o", "Reduction", "f", "o", "include { phase: TRAIN }")
    text = DATA + layer("f", "Flatten", "x", "f") + fc("fc6", "f", "y", 5) + others
    _, result = cast_both_phases(text)
    assert types(result)[2:] == ["Flatten", "Convolution", "Reduction"]


def test_a_split_that_stands_in_the_net_goes_along():
    text = layer("f", "Flatten", "x", "f") + layer("s", "Split", "f", "g h")
    _, result = cast(DATA + text + fc("fc6", "g", "y", 5))
    assert types(result)[2:] == ["Reshape", "Split", "Convolution"]


def test_a_flatten_that_nobody_reads_goes():
    _, result = cast(DATA + layer("f", "Flatten", "x", "f") + fc("fc6", "f", "y", 5))
    assert types(result) == ["Input", "Convolution", "Convolution"]


def test_only_the_named_layers_are_cast():
    text = DATA + FC6 + fc("fc7", "y", "z", 4) + fc("fc8", "z", "w", 3)
    _, result = cast(text, ["fc6"])
    assert types(result)[2:] == ["Convolution", "InnerProduct", "InnerProduct"]
    _, result = cast(text, ["fc6", "fc7"])
    assert types(result)[2:] == ["Convolution", "Convolution", "InnerProduct"]


@pytest.mark.parametrize("axis", [0, -1])
def test_layers_that_stay_flatten_as_they_did(axis):
    more = options("inner_product_param", f"num_output: 4 axis: {axis}")
    cast(DATA + FC6 + layer("fc7", "InnerProduct", "y", "z", more), ["fc6"])


def test_layers_before_which_there_is_no_image_stay():
    text = DATA + FC6 + TARGET + fc("side", "label", "s", 5)
    _, result = cast(text)
    assert types(result) == ["Input", "Convolution", "Convolution", "Input",
                             "InnerProduct"]  # fmt: skip


WEIGHTS = "loss_weight: 2 loss_weight: 0"


@pytest.mark.parametrize(
    "text",
    [
        LABEL + layer("l", "SoftmaxWithLoss", "y label", "l p", WEIGHTS),
        LABEL + layer("l", "SoftmaxWithLoss", "y label", "l",
                      options("softmax_param", "axis: -1")),
        LABEL + layer("l", "Accuracy", "y label", "l c",
                      options("accuracy_param", "axis: -1 top_k: 2")),
        TARGET + layer("l", "SigmoidCrossEntropyLoss", "y label", "l"),
        TARGET + layer("l", "EuclideanLoss", "y label", "l"),
        TARGET + layer("l", "EuclideanLoss", "label y", "l"),
        TARGET + layer("l", "SmoothL1Loss", "y label", "l"),
        SIDE.format("") + fc("fc7", "x", "z", 5)
        + layer("l", "ContrastiveLoss", "y z label", "l",
                options("contrastive_loss_param", "margin: 99")),
    ],
)  # fmt: skip
def test_losses_go_along(text):
    cast(DATA + FC6 + text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (layer("l", "Reduction", "y", "l"),
         (r"'l' \(Reduction\): cannot follow when 'y' becomes \(N, C, H, W\): it is "
         r"not known .*: Reduction. Give .* as in layers=\['fc6'\]")),
        (layer("l", "Reshape", "y", "l",
               options("reshape_param", "shape { dim: 0 dim: 1 dim: 5 }")),
         "is not known to take"),
        (layer("l", "Scale", "x y", "l", options("scale_param", "axis: 0 ")),
         "second bottom would have more axes"),
        (layer("l", "Eltwise", "y label", "l"), "no longer have one shape"),
        (layer("l", "Concat", "y label", "l"), "no longer fit together"),
        (layer("l", "Softmax", "y", "l", options("softmax_param", "axis: 0")),
         "along another axis"),
        (layer("l", "Scale", "y", "l", options("scale_param", "axis: 0")),
         "along another axis"),
        (layer("l", "ArgMax", "y", "l", options("argmax_param", "out_max_val: true")),
         "gives no places beside"),
        (layer("l", "ArgMax", "y", "l", options("argmax_param", "axis: 0")),
         "along another axis"),
        (fc("fc7", "x", "z", 5) + layer("l", "Scale", "y z", "l",
             options("scale_param", "axis: 0 bias_term: true")), "along another axis"),
        (layer("l", "ArgMax", "y", "l") + layer("m", "Power", "l", "m"),
         "others read its top"),
        (layer("l", "HingeLoss", "y n", "l"), "is not known"),
        (layer("l", "SoftmaxWithLoss", "t y", "l"), "its labels would become maps"),
    ],
)  # fmt: skip
def test_what_cannot_follow_is_named(text, reason):
    more = TARGET + LABEL.replace("label", "n")
    more += SIDE.format("dim: 7 dim: 5").replace("label", "t")
    if " x y" in reason or "second bottom" in reason:
        text = text.replace('bottom: "x"', 'bottom: "u"')
        more += SIDE.format("dim: 5 dim: 4").replace("label", "u")
    with pytest.raises(SpecError, match=reason):
        cast_to_convolution(random_model(DATA + FC6 + more + text))


def test_factors_for_items_go_along_with_maps():
    text = layer("f", "Flatten", "x", "f") + relu("r", "f", "f") + LABEL
    text += layer("l", "Scale", "f label", "l", options("scale_param", "axis: 0"))
    cast(DATA + text + fc("fc6", "f", "y", 5))


def test_factors_of_a_blob_for_points():
    more = options("scale_param", "axis: 0 bias_term: true")
    cast(DATA + FC6 + TARGET + layer("l", "Scale", "y label", "l", more))


def test_factors_for_values_do_not():
    text = layer("f", "Flatten", "x", "f") + relu("r", "f", "f")
    text += SIDE.format("dim: 48")
    text += layer("l", "Scale", "f label", "l", options("scale_param", "axis: 0"))
    with pytest.raises(SpecError, match=r"'l' \(Scale\): .*would no longer be those"):
        cast_to_convolution(random_model(DATA + text + fc("fc6", "f", "y", 5)))


@pytest.mark.parametrize("axis", [0, 1])
def test_blobs_of_different_maps_are_not_joined(axis):
    text = layer("f", "Flatten", "x", "f") + relu("r", "f", "f")
    text += fc("fc6", "f", "y", 48)
    text += layer("c", "Concat", "y f", "l", options("concat_param", f"axis: {axis}"))
    with pytest.raises(SpecError, match=r"'c' \(Concat\): .*no longer fit together"):
        cast_to_convolution(random_model(DATA + text))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("PReLU", ""),
        ("BatchNorm", ""),
        ("Scale", ""),
        ("Softmax", ""),
        ("Slice", ""),
        ("ArgMax", options("argmax_param", "axis: 1")),
    ],
)
def test_values_by_place_do_not_become_values_by_channel(kind, more):
    text = layer("f", "Flatten", "x", "f") + relu("r", "f", "f")
    text += layer("l", kind, "f", "l", more) + fc("fc6", "f", "y", 5)
    with pytest.raises(SpecError, match=rf"'l' \({kind}\): .*would no longer be those"):
        cast_to_convolution(random_model(DATA + text))


# ---------------------------------------------------------------- sharing


def shared(name, bottom, top, more=""):
    text = options("inner_product_param", f"num_output: 5 {more}")
    return layer(name, "InnerProduct", bottom, top, f'param {{ name: "w" }} {text}')


def test_shared_weights_are_cast_together():
    text = DATA + relu("r", "x", "u") + shared("a", "x", "y") + shared("b", "u", "z")
    _, result = cast(text)
    assert [each.param[0].name for each in result.net.layer[3:]] == ["w", "w"]
    reason = r"'a' \(InnerProduct\): its weights are also those of layer 'b' .*name 'w'"
    with pytest.raises(SpecError, match=reason):
        cast_to_convolution(random_model(text), ["a"])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "layers", "reason"),
    [
        (DATA + FC6, ["fc7"], "no layer 'fc7'; did you mean 'fc6'"),
        (DATA + FC6, ["conv"], r"'conv' \(Convolution\): only InnerProduct layers can"),
        (DATA + FC6, "fc6", r"expected a list of names: \['fc6'\]"),
        (DATA + shared("fc6", "x", "y", "axis: 2"), ["fc6"],
         r"'fc6' \(InnerProduct\): cannot be cast .*its axis is 2; expected 1"),
        (TARGET + fc("fc6", "label", "y", 3), None,
         r"no layer can be cast .*'fc6': its input has shape \(2, 5\); expected"),
        (TARGET + layer("f", "Flatten", "label", "f") + fc("fc6", "f", "y", 3),
         ["fc6"], r"its input has shape \(2, 5\)"),
        (DATA, None, "the net has no InnerProduct"),
    ],
)  # fmt: skip
def test_what_cannot_be_cast_is_refused(text, layers, reason):
    with pytest.raises(SpecError, match=reason):
        cast_to_convolution(random_model(text), layers)


def test_values_of_another_shape_are_refused():
    model = random_model(DATA + FC6)
    model.weights["fc6"][0] = np.zeros((5, 7), np.float32)
    with pytest.raises(ShapeError, match=r"'fc6' .*weights have shape \(5, 7\); expec"):
        cast_to_convolution(model)


def test_old_shapes_of_values_and_missing_values_do():
    model = random_model(DATA + FC6)
    old = as_model(model.net, model.weights)
    old.weights["fc6"][0] = model.weights["fc6"][0].reshape(1, 1, 5, -1)
    assert largest_difference(model, cast_to_convolution(old)) < TOLERANCE
    assert cast_to_convolution(model.net).weights is None
    assert "fc6" not in cast_to_convolution(as_model(model.net, {})).weights


# ---------------------------------------------------------------- phases, models, files


def cast_both_phases(text):
    model = random_model(text)
    result = cast_to_convolution(model)
    for phase in (TRAIN, TEST):
        assert largest_difference(model, result, phase=phase) < TOLERANCE
    return model, result


TURNED = options("inner_product_param", "num_output: 5 transpose: true")


@pytest.mark.parametrize("fc6", [FC6, layer("fc6", "InnerProduct", "x", "y", TURNED)])
def test_both_phases_are_cast_together(fc6):
    loss = layer("loss", "SoftmaxWithLoss", "y label", "l", "include { phase: TRAIN }")
    text = 'name: "n" ' + DATA + fc6 + LABEL + loss
    text += layer("p", "Softmax", "y", "p", "include { phase: TEST }")
    text += layer("d", "Dropout", "y", "d", "include { phase: TRAIN }")
    cast_both_phases(text)
    other = layer("m", "Reduction", "y", "m", "include { phase: TRAIN }")
    with pytest.raises(SpecError, match=r"'m' \(Reduction\): cannot follow"):
        cast_to_convolution(random_model(text + other))


def test_a_layer_that_each_phase_would_change_differently_is_named():
    text = DATA + layer("f", "Flatten", "x", "f", "include { phase: TRAIN }")
    text += layer("g", "Power", "x", "f", "include { phase: TEST }")
    text += fc("fc6", "f", "y", 5)
    with pytest.raises(
        SpecError, match=r"'fc6' .*another layer in each phase; take on"
    ):
        cast_to_convolution(random_model(text))


def test_layers_of_a_stage_are_not_forgotten():
    more = layer("s", "Softmax", "y", "s", 'include { stage: "other" }')
    with pytest.raises(
        SpecError, match=r"'s' \(Softmax\): no phase keeps it without a"
    ):
        cast_to_convolution(random_model(DATA + FC6 + more))


@pytest.mark.parametrize(
    ("name", "sides", "count"),
    [("lenet", {}, 2), ("caffenet", {"data": (1, 3, 227, 227)}, 3)],
)
def test_models_are_cast(name, sides, count):
    net = load_model(MODELS / f"{name}.py", deploy=True)
    for each in net.layer:
        if each.type == "Input" and sides:
            each.input_param.shape[0].dim[0] = 1
        if each.inner_product_param.num_output == 4096:
            each.inner_product_param.num_output = 64
    model = random_model(net)
    result = cast_to_convolution(model)
    assert (
        types(result).count("Convolution") == types(model).count("Convolution") + count
    )
    assert largest_difference(model, result) < TOLERANCE


def test_shapes_of_data_can_be_given():
    net = parsed(layer("data", "Data", "", "x l", 'data_param { source: "no" '
                       "batch_size: 2 }") + FC6)  # fmt: skip
    with pytest.raises(ShapeError, match=r"'data' \(Data\)"):
        cast_to_convolution(net)
    result = cast_to_convolution(net, shapes={"x": (2, 4, 3, 3)})
    assert [*result.net.layer[1].convolution_param.kernel_size] == [3]
    with pytest.raises(
        SpecError, match="given for 'xx', which no layer makes; did you"
    ):
        cast_to_convolution(net, shapes={"xx": (2, 4, 3, 3)})


def test_files_are_cast(tmp_path):
    model = random_model(DATA + FC6)
    model.save(tmp_path / "net.caffemodel")
    cast_to_convolution(tmp_path / "net.caffemodel").save(tmp_path / "cast.caffemodel")
    again = as_model(tmp_path / "cast.caffemodel")
    assert largest_difference(model, again) < TOLERANCE
