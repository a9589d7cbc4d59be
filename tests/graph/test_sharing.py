import pytest

from netspec.errors import SpecError
from netspec.graph import Use
from netspec.schema import TRAIN
from tests.example_nets import DATA, fc, graph, layer

WIDE = 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }'


def owner(more='param { name: "w" }'):
    return layer("a", "InnerProduct", "data", "y", f"{WIDE} {more}")


def test_the_first_layer_owns_a_named_parameter():
    text = owner() + fc("b", "y", "z", 3, 'param { name: "w" }')
    built = graph(DATA + text)
    weights = built.parameters[0]
    assert weights.name == "w"
    assert weights.users == (Use(1, 0), Use(2, 0))
    assert weights.owner == Use(1, 0)
    assert weights.filler.type == "xavier"
    assert [node.params for node in built.nodes[1:]] == [(0, 1), (0, 2)]
    assert [parameter.name for parameter in built.parameters] == ["w", "", ""]


def test_one_layer_may_use_a_parameter_twice():
    text = layer(
        "e", "Embed", "data", "y", "embed_param { num_output: 2 input_dim: 2 }"
    )
    scale = 'param { name: "s" } param { name: "s" } scale_param { bias_term: true }'
    built = graph(DATA + text + layer("s", "Scale", "y", "z", scale))
    assert built.node_of["s"].params == (2, 2)
    assert built.parameters[2].users == (Use(2, 0), Use(2, 1))


def test_an_explicit_multiplier_replaces_a_default():
    text = owner() + fc(
        "b", "y", "z", 3, 'param { name: "w" lr_mult: 5 decay_mult: 0 }'
    )
    weights = graph(DATA + text).parameters[0]
    assert (weights.lr_mult, weights.decay_mult) == (5, 0)


def test_a_default_does_not_replace_an_explicit_multiplier():
    text = owner('param { name: "w" lr_mult: 5 decay_mult: 7 }')
    text += fc("b", "y", "z", 3, 'param { name: "w" }')
    weights = graph(DATA + text).parameters[0]
    assert (weights.lr_mult, weights.decay_mult) == (5, 7)


@pytest.mark.parametrize("field", ["lr_mult", "decay_mult"])
def test_two_explicit_multipliers_must_agree(field):
    text = owner(f'param {{ name: "w" {field}: 5 }}')
    text += fc("b", "y", "z", 3, f'param {{ name: "w" {field}: 6 }}')
    message = f"'b' .*{field} of the shared parameter 'w' is 6, but layer 'a' .* says 5"
    with pytest.raises(SpecError, match=message):
        graph(DATA + text)


def test_strict_sharing_needs_the_same_shape():
    text = owner() + fc("b", "y", "z", 2, 'param { name: "w" }')
    message = (
        r"'b' .*shares 'w' with layer 'a' .*shape \(2, 3\) instead of \(3, 3\); make"
    )
    with pytest.raises(SpecError, match=message):
        graph(DATA + text)


def test_permissive_sharing_needs_the_same_count():
    shape = layer("p", "Parameter", "", "v", 'param { name: "w" } parameter_param {%s}')
    mode = 'param { name: "w" share_mode: PERMISSIVE }'
    text = shape % "shape { dim: 9 }" + fc("b", "data", "z", 3, mode)
    built = graph(DATA + text)
    assert built.parameters[0].shape == (9,)
    assert built.node_of["b"].op.params[0].shape == (3, 3)
    text = shape % "shape { dim: 8 }" + fc("b", "data", "z", 3, mode)
    with pytest.raises(
        SpecError, match="PERMISSIVE sharing needs the same number of val"
    ):
        graph(DATA + text)


def test_too_many_param_blocks_are_refused():
    more = "param { } " * 3
    with pytest.raises(
        SpecError, match="3 param blocks are given, but the layer has 2"
    ):
        graph(DATA + fc("a", "data", "y", 2, more))


def test_batch_norm_statistics_have_no_learning_rate():
    built = graph(DATA + layer("bn", "BatchNorm", "data", "y"), TRAIN)
    assert [p.lr_mult for p in built.parameters] == [0, 0, 0]
    assert [p.decay_mult for p in built.parameters] == [1, 1, 1]
    assert not any(p.learn for p in built.parameters)
    more = "param { lr_mult: 0 } param { lr_mult: 2 }"
    with pytest.raises(
        SpecError, match="parameter 1 is a statistic .*must be 0; got 2"
    ):
        graph(DATA + layer("bn", "BatchNorm", "data", "y", more))


BLOBS = "blobs { %s } blobs { shape { dim: 2 } }"


def test_values_in_the_net_are_kept_for_their_parameter():
    more = BLOBS % "shape { dim: 2 dim: 3 } data: 7"
    parameters = graph(DATA + fc("a", "data", "y", 2, more)).parameters
    assert parameters[0].blob is not None
    assert list(parameters[0].blob.data) == [7]
    assert graph(DATA + fc("a", "data", "y", 2)).parameters[0].blob is None


def test_old_blobs_may_have_ones_in_front():
    more = "blobs { num: 1 channels: 1 height: 2 width: 3 } "
    more += "blobs { num: 1 channels: 1 height: 1 width: 2 }"
    assert graph(DATA + fc("a", "data", "y", 2, more)).parameters[1].blob is not None


def test_values_of_another_shape_are_refused():
    more = BLOBS % "shape { dim: 3 dim: 2 }"
    with pytest.raises(
        SpecError, match=r"blob 0 has shape \(3, 2\); expected \(2, 3\)"
    ):
        graph(DATA + fc("a", "data", "y", 2, more))
    more = "blobs { num: 2 channels: 3 height: 1 width: 1 } blobs { shape { dim: 2 } }"
    with pytest.raises(SpecError, match=r"blob 0 has shape \(2, 3, 1, 1\); expected"):
        graph(DATA + fc("a", "data", "y", 2, more))
    with pytest.raises(SpecError, match="1 blobs are given for 2 parameters; give one"):
        graph(DATA + fc("a", "data", "y", 2, "blobs { }"))
