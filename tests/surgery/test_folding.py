"""BatchNorm, Scale and Bias go into weights, and the numbers stay."""

import re
from pathlib import Path

import numpy as np
import pytest

from netspec.commands.model_files import load_model
from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.schema import TEST, TRAIN
from netspec.surgery import fold_batchnorm
from netspec.weights import as_model
from tests.example_nets import layer
from tests.example_nets import net as parsed
from tests.surgery.common import (
    largest_difference,
    outputs,
    random_model,
    snapshot,
    types,
)

MODELS = Path(__file__).resolve().parents[2] / "models"
TOLERANCE = 1e-5


def data(*shape, name="data"):
    dims = " ".join(f"dim: {size}" for size in shape)
    return layer(name, "Input", "", name, f"input_param {{ shape {{ {dims} }} }}")


def conv(name, bottom, top, outputs=6, more="kernel_size: 3", kind="Convolution"):
    option = f"convolution_param {{ num_output: {outputs} {more} }}"
    return layer(name, kind, bottom, top, option)


def fc(name, bottom, top, outputs=6, more=""):
    option = f"inner_product_param {{ num_output: {outputs} {more} }}"
    return layer(name, "InnerProduct", bottom, top, option)


def folded(text, seed=0):
    """Fold a net with random values; the result is equal and the model unchanged."""
    model = random_model(text, seed)
    before = snapshot(model)
    result = fold_batchnorm(model)
    assert snapshot(model) == before
    assert largest_difference(model, result.model) < TOLERANCE
    assert largest_difference(model, result.model, dtype="float64") < TOLERANCE
    return result


BN = layer("bn", "BatchNorm", "y", "z", "batch_norm_param { eps: 0.25 }")
BN_IN_PLACE = layer("bn", "BatchNorm", "y", "y")
SCALE_IN_PLACE = layer("sc", "Scale", "y", "y", "scale_param { bias_term: true }")
RELU = layer("relu", "ReLU", "y", "y")
IMAGES = data(2, 4, 7, 5)


@pytest.mark.parametrize(
    "before",
    [
        conv("l", "data", "y"),
        conv("l", "data", "y", more="kernel_size: 3 bias_term: false"),
        conv("l", "data", "y", more="kernel_size: 3 group: 2 pad: 2 stride: 2"),
        conv("l", "data", "y", 8, "kernel_size: 2 group: 4 bias_term: false"),
        conv("l", "data", "y", more="kernel_h: 3 kernel_w: 2 dilation: 2"),
        conv("l", "data", "y", 6, "kernel_size: 3 stride: 2", "Deconvolution"),
        conv("l", "data", "y", 6, "kernel_size: 3 group: 2", "Deconvolution"),
        conv(
            "l", "data", "y", 4, "kernel_size: 2 group: 4 bias_term: false",
            "Deconvolution",
        ),
        fc("l", "data", "y"),
        fc("l", "data", "y", more="bias_term: false"),
        fc("l", "data", "y", more="transpose: true"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch_norm", [BN, BN_IN_PLACE, BN_IN_PLACE + SCALE_IN_PLACE])
def test_batch_norm_goes_into_the_layer_before_it(before, batch_norm):
    result = folded(IMAGES + before + batch_norm)
    assert types(result.model) == ["Input", parsed(before).layer[0].type]
    assert set(result.folded.values()) == {"l"}
    assert result.left == {}
    assert len(result.model.weights) == 1


@pytest.mark.parametrize(
    "more",
    [
        layer("s", "Scale", "y", "z"),
        layer("s", "Scale", "y", "z", "scale_param { bias_term: true axis: -3 }"),
        layer("s", "Scale", "y", "z", "scale_param { num_axes: 0 bias_term: true }"),
        layer("s", "Bias", "y", "z"),
        layer("s", "Bias", "y", "z", "bias_param { num_axes: 0 }"),
        layer("s", "Scale", "y", "y") + layer("t", "Bias", "y", "z"),
    ],
)
def test_scale_and_bias_alone_are_folded_too(more):
    text = IMAGES + conv("l", "data", "y", more="kernel_size: 3 bias_term: false")
    result = folded(text + more)
    assert types(result.model) == ["Input", "Convolution"]
    assert result.model.net.layer[1].top == ["z"]


def test_factors_alone_add_no_bias():
    text = IMAGES + conv("l", "data", "y", more="kernel_size: 3 bias_term: false")
    result = folded(text + layer("s", "Scale", "y", "z"))
    assert [each.shape for each in result.model.weights["l"]] == [(6, 4, 3, 3)]
    assert not result.model.net.layer[1].convolution_param.bias_term


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 40), ("resnet50", 106), ("mobilenet", 54), ("mobilenet_v2", 106)],
)
def test_models_are_folded_whole(name, count):
    net = load_model(MODELS / f"{name}.py", deploy=True)
    del net.layer[-1]  # the Softmax, which would hide differences
    for each in net.layer:
        if each.type == "Input":
            each.input_param.shape[0].dim[:] = [2, 3, 65, 49]
        elif each.pooling_param.kernel_size == 7:
            each.pooling_param.ClearField("kernel_size")
            each.pooling_param.global_pooling = True
    model = random_model(net)
    result = fold_batchnorm(model)
    assert len(result.folded) == count
    assert result.left == {}
    assert not {"BatchNorm", "Scale"} & set(types(result.model))
    assert largest_difference(model, result.model) < TOLERANCE


