import pytest

from netspec.errors import SpecError
from netspec.schema import TEST, TRAIN
from tests.example_nets import DATA, LABEL, fc, graph, layer

LOSS = layer("loss", "SoftmaxWithLoss", "s label", "l")
FORCE = "force_backward: true "
FROZEN = "param { lr_mult: 0 } " * 2


def backward(built):
    return [node.name for node in built.nodes if node.backward]


def propagate(built, name):
    return built.node_of[name].propagate


def test_what_lies_under_a_loss_and_can_learn_runs_backward():
    text = DATA + LABEL + fc("a", "data", "x", 5) + layer("t", "TanH", "x", "s") + LOSS
    built = graph(text, TRAIN)
    assert backward(built) == ["a", "t", "loss"]
    assert propagate(built, "a") == (False,)
    assert propagate(built, "t") == (True,)
    assert propagate(built, "loss") == (True, False)
    assert built.node_of["a"].learn == (True, True)
    assert all(parameter.learn for parameter in built.parameters)


def test_nothing_runs_backward_without_a_loss():
    built = graph(DATA + fc("a", "data", "x", 5), TRAIN)
    assert backward(built) == []
    assert built.node_of["a"].learn == (False, False)


def test_what_nothing_below_can_learn_does_not_run_backward():
    text = DATA + LABEL + fc("a", "data", "x", 5, FROZEN)
    text += fc("b", "x", "s", 7) + LOSS
    built = graph(text, TRAIN)
    assert backward(built) == ["b", "loss"]
    assert propagate(built, "b") == (False,)


def test_a_frozen_weight_still_passes_the_gradient_on():
    text = DATA + LABEL + fc("a", "data", "x", 5)
    text += fc("b", "x", "s", 7, "param { lr_mult: 0 }") + LOSS
    built = graph(text, TRAIN)
    assert built.node_of["b"].learn == (False, True)
    assert propagate(built, "b") == (True,)


def test_propagate_down_false_cuts_the_path_and_everything_below():
    text = DATA + LABEL + fc("a", "data", "x", 5)
    text += fc("b", "x", "s", 7, "propagate_down: false") + LOSS
    assert backward(graph(text, TRAIN)) == ["b", "loss"]


def test_propagate_down_true_reaches_an_input():
    text = DATA + LABEL + fc("a", "data", "s", 5, "propagate_down: true") + LOSS
    assert propagate(graph(text, TRAIN), "a") == (True,)


def test_a_branch_that_reaches_no_loss_does_not_run_backward():
    text = DATA + LABEL + fc("a", "data", "s", 5) + fc("side", "s", "q", 2) + LOSS
    built = graph(text, TRAIN)
    assert backward(built) == ["a", "s_a_0_split", "loss"]


def test_any_loss_weight_makes_a_loss():
    text = DATA + fc("a", "data", "x", 5, "loss_weight: 2")
    built = graph(text, TRAIN)
    assert backward(built) == ["a"]
    assert built.node_of["a"].loss_weights == (2,)


def test_a_loss_may_be_given_the_weight_zero():
    text = DATA + LABEL + fc("a", "data", "s", 5)
    text += LOSS.replace("top", "loss_weight: 0 top", 1)
    assert backward(graph(text, TRAIN)) == []


def test_force_backward_runs_everything_but_labels():
    text = FORCE + DATA + LABEL + fc("a", "data", "s", 5, FROZEN)
    text += layer("q", "Power", "label", "z") + LOSS.replace('"label"', '"z"')
    built = graph(text)
    assert backward(built) == ["a", "q", "loss"]
    assert propagate(built, "a") == (True,)
    assert propagate(built, "loss") == (True, False)
    assert built.node_of["a"].learn == (True, True)


def test_force_backward_spares_layers_without_a_gradient():
    text = FORCE + DATA + LABEL + fc("a", "data", "s", 5)
    text += layer("acc", "Accuracy", "s label", "acc")
    built = graph(text)
    assert backward(built) == ["a"]
    assert built.gradient_errors == ()


ARGMAX = fc("a", "data", "x", 5) + layer("am", "ArgMax", "x", "y")
ARGMAX += layer("loss", "EuclideanLoss", "y c", "l")
OTHER = (
    'layer { name: "c" type: "Input" top: "c" '
    "input_param { shape { dim: 2 dim: 1 dim: 1 } } }"
)


def test_a_gradient_that_no_one_can_give_is_refused_in_training():
    message = (
        r"'am' \(ArgMax\): bottom 0 \('x'\) depends on learned parameters and lies"
    )
    with pytest.raises(SpecError, match=message):
        graph(DATA + OTHER + ARGMAX, TRAIN)


def test_a_gradient_that_no_one_can_give_is_remembered_in_testing():
    built = graph(DATA + OTHER + ARGMAX, TEST)
    assert len(built.gradient_errors) == 1
    assert "propagate_down" in built.gradient_errors[0]


def test_learned_labels_are_refused_in_training():
    text = DATA + LABEL + fc("a", "data", "s", 5) + fc("b", "data", "v", 1)
    text += layer("loss", "SoftmaxWithLoss", "s v", "l")
    with pytest.raises(
        SpecError, match=r"'loss' .*bottom 1 \('v'\) depends on learned"
    ):
        graph(text, TRAIN)


