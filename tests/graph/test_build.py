import pytest

from netspec.errors import ShapeError, SpecError
from netspec.graph import insert_splits
from netspec.nets.filter import drop_values, filter_net, merge_state, solver_state
from netspec.schema import TEST, TRAIN, BlobProto, NetParameter, NetState
from tests.example_nets import DATA, LABEL, fc, graph, layer, net


def names(text, *state):
    return [node.name for node in graph(DATA + text, *state).nodes][1:]


# Rules


def test_phase_rules_choose_layers():
    text = fc("a", "data", "y", 2, "include { phase: TRAIN }")
    text += fc("b", "data", "y", 5, "exclude { phase: TRAIN }")
    assert names(text, TRAIN) == ["a"]
    assert names(text, TEST) == ["b"]


def test_one_include_rule_is_enough_and_all_its_conditions_must_hold():
    rules = """include { phase: TEST min_level: 2 stage: "x" stage: "y" }
        include { max_level: -1 not_stage: "z" }"""
    text = fc("a", "data", "y", 2, rules)
    assert names(text, TEST, 2, ["x", "y"]) == ["a"]
    assert names(text, TEST, 3, ["y", "q", "x"]) == ["a"]
    assert names(text, TRAIN, 2, ["x", "y"]) == []
    assert names(text, TEST, 1, ["x", "y"]) == []
    assert names(text, TEST, 2, ["x"]) == []
    assert names(text, TRAIN, -1) == ["a"]
    assert names(text, TRAIN, -1, ["z"]) == []


def test_one_exclude_rule_is_enough():
    rules = 'exclude { min_level: 1 } exclude { stage: "x" }'
    text = fc("a", "data", "y", 2, rules)
    assert names(text) == ["a"]
    assert names(text, TEST, 1) == []
    assert names(text, TEST, 0, ["x"]) == []


def test_both_kinds_of_rules_are_refused_naming_all_such_layers():
    rules = "include { phase: TEST } exclude { min_level: 1 }"
    text = fc("a", "data", "y", 2, rules) + fc("b", "data", "z", 2, rules)
    with pytest.raises(
        SpecError, match="'a' .*'b' .*include and exclude rules are both"
    ):
        graph(DATA + text)


def test_the_state_of_a_net_gives_its_stages_but_not_phase_and_level():
    message = net('state { phase: TRAIN level: 3 stage: "own" }')
    state = merge_state(message, TEST, stages=["more"])
    assert (state.phase, state.level, state.stages) == (TEST, 0, ("own", "more"))


def test_a_solver_merges_states():
    message = net('state { level: 3 stage: "own" }')
    state = solver_state(message, TRAIN, NetState(phase=TEST, stage=["more"]))
    assert (state.phase, state.level, state.stages) == (TEST, 3, ("own", "more"))
    state = solver_state(message, TRAIN, None)
    assert (state.phase, state.level, state.stages) == (TRAIN, 3, ("own",))


def test_filtering_leaves_the_net_as_it_was():
    message = net(DATA + fc("a", "data", "y", 2, "include { phase: TRAIN }"))
    before = message.SerializeToString()
    assert len(filter_net(message, merge_state(message, TEST)).layer) == 1
    assert message.SerializeToString() == before


def test_a_layer_may_have_a_phase_of_its_own():
    text = layer("bn", "BatchNorm", "data", "y", "phase: TRAIN")
    text += layer("bo", "BatchNorm", "y", "z")
    built = graph(DATA + text)
    assert [node.phase for node in built.nodes] == [TEST, TRAIN, TEST]
    assert not built.node_of["bn"].op.use_global_stats
    assert built.node_of["bo"].op.use_global_stats


# Connections


def test_a_blob_used_twice_is_split_with_the_names_of_caffe():
    text = fc("a", "data", "y", 2) + fc("b", "data", "z", 5)
    built = graph(DATA + text)
    assert [node.name for node in built.nodes] == ["in", "data_in_0_split", "a", "b"]
    assert list(built.blobs) == [
        "data",
        "data_in_0_split_0",
        "data_in_0_split_1",
        "y",
        "z",
    ]
    assert built.inputs == ("data",)
    assert built.outputs == ("y", "z")
    split = built.nodes[1]
    assert (
        len({built.edges[edge].buffer for edge in (*split.bottoms, *split.tops)}) == 1
    )
    assert len({built.edges[e].gradient for e in (*split.bottoms, *split.tops)}) == 3