# ---------------------------------------------------------------- what stays


BATCH = "batch_norm_param { use_global_stats: false }"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("l", "data", "y") + RELU + BN, r"it follows layer 'relu' \(ReLU\), wh"),
        (conv("l", "data", "y") + BN + layer("o", "ReLU", "y", "o"), "not the only on"),
        (
            conv("l", "data", "y") + layer("bn", "BatchNorm", "y", "z", BATCH),
            "statistics of each batch",
        ),
        (
            conv("l", "data", "y")
            + layer("bn", "BatchNorm", "y", "z", "loss_weight: 2"),
            "a part of the loss",
        ),
        (
            conv("l", "data", "y")
            + layer("bn", "Scale", "y", "z", "scale_param { axis: 2 }"),
            r"do not lie along the channels of layer 'l' \(Convolution\)",
        ),
        (
            data(2, 6, 5, 3, name="f")
            + conv("l", "data", "y")
            + layer("bn", "Scale", "y f", "z", "scale_param { axis: 0 }")
            + layer("o", "ReLU", "f", "o"),
            "its second bottom, 'f', is a blob",
        ),
        (
            fc("l", "data", "y", more="axis: 2") + layer("bn", "Scale", "y", "z"),
            "do not lie along the channels",
        ),
    ],
)
def test_what_cannot_be_folded_stays_with_its_reason(text, reason):
    result = folded(IMAGES + text)
    assert result.folded == {}
    assert list(result.left) == ["bn"]
    assert re.search(reason, result.left["bn"]), result.left
    assert "0 layers folded, 1 left\n  bn stays: " in str(result)


def test_a_layer_with_several_tops_takes_nothing_in():
    pair = layer("l", "Convolution", "data other", "y o", "convolution_param { "
                 "num_output: 6 kernel_size: 3 }")  # fmt: skip
    result = folded(IMAGES + data(2, 4, 7, 5, name="other") + pair + BN)
    assert result.left == {"bn": "layer 'l' (Convolution) has several tops"}


def test_one_channel_of_a_blob_of_one_axis():
    result = folded(data(5) + fc("l", "data", "y", more="axis: 0") + BN)
    assert result.folded == {"bn": "l"}


def test_a_chain_is_folded_up_to_what_stays():
    more = layer("s", "Scale", "y", "z", "scale_param { axis: 3 }")
    result = folded(IMAGES + conv("l", "data", "y") + BN_IN_PLACE + more)
    assert result.folded == {"bn": "l"}
    assert list(result.left) == ["s"]
    assert types(result.model) == ["Input", "Convolution", "Scale"]
    assert str(result).startswith("1 layer folded, 1 left\n  bn -> l\n  s stays: ")


def test_outputs_and_the_names_that_others_read_stay():
    text = IMAGES + conv("l", "data", "y") + BN + layer("r", "ReLU", "z", "z")
    more = "pooling_param { global_pooling: true }"
    text += conv("m", "z", "w") + layer("p", "Pooling", "z", "p", more)
    result = folded(text)
    assert sorted(outputs(result.model)) == ["p", "w"]
    assert result.model.net.layer[1].top == ["z"]


def test_values_that_are_not_finite_stay():
    model = random_model(IMAGES + conv("l", "data", "y") + BN)
    model.weights["bn"][1][2] = -5
    assert fold_batchnorm(model).left == {"bn": "its values make no finite numbers"}
    model = random_model(
        IMAGES + conv("l", "data", "y") + layer("s", "Scale", "y", "z")
    )
    model.weights["s"][0][:] = 3e38
    model.weights["l"][0][:] = 3e38
    assert "would not be finite" in fold_batchnorm(model).left["s"]


