"""A model gets another classifier, and what depends on it follows."""

import warnings
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.commands.model_files import load_model
from netspec.errors import SpecError, SpecWarning
from netspec.schema import TEST, TRAIN
from netspec.surgery import replace_classifier
from netspec.weights import as_model
from tests.example_nets import layer, names
from tests.example_nets import net as parsed
from tests.surgery.common import outputs, random_model, snapshot

MODELS = Path(__file__).resolve().parents[2] / "models"
IMAGES = """
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 2 dim: 3 dim: 5 dim: 4 } } }
"""
LABEL = """
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
"""
XAVIER = 'weight_filler { type: "xavier" }'


def ip(name, bottom, top, outputs, more=XAVIER):
    text = f"inner_product_param {{ num_output: {outputs} {more} }}"
    return layer(name, "InnerProduct", bottom, top, text)


NET = IMAGES + ip("fc7", "data", "fc7", 6) + ip("fc8", "fc7", "fc8", 7)
LOSS = LABEL + layer("loss", "SoftmaxWithLoss", "fc8 label", "loss")


def replaced(text, *given, **options):
    """Replace without any warning; the model stays, the new one runs."""
    model = random_model(text)
    before = snapshot(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpecWarning)
        result = replace_classifier(model, *given, **options)
    assert snapshot(model) == before
    for phase in (TEST, TRAIN):
        outputs(result, phase=phase)
    return model, result


def test_the_last_layer_gets_another_number_and_name():
    model, result = replaced(NET + LOSS, 4)
    assert names(result.net) == ["data", "fc7", "fc8_4", "label", "loss"]
    last = result.net.layer[2]
    assert (last.inner_product_param.num_output, *last.top) == (4, "fc8_4")
    assert [*result.net.layer[4].bottom] == ["fc8_4", "label"]
    assert list(result.weights) == ["fc7"]
    np.testing.assert_array_equal(result.weights["fc7"][0], model.weights["fc7"][0])


def test_new_values_come_from_the_filler_and_old_ones_stay(tmp_path):
    _, result = replaced(NET, 4)
    result.save(tmp_path / "new.caffemodel")
    for net in (result, tmp_path / "new.caffemodel"):
        first, second = (runtime.Net(net, seed=seed) for seed in (1, 2))
        new = first.params["fc8_4"][0].data
        assert new.shape == (4, 6)
        assert 0 < np.abs(new).max() <= np.sqrt(3 / 6)
        assert (new != second.params["fc8_4"][0].data).all()
        held = first.params["fc7"][0].data
        np.testing.assert_array_equal(held, result.weights["fc7"][0])
    again = as_model(tmp_path / "new.caffemodel")
    assert list(again.weights) == ["fc7"]


def test_weights_of_the_old_net_do_not_reach_the_new_layer(tmp_path):
    model, result = replaced(NET, 4)
    model.save(tmp_path / "old.caffemodel")
    net = runtime.Net(result)
    with pytest.warns(SpecWarning, match="'fc8_4' did not"):
        assert net.copy_from(tmp_path / "old.caffemodel").copied == ("fc7",)


def test_the_name_can_be_given():
    _, result = replaced(NET, 4, name="mine")
    assert names(result.net) == ["data", "fc7", "mine"]
    _, result = replaced(NET, 4, name={"fc8": "mine"})
    assert [*result.net.layer[2].top] == ["mine"]


def test_a_blob_of_another_name_keeps_it():
    _, result = replaced(IMAGES + ip("fc8", "data", "score", 7), 4)
    assert [*result.net.layer[1].top] == ["score"]


def test_names_in_use_are_passed_over():
    text = NET.replace('"fc7"', '"fc8_4"')
    _, result = replaced(text, 4)
    assert names(result.net) == ["data", "fc8_4", "fc8_4_2"]


def test_the_layer_below_the_main_loss_is_found_by_its_wires():
    side = ip("late", "fc7", "late", 3) + LABEL.replace("label", "n")
    side += layer("end", "SoftmaxWithLoss", "late n", "s", "loss_weight: 0.5")
    _, result = replaced(NET + side + LOSS, 4)
    assert names(result.net)[2] == "fc8_4"
    points = f"convolution_param {{ num_output: 7 kernel_size: 1 {XAVIER} }}"
    text = IMAGES + layer("conv10", "Convolution", "data", "y", points)
    text += layer("r", "ReLU", "y", "y")
    whole = "pooling_param { global_pooling: true }"
    text += layer("pool", "Pooling", "y", "p", whole)
    _, result = replaced(text, 4)
    assert names(result.net)[1] == "conv10_4"
    assert outputs(result)["p"].shape == (2, 4, 1, 1)