def test_the_same_blob_twice_in_one_layer_counts_twice():
    built = graph(DATA + layer("add", "Eltwise", "data data", "y"))
    assert [built.edges[e].blob for e in built.nodes[2].bottoms] == [
        "data_in_0_split_0",
        "data_in_0_split_1",
    ]


def test_the_split_after_layers_in_place_names_the_last_of_them():
    text = layer("t", "TanH", "data", "data") + layer("a", "ReLU", "data", "y")
    text += layer("b", "ReLU", "data", "z")
    assert names(text) == ["t", "data_t_0_split", "a", "b"]


def test_a_loss_weight_is_a_use_and_moves_to_the_split():
    text = fc("a", "data", "y", 5, "loss_weight: 3") + fc("b", "y", "z", 2)
    built = graph(DATA + text, TRAIN)
    split = built.node_of["y_a_0_split"]
    assert split.loss_weights == (3, 0)
    assert built.node_of["a"].loss_weights == (0,)
    assert built.outputs == ("y_a_0_split_0", "z")
    assert [built.edges[e].blob for e in built.node_of["b"].bottoms] == [
        "y_a_0_split_1"
    ]


def test_splitting_leaves_the_net_as_it_was():
    message = net(DATA + fc("a", "data", "y", 2) + fc("b", "data", "z", 5))
    before = message.SerializeToString()
    assert len(insert_splits(message).layer) == 4
    assert message.SerializeToString() == before


def test_outputs_are_in_byte_order():
    text = "".join(fc(n, "data", n, 2) for n in ("b9", "alpha", "Mid", "b10"))
    assert graph(DATA + text).outputs == ("Mid", "alpha", "b10", "b9")


def test_a_loss_without_a_top_gets_one_that_is_no_output():
    built = graph(DATA + LABEL + layer("loss", "SoftmaxWithLoss", "data label", ""))
    assert built.edges[built.node_of["loss"].tops[0]].blob == "(automatic)"
    assert built.outputs == ()
    assert "(automatic)" not in built.blobs


def test_edges_know_their_consumers():
    built = graph(DATA + fc("a", "data", "y", 2))
    assert built.edges[0].consumers == ((1, 0),)
    assert built.edges[1].consumers == ()
    assert (built.edges[1].producer, built.edges[1].top) == (1, 0)


def test_all_unknown_bottoms_are_reported_with_the_nearest_blob():
    text = fc("a", "dta", "y", 2) + fc("b", "q", "z", 2)
    message = (
        r"2 mistakes: \(1\) layer 'a' .* bottom 0 \('dta'\) .*did you mean 'data'\?; "
        r"\(2\) layer 'b' .* bottom 0 \('q'\) is not the top of an earlier layer; add"
    )
    with pytest.raises(SpecError, match=message):
        graph(DATA + text)


def test_all_unknown_types_are_reported():
    text = layer("a", "Relu", "data", "y") + layer("b", "Magic", "y", "z")
    with pytest.raises(
        SpecError, match=r"'Relu'; did you mean 'ReLU'\?; \(2\) .*'Magic'"
    ):
        graph(DATA + text)


def test_a_wrong_number_of_bottoms_is_reported():
    text = layer("a", "InnerProduct", "data data", "y")
    with pytest.raises(SpecError, match=r"'a' \(InnerProduct\).*2"):
        graph(DATA + text)


def test_two_layers_with_one_top_are_refused():
    text = fc("a", "data", "y", 2) + layer("b", "TanH", "data", "y")
    message = r"'b' \(TanH\): top 'y' is already produced by layer 'a' \(InnerProduct\)"
    with pytest.raises(SpecError, match=message):
        graph(DATA + text)


def test_one_top_listed_twice_is_refused():
    with pytest.raises(SpecError, match="'s' .*top 'y' is listed twice"):
        graph(DATA + layer("s", "Split", "data", "y y"))