def test_statistics_that_were_never_gathered_are_folded_with_a_warning():
    model = random_model(IMAGES + conv("l", "data", "y") + BN)
    model.weights["bn"][2][:] = 0
    with pytest.warns(SpecWarning, match=r"'bn' \(BatchNorm\) has gathered no stati"):
        result = fold_batchnorm(model)
    assert largest_difference(model, result.model) < TOLERANCE


def test_layers_of_one_name_stay_as_their_values_cannot_be_told_apart():
    text = IMAGES + conv("l", "data", "y") + BN_IN_PLACE + conv("l", "data", "z")
    text += layer("t", "Scale", "z", "z")
    model = as_model(parsed(text), random_model(text).weights)
    assert fold_batchnorm(model).left == {
        "bn": "several layers have the name 'l'",
        "t": "several layers have the name 'l'",
    }


# ---------------------------------------------------------------- sharing

TWINS = (
    data(2, 4, 7, 5)
    + data(3, 4, 7, 5, name="other")
    + layer("a", "Convolution", "data", "y", 'param { name: "w" lr_mult: 0 } '
            "convolution_param { num_output: 6 kernel_size: 3 bias_term: false }")
    + layer("b", "Convolution", "other", "o", 'param { name: "w" } '
            "convolution_param { num_output: 6 kernel_size: 3 bias_term: false }")
)  # fmt: skip


def test_shared_weights_are_folded_where_all_users_agree():
    scale = 'param {{ name: "{0}_s" }} param {{ name: "{0}_t" }} scale_param {{ '
    scale += "bias_term: true }}"
    text = TWINS + layer("s", "Scale", "y", "y", scale.format("x"))
    text += layer("t", "Scale", "o", "o", scale.format("x"))
    result = folded(text)
    assert result.folded == {"s": "a", "t": "b"}
    first, second = result.model.net.layer[2:]
    names = [[each.name for each in layer.param] for layer in (first, second)]
    assert names == [["w", "w_bias"], ["w", "w_bias"]]
    assert [each.lr_mult for each in first.param] == [0, 0]
    weights = result.model.weights
    np.testing.assert_array_equal(weights["a"][1], weights["b"][1])


FACTOR = 'param { name: "f" } '


@pytest.mark.parametrize(
    "more",
    [
        "",
        layer("t", "Scale", "o", "o", "scale_param { bias_term: true }"),
        layer("t", "Scale", "o", "o", FACTOR),
        layer("t", "Scale", "o", "o", FACTOR + "scale_param { bias_term: true }"),
    ],
)
def test_shared_weights_stay_where_users_differ(more):
    scale = layer("s", "Scale", "y", "y", FACTOR + "scale_param { bias_term: true }")
    result = folded(TWINS + scale + more)
    assert result.folded == {}
    assert result.left["s"] == (
        "layer 'a' (Convolution) shares its weights with layer 'b' (Convolution), "
        "which folds nothing equal"
    )


def test_what_users_fold_differently_stays_beside_what_is_folded():
    text = TWINS + layer("s", "Scale", "y", "y", "scale_param { bias_term: true }")
    text += data(2, 4, 7, 5, name="third") + conv("c", "third", "q")
    result = folded(text + layer("t", "BatchNorm", "q", "q"))
    assert result.folded == {"t": "c"}
    assert list(result.left) == ["s"]


def test_a_parameter_that_goes_stays_with_those_who_share_it():
    scale = 'param { name: "s" }'
    text = IMAGES + conv("l", "data", "y") + layer("s", "Scale", "y", "y", scale)
    text += layer("r", "ReLU", "y", "y") + layer("t", "Scale", "y", "y", scale)
    result = folded(text)
    assert result.folded == {"s": "l"}
    assert list(result.left) == ["t"]


# ---------------------------------------------------------------- before a layer


@pytest.mark.parametrize(
    "after",
    [
        conv("l", "z", "y"),
        conv("l", "z", "y", more="kernel_size: 3 bias_term: false stride: 2"),
        conv("l", "z", "y", more="kernel_size: 2 group: 2"),
        fc("l", "z", "y"),
        fc("l", "z", "y", more="transpose: true bias_term: false"),
        fc("l", "z", "y", more="axis: 2"),
    ],
)
def test_batch_norm_of_data_goes_into_the_layer_behind_it(after):
    bn = layer("bn", "BatchNorm", "data", "data")
    bn += layer("s", "Scale", "data", "z", "scale_param { bias_term: true }")
    if "axis: 2" in after:
        bn = layer("s", "Scale", "data", "z", "scale_param { axis: 2 bias_term: true }")
    result = folded(IMAGES + bn + after)
    assert set(result.folded.values()) == {"l"}
    assert types(result.model)[0] == "Input"
    assert len(result.model.net.layer) == 2


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (
            conv("l", "z", "y", more="kernel_size: 3 pad: 1"),
            "pads with zeros, which st",
        ),
        (conv("l", "z", "y", 6, "kernel_size: 3", "Deconvolution"), "at the borders"),
    ],
)
def test_a_shift_before_borders_stays_and_a_factor_alone_does_not(after, reason):
    bn = layer("bn", "BatchNorm", "data", "z")
    result = folded(IMAGES + bn + after)
    assert result.folded == {}
    assert reason in result.left["bn"]
    result = folded(IMAGES + layer("s", "Scale", "data", "z") + after)
    assert result.folded == {"s": "l"}