def test_both_phases_are_changed():
    text = NET + LABEL
    text += layer("loss", "SoftmaxWithLoss", "fc8 label", "l", "include {phase: TRAIN}")
    text += layer("acc", "Accuracy", "fc8 label", "acc", "include { phase: TEST }")
    _, result = replaced(text, 4)
    for phase, blob in ((TRAIN, "l"), (TEST, "acc")):
        assert blob in outputs(result, phase=phase)


def test_targets_with_a_value_for_each_output_follow():
    target = LABEL.replace("dim: 2", "dim: 2 dim: 7")
    for loss in ("EuclideanLoss", "SigmoidCrossEntropyLoss"):
        _, result = replaced(NET + target + layer("l", loss, "fc8 label", "l"), 4)
        assert [*result.net.layer[3].input_param.shape[0].dim] == [2, 4]
    shapes = "shape { dim: 2 dim: 7 } shape { dim: 2 dim: 9 }"
    more = f"dummy_data_param {{ {shapes} }}"
    dummy = layer("d", "DummyData", "", "label other", more)
    dummy += layer("end", "Silence", "other", "")
    _, result = replaced(NET + dummy + layer("l", "EuclideanLoss", "fc8 label", "l"), 4)
    shapes = result.net.layer[3].dummy_data_param.shape
    assert [[*shape.dim] for shape in shapes] == [[2, 4], [2, 9]]


def test_layers_behind_with_values_for_each_output_start_anew():
    text = (
        NET + layer("bn", "BatchNorm", "fc8", "fc8") + layer("s", "Scale", "fc8", "y")
    )
    text += layer("one", "PReLU", "y", "y", "prelu_param { channel_shared: true }")
    text += ip("fc9", "y", "z", 3)
    with pytest.warns(SpecWarning, match="follows fc8 and has values for") as caught:
        result = replace_classifier(random_model(text), 4, "fc8")
    assert names(result.net) == ["data", "fc7", "fc8_4", "bn_4", "s_4", "one", "fc9_4"]
    assert list(result.weights) == ["fc7", "one"]
    assert len(caught) == 3
    assert outputs(result)["z"].shape == (2, 3)


def test_layers_beyond_the_next_learned_one_stay():
    text = NET + ip("fc9", "fc8", "z", 3) + layer("bn", "BatchNorm", "z", "z")
    with pytest.warns(SpecWarning, match="'fc9'.* follows fc8"):
        result = replace_classifier(random_model(text), 4, "fc8")
    assert names(result.net)[3:] == ["fc9_4", "bn"]
    assert list(result.weights) == ["fc7", "bn"]


def test_layers_behind_without_values_stay():
    text = NET + ip("gate", "data", "g", 1)
    text += layer("r", "Reshape", "g", "r", "reshape_param { shape { dim: 2 } }")
    text += layer("s", "Scale", "fc8 r", "y", "scale_param { axis: 0 }")
    _, result = replaced(text, 4, "fc8")
    assert names(result.net)[-1] == "s"


def test_layers_behind_in_one_phase_start_anew():
    text = NET + LABEL + layer("s", "Scale", "fc8", "fc8", "include { phase: TRAIN }")
    text += layer("loss", "SoftmaxWithLoss", "fc8 label", "l", "include {phase: TRAIN}")
    with pytest.warns(SpecWarning, match="'s'.* follows fc8"):
        result = replace_classifier(random_model(text), 4)
    assert "s_4" in names(result.net)


def test_several_layers_at_once():
    text = NET + ip("other", "fc7", "o", 7)
    reason = r"which layer .* 'fc8' \(InnerProduct\), layer 'other' \(InnerProduct\); g"
    with pytest.raises(SpecError, match=reason):
        replace_classifier(random_model(text), 4)
    _, result = replaced(text, 4, ["fc8", "other"])
    assert {name: each.shape for name, each in outputs(result).items()} == {
        "fc8_4": (2, 4),
        "o": (2, 4),
    }


# ---------------------------------------------------------------- said, not done


TOP_K = "accuracy_param { top_k: 5 }"
AUXILIARY = ip("aux", "fc7", "aux", 7)
AUXILIARY += layer("side", "SoftmaxWithLoss", "aux label", "s", "loss_weight: 0.3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            LABEL + layer("acc", "Accuracy", "fc8 label", "a", TOP_K),
            r"'acc' \(Accuracy\): top_k is 5, but there are 4 classes now; it bec",
        ),
        (
            LOSS + AUXILIARY,
            (
                r"'side' \(SoftmaxWithLoss\) still has the 7 outputs of 'aux'; .* "
                r"replace both: layer=\['fc8', 'aux'\]"
            ),
        ),
    ],
)
def test_what_is_doubtful_is_said(text, reason):
    with pytest.warns(SpecWarning, match=reason) as caught:
        result = replace_classifier(random_model(NET + text), 4)
    assert len(caught) == 1
    assert outputs(result)