def test_multi_box_loss_has_no_gradient_for_boxes_unless_one_is_asked_for():
    shape = "reshape_param { shape { dim: [1, 2, -1] } }"
    text = DATA + fc("a", "data", "f", 16) + layer("p", "Reshape", "f", "p", shape)
    text += fc("b", "data", "loc", 16) + fc("c", "data", "conf", 12)
    shape = "input_param { shape { dim: [1, 1, 1, 8] } }"
    text += layer("t", "Input", "", "t", shape)
    given = "multibox_loss_param { num_classes: 3 }"
    built = graph(
        text + layer("loss", "MultiBoxLoss", "loc conf p t", "l", given), TRAIN
    )
    assert propagate(built, "loss") == (True, True, False, False)
    given += "propagate_down: [true, true, true, false]"
    with pytest.raises(SpecError, match=r"'loss' .*bottom 2 \('p'\) depends on"):
        graph(text + layer("loss", "MultiBoxLoss", "loc conf p t", "l", given), TRAIN)


def test_statistics_are_not_learned_though_they_make_their_layer_run():
    text = DATA + LABEL + layer("bn", "BatchNorm", "data", "s")
    text += LOSS
    built = graph(text, TRAIN)
    assert backward(built) == ["loss"]
    assert propagate(built, "loss") == (True, False)


# Memory that edges share


def buffers(built, *names_):
    return [built.edges[built.blobs[name]].buffer for name in names_]


def test_a_layer_in_place_shares_data_and_gradient():
    text = DATA + LABEL + fc("a", "data", "s", 5) + layer("r", "ReLU", "s", "s") + LOSS
    built = graph(text, TRAIN)
    relu = built.node_of["r"]
    bottom, top = (built.edges[relu.bottoms[0]], built.edges[relu.tops[0]])
    assert bottom.index != top.index
    assert bottom.buffer == top.buffer
    assert bottom.gradient == top.gradient


def test_a_reshape_shares_data_and_gradient():
    text = fc("a", "data", "x", 6) + layer("f", "Flatten", "x", "y")
    built = graph(DATA + text)
    x, y = (built.edges[built.blobs[name]] for name in "xy")
    assert x.buffer == y.buffer
    assert x.gradient == y.gradient


def in_place_pair(text, name):
    built = graph(DATA + LABEL + text, TRAIN)
    node = built.node_of[name]
    bottom, top = built.edges[node.bottoms[0]], built.edges[node.tops[0]]
    return bottom.buffer == top.buffer, bottom.gradient == top.gradient


def test_an_output_that_a_gradient_reads_is_not_overwritten():
    text = fc("a", "data", "x", 5) + layer("t", "TanH", "x", "s")
    text += layer("d", "Dropout", "s", "s") + LOSS
    assert in_place_pair(text, "d") == (False, True)


def test_dropout_may_overwrite_relu_whose_sign_it_keeps():
    text = fc("a", "data", "s", 5) + layer("r", "ReLU", "s", "s")
    text += layer("d", "Dropout", "s", "s") + LOSS
    assert in_place_pair(text, "d") == (True, True)


def test_an_input_that_its_own_gradient_reads_is_not_overwritten():
    square = "power_param { power: 2 shift: 1 }"
    text = fc("a", "data", "s", 5) + layer("p", "Power", "s", "s", square) + LOSS
    assert in_place_pair(text, "p") == (False, True)
    affine = "power_param { scale: 2 shift: 1 }"
    text = fc("a", "data", "s", 5) + layer("p", "Power", "s", "s", affine) + LOSS
    assert in_place_pair(text, "p") == (True, True)


def test_other_readers_of_a_split_are_not_disturbed():
    text = fc("a", "data", "x", 5) + layer("f", "Flatten", "x", "s")
    text += layer("r", "ReLU", "s", "s") + LOSS + fc("b", "x", "z", 2)
    assert in_place_pair(text, "r") == (False, True)


def test_the_seed_of_a_loss_is_not_overwritten():
    text = fc("a", "data", "s", 5) + layer("r", "ReLU", "s", "s", "loss_weight: 2")
    assert in_place_pair(text, "r") == (True, False)


def test_the_seed_of_a_reshaped_loss_is_not_overwritten_either():
    text = fc("a", "data", "s", 5) + layer("r", "ReLU", "s", "s")
    text += layer("f", "Flatten", "s", "y", "loss_weight: 2")
    assert in_place_pair(text, "r") == (True, False)


def test_layers_that_cannot_run_in_place_get_their_own_memory():
    text = fc("a", "data", "s", 5) + fc("b", "s", "s", 5) + LOSS
    assert in_place_pair(text, "b") == (False, False)


def test_an_input_is_shared_with_layers_in_place():
    cube = layer("p", "Power", "data", "data", "power_param { power: 3 }")
    built = graph(FORCE + DATA + cube)
    assert built.node_of["p"].backward
    assert len({edge.buffer for edge in built.edges}) == 1
    with pytest.raises(
        SpecError, match="'b' .*comes from layer 'in' .*cannot run in pl"
    ):
        graph(DATA + fc("b", "data", "data", 3))


def test_what_is_written_to_an_input_reaches_the_first_layer_in_place():
    first = layer("r", "ReLU", "data", "data")
    cube = layer("p", "Power", "data", "data", "power_param { power: 3 }")
    refused = "'{}' .*comes from layer 'in' .*another name"
    with pytest.raises(SpecError, match=refused.format("e")):
        graph(DATA + first + layer("e", "MVN", "data", "data"))
    with pytest.raises(SpecError, match=refused.format("p")):
        graph(FORCE + DATA + first + cube)
    assert len({edge.buffer for edge in graph(DATA + first + cube).edges}) == 1