def test_a_layer_between_two_goes_into_one_of_them():
    text = IMAGES + conv("l", "data", "y") + BN + conv("m", "z", "w")
    assert folded(text).folded == {"bn": "l"}


def test_a_layer_takes_in_what_stands_on_both_sides():
    bn = layer("bn", "BatchNorm", "data", "z")
    text = IMAGES + bn + conv("l", "z", "y") + BN_IN_PLACE.replace('"bn"', '"bn2"')
    result = folded(text)
    assert result.folded == {"bn": "l", "bn2": "l"}
    assert (list(result.folded), result.left) == (["bn", "bn2"], {})


# ---------------------------------------------------------------- phases and errors


def test_the_result_is_the_net_of_the_test_phase():
    text = 'name: "n" ' + IMAGES + conv("l", "data", "y")
    text += layer("bn", "BatchNorm", "y", "y", "include { phase: TEST }")
    text += layer("bn", "BatchNorm", "y", "y", "include { phase: TRAIN }")
    result = folded(text)
    assert types(result.model) == ["Input", "Convolution"]
    assert result.model.net.name == "n"
    for phase in (TRAIN, TEST):
        assert outputs(result.model, phase=phase)


def test_a_net_without_such_layers_needs_no_values():
    result = fold_batchnorm(parsed(IMAGES + conv("l", "data", "y")))
    assert (result.folded, result.left) == ({}, {})


def test_values_are_needed():
    net = parsed(IMAGES + conv("l", "data", "y") + BN)
    with pytest.raises(SpecError, match="the model has none; give its weights"):
        fold_batchnorm(net)
    with pytest.raises(SpecError, match=r"no values for layer 'bn' \(BatchNorm\)"):
        fold_batchnorm(as_model(net, {"l": [np.zeros((6, 4, 3, 3)), np.zeros(6)]}))


def test_shapes_of_data_can_be_given():
    text = layer(
        "data", "Data", "", "data", 'data_param { source: "no" batch_size: 2 }'
    )
    text += conv("l", "data", "y") + BN
    weights = random_model(IMAGES + conv("l", "data", "y") + BN).weights
    model = as_model(parsed(text), weights)
    with pytest.raises(ShapeError, match=r"'data' \(Data\)"):
        fold_batchnorm(model)
    result = fold_batchnorm(model, shapes={"data": (2, 4, 7, 5)})
    assert result.folded == {"bn": "l"}


def test_files_are_folded(tmp_path):
    model = random_model(IMAGES + conv("l", "data", "y") + BN)
    model.save(tmp_path / "net.caffemodel")
    result = fold_batchnorm(tmp_path / "net.caffemodel")
    assert largest_difference(model, result.model) < TOLERANCE
    result.model.save(tmp_path / "folded.caffemodel")
    again = as_model(tmp_path / "folded.caffemodel")
    assert largest_difference(model, again) < TOLERANCE


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("BatchNorm", "batch_norm_param { scale_bias: true eps: 0.1 }"),
        ("BatchNorm", "batch_norm_param { use_weight_bias: true bias_term: false }"),
        ("BN", "bn_param { eps: 0.1 }"),
        ("BN", "bn_param { bn_mode: INFERENCE }"),
        ("BN", "bn_param { var_eps: 0.2 }"),
    ],
)
def test_normalizations_of_forks_go_into_weights(kind, options):
    for where in ("y", "z"):
        text = IMAGES + conv("l", "data", "y") + layer("n", kind, "y", where, options)
        result = folded(text + layer("relu", "ReLU", where, where))
        assert types(result.model) == ["Input", "Convolution", "ReLU"]
        assert result.folded == {"n": "l"}


def test_what_takes_statistics_of_the_batch_stays():
    text = IMAGES + conv("l", "data", "y")
    result = folded(text + layer("n", "BN", "y", "z", "bn_param { bn_mode: LEARN }"))
    assert result.left == {"n": "it takes the statistics of each batch"}