def test_a_branch_before_a_layer_in_place_is_refused():
    text = fc("a", "data", "y", 5) + fc("b", "y", "z", 2) + layer("r", "ReLU", "y", "y")
    message = (
        "'r' .*top 'y' is also its bottom, but another layer uses that blob before"
    )
    with pytest.raises(SpecError, match=message):
        graph(DATA + text)


def test_propagate_down_is_given_for_every_bottom_or_none():
    text = layer("e", "Eltwise", "data data", "y", "propagate_down: true")
    with pytest.raises(
        SpecError, match="propagate_down is given 1 times for 2 bottoms"
    ):
        graph(DATA + text)


def test_loss_weight_is_given_for_every_top_or_none():
    text = layer("s", "Slice", "data", "a b c", "loss_weight: 1")
    with pytest.raises(
        SpecError, match="loss_weight is given 1 times for 3 tops; give"
    ):
        graph(DATA + text)


def test_two_tops_of_a_loss_need_two_weights():
    data = DATA + LABEL
    loss = layer("l", "SoftmaxWithLoss", "data label", "l p")
    with pytest.raises(SpecError, match="loss_weight is given 0 times for 2 tops"):
        graph(data + loss)
    text = loss.replace("}", "loss_weight: 2 loss_weight: 0 }")
    assert graph(data + text).node_of["l"].loss_weights == (2, 0)


# Shapes


def test_shape_mistakes_of_all_branches_are_reported():
    text = fc("a", "data", "y", 0) + layer("r", "ReLU", "y", "y")
    text += layer("p", "Pooling", "data", "z", "pooling_param { kernel_size: 2 }")
    with pytest.raises(
        SpecError, match=r"2 mistakes: \(1\) layer 'a' .*\(2\) layer 'p' "
    ):
        graph(DATA + text)


def test_only_shape_mistakes_are_a_shape_error():
    text = layer("p", "Pooling", "data", "z", "pooling_param { kernel_size: 2 }")
    with pytest.raises(ShapeError, match="'p' .*must have 4 axes"):
        graph(DATA + text)


def test_mistakes_name_blobs_as_the_net_does():
    text = DATA + LABEL + fc("a", "data", "s", 5) + fc("b", "s", "q", 2)
    text += layer("e", "EuclideanLoss", "s label", "l")
    with pytest.raises(ShapeError, match=r"'e' .*bottom 0 \('s'\) \(2, 5\)$"):
        graph(text)


def test_given_shapes_replace_those_of_the_net():
    text = DATA + fc("a", "data", "y", 5)
    built = graph(text, shapes={"data": [7, 4]})
    assert built.edges[built.blobs["y"]].shape == (7, 5)
    assert built.parameters[0].shape == (5, 4)


def test_a_shape_for_no_source_is_refused():
    with pytest.raises(SpecError, match="given for 'dta', .*did you mean 'data'"):
        graph(DATA, shapes={"dta": (2, 3)})
    with pytest.raises(SpecError, match="given for 'y', .*; these are data"):
        graph(DATA + fc("a", "data", "y", 2), shapes={"y": (2, 3)})


def test_old_forms_are_upgraded():
    built = graph('input: "x" input_dim: 2 input_dim: 3 input_dim: 1 input_dim: 1')
    assert [node.type for node in built.nodes] == ["Input"]
    assert built.edges[0].shape == (2, 3, 1, 1)


def test_a_long_chain_is_built_in_time_proportional_to_its_length():
    text = "".join(fc(f"l{i}", f"b{i}", f"b{i + 1}", 2) for i in range(3000))
    built = graph(DATA.replace('"data"', '"b0"') + text)
    assert len(built.nodes) == 3001
    assert built.outputs == ("b3000",)


def test_values_are_dropped_and_shapes_kept():
    net = NetParameter()
    blob = net.layer.add().blobs.add(data=[1, 2], diff=[3, 4])
    blob.shape.dim.append(2)
    net.layers.add().blobs.add(double_data=[1, 2], double_diff=[3, 4], num=2)
    drop_values(net)
    assert net.layer[0].blobs[0] == BlobProto(shape={"dim": [2]})
    assert net.layers[0].blobs[0] == BlobProto(num=2)