def test_files_that_must_follow_are_named():
    loss = 'infogain_loss_param { source: "h" }'
    text = NET + LABEL + layer("l", "InfogainLoss", "fc8 label", "l", loss)
    with pytest.warns(
        SpecWarning, match=r"'l' \(InfogainLoss\) reads .* 'h'; .* 4 x 4"
    ):
        replace_classifier(parsed(text), 4)
    data = layer("d", "HDF5Data", "", "label", 'hdf5_data_param { source: "f" }')
    text = NET + data + layer("l", "EuclideanLoss", "fc8 label", "l")
    with pytest.warns(SpecWarning, match=r"4 outputs with what layer 'd' \(HDF5Data\)"):
        replace_classifier(parsed(text), 4)


def test_zeros_to_start_with_are_said():
    text = IMAGES + ip("fc8", "data", "y", 7, "")
    with pytest.warns(
        SpecWarning, match=r"'fc8' \(InnerProduct\) has no weight_filler"
    ):
        replace_classifier(random_model(text), 4)
    _, result = replaced(text, 4, weight_filler="xavier")
    assert result.net.layer[1].inner_product_param.weight_filler.type == "xavier"


# ---------------------------------------------------------------- refusals

SHARED = 'param { name: "w" } inner_product_param { num_output: 7 }'
TWINS = layer("a", "InnerProduct", "data", "y", SHARED)
TWINS += layer("b", "InnerProduct", "data", "z", SHARED)


@pytest.mark.parametrize(
    ("text", "given", "options", "reason"),
    [
        (NET, [0], {}, "num_output is 0; expected a number above 0"),
        (NET, ["5"], {}, "num_output is '5'"),
        (NET, [True], {}, "num_output is True"),
        (NET, [4, "fc88"], {}, "no layer 'fc88'; did you mean 'fc8'"),
        (NET, [4, "data"], {}, r"'data' \(Input\): only a Convolution"),
        (NET, [4, []], {}, "layer is an empty list"),
        (NET, [4], {"name": "fc7"}, "'fc7' and 'fc8' would both be called 'fc7'"),
        (NET, [4], {"name": "fc8"}, "the new name is the old one, 'fc8'"),
        (NET, [4], {"name": {"fc7": "x"}}, "given for 'fc7', which is not replaced"),
        (NET, [4, ["fc7", "fc8"]], {"name": "x"}, "one name, 'x', is given for 2"),
        (IMAGES + layer("r", "ReLU", "data", "y"), [4], {}, "has no Convolution"),
        (IMAGES + layer("up", "Deconvolution", "data", "y",
                        "convolution_param { num_output: 7 kernel_size: 2 }"),
         [4], {}, r"which layer is the classifier\? .* 'up' \(Deconvolution\)"),
        (NET + layer("r", "Reshape", "fc8", "r",
                     "reshape_param { shape { dim: 2 dim: 7 } }"),
         [4], {}, r"'r' \(Reshape\): shape"),
        (IMAGES + TWINS, [4, "a"], {},
         r"'b' \(InnerProduct\): shares the parameter 'w' with a; give"),
    ],
)  # fmt: skip
def test_what_cannot_be_replaced_is_refused(text, given, options, reason):
    with pytest.raises(SpecError, match=reason):
        replace_classifier(random_model(text), *given, **options)


def test_detectors_are_refused():
    net = load_model(MODELS / "ssd300.py", deploy=True)
    with pytest.raises(SpecError, match="which layer is the classifier"):
        replace_classifier(net, 4)
    with pytest.raises(SpecError, match=r"\(DetectionOutput\): has a number"):
        replace_classifier(net, 4, next(n for n in names(net) if "conf" in n))


@pytest.mark.parametrize(
    ("name", "new", "classifier"),
    [
        ("caffenet", "fc8_4", "fc8"),
        ("squeezenet", "conv10_4", "conv10"),
        ("mobilenet_v2", "fc7_4", "fc7"),
        ("resnet18", "fc1000_4", "fc1000"),
    ],
)
def test_models_for_training(name, new, classifier):
    net = load_model(MODELS / f"{name}.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)  # of top_k 5
        result = replace_classifier(net, 4)
    assert new in names(result.net)
    assert classifier not in names(result.net)


def test_shapes_that_only_files_know_are_no_hindrance():
    text = layer("d", "Data", "", "data label", 'data_param { source: "no" '
                 "batch_size: 2 }") + ip("fc8", "data", "fc8", 7)  # fmt: skip
    text += layer("loss", "SoftmaxWithLoss", "fc8 label", "loss")
    assert names(replace_classifier(parsed(text), 4).net) == ["d", "fc8_4", "loss"]
