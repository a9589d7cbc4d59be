"""Old forms of nets and solvers, brought to the current one."""

from __future__ import annotations

from typing import Any

import pytest

from netspec import schema, upgrade_text
from netspec.errors import SpecError, TextError
from netspec.nets.upgrade import upgrade_net, upgrade_solver, upgrades_needed
from netspec.schema import LayerParameter, NetParameter, SolverParameter
from netspec.text import parse


def upgraded(text: str, **options: Any) -> NetParameter:
    return upgrade_net(parse(text, NetParameter), **options)


def net(text: str) -> NetParameter:
    return parse(text, NetParameter)


# ---------------------------------------------------------------- V0


def test_v0_layers_get_the_messages_of_their_types():
    old = """
    layers {
      layer { name: 'conv1' type: 'conv' num_output: 7 kernelsize: 5 stride: 3 pad: 2
        group: 1 biasterm: false weight_filler { type: 'gaussian' std: 0.5 }
        blobs_lr: 2 blobs_lr: 4 weight_decay: 3 weight_decay: 0 }
      bottom: 'data' top: 'conv1' }
    layers {
      layer { name: 'pool1' type: 'pool' pool: AVE kernelsize: 3 stride: 2 pad: 1 }
      bottom: 'conv1' top: 'pool1' }
    layers {
      layer { name: 'norm1' type: 'lrn' local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }
      bottom: 'pool1' top: 'norm1' }
    layers {
      layer { name: 'ip1' type: 'innerproduct' num_output: 9 biasterm: false }
      bottom: 'norm1' top: 'ip1' }
    layers {
      layer { name: 'drop1' type: 'dropout' dropout_ratio: 0.3 }
      bottom: 'ip1' top: 'ip1' }
    layers {
      layer { name: 'loss' type: 'softmax_loss' } bottom: 'ip1' bottom: 'label' }
    """
    new = """
    layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1'
      param { lr_mult: 2 decay_mult: 3 } param { lr_mult: 4 decay_mult: 0 }
      convolution_param { num_output: 7 kernel_size: 5 stride: 3 pad: 2 group: 1
        bias_term: false weight_filler { type: 'gaussian' std: 0.5 } } }
    layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1'
      pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
    layer { name: 'norm1' type: 'LRN' bottom: 'pool1' top: 'norm1'
      lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 } }
    layer { name: 'ip1' type: 'InnerProduct' bottom: 'norm1' top: 'ip1'
      inner_product_param { num_output: 9 bias_term: false } }
    layer { name: 'drop1' type: 'Dropout' bottom: 'ip1' top: 'ip1'
      dropout_param { dropout_ratio: 0.3 } }
    layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip1' bottom: 'label' }
    """
    assert upgraded(old) == net(new)


def test_v0_data_layers_keep_their_transformations_in_the_right_place():
    old = """
    layers { layer { name: 'data' type: 'data' source: 'db' batchsize: 64 cropsize: 27
      meanfile: 'mean' scale: 0.25 mirror: true rand_skip: 5 } top: 'x' top: 'y' }
    layers { layer { name: 'windows' type: 'window_data' source: 'w' batchsize: 3
      det_fg_threshold: 0.6 det_bg_threshold: 0.4 det_fg_fraction: 0.3
      det_context_pad: 16 det_crop_mode: 'square' } top: 'z' }
    layers { layer { name: 'images' type: 'images' source: 'i' batchsize: 2
      shuffle_images: true new_height: 30 new_width: 40 } top: 'i' }
    layers { layer { name: 'cat' type: 'concat' concat_dim: 2 } bottom: 'x' top: 'c' }
    layers { layer { name: 'out' type: 'hdf5_output'
      hdf5_output_param { file_name: 'h5' } } bottom: 'c' bottom: 'y' }
    """
    new = """
    layer { name: 'data' type: 'Data' top: 'x' top: 'y'
      transform_param { crop_size: 27 mean_file: 'mean' scale: 0.25 mirror: true }
      data_param { source: 'db' batch_size: 64 rand_skip: 5 } }
    layer { name: 'windows' type: 'WindowData' top: 'z'
      window_data_param { source: 'w' batch_size: 3 fg_threshold: 0.6
        bg_threshold: 0.4 fg_fraction: 0.3 context_pad: 16 crop_mode: 'square' } }
    layer { name: 'images' type: 'ImageData' top: 'i'
      image_data_param { source: 'i' batch_size: 2 shuffle: true new_height: 30
        new_width: 40 } }
    layer { name: 'cat' type: 'Concat' bottom: 'x' top: 'c'
      concat_param { concat_dim: 2 } }
    layer { name: 'out' type: 'HDF5Output' bottom: 'c' bottom: 'y'
      hdf5_output_param { file_name: 'h5' } }
    """
    assert upgraded(old) == net(new)


PADDING = """
layers { layer { name: 'pad1' type: 'padding' pad: 3 } bottom: 'data' top: 'pad1' }
"""


@pytest.mark.parametrize("kind", ["conv", "pool"])
def test_padding_layers_fold_into_the_layers_that_read_them(kind):
    reader = f"""
    layers {{ layer {{ type: '{kind}' kernelsize: 5 }} bottom: 'pad1' top: 'a' }}
    layers {{ layer {{ type: '{kind}' kernelsize: 7 }} bottom: 'pad1' top: 'b' }}
    """
    first, second = upgraded(PADDING + reader).layer
    message = {"conv": "convolution_param", "pool": "pooling_param"}[kind]
    assert list(first.bottom) == list(second.bottom) == ["data"]
    pads = [getattr(layer, message).pad for layer in (first, second)]
    assert pads == ([[3], [3]] if kind == "conv" else [3, 3])


def test_only_the_last_writer_of_a_blob_counts_as_its_padding():
    text = """
    layers { layer { name: 'p' type: 'padding' pad: 3 } bottom: 'data' top: 'x' }
    layers { layer { name: 'a' type: 'conv' } bottom: 'x' top: 'x' }
    layers { layer { name: 'b' type: 'conv' } bottom: 'x' top: 'y' }
    """
    first, second = upgraded(text).layer
    assert list(first.convolution_param.pad) == [3]
    assert list(second.convolution_param.pad) == []
    assert list(second.bottom) == ["x"]


def test_padding_folds_into_nothing_else():
    relu = "layers { layer { name: 'r' type: 'relu' } bottom: 'pad1' top: 'r' }"
    with pytest.raises(SpecError, match="'r' .relu.: reads the padding layer 'pad1'"):
        upgraded(PADDING + relu)


def test_a_padding_layer_has_one_bottom():
    text = "layers { layer { name: 'p' type: 'padding' pad: 3 } top: 'x' }"
    with pytest.raises(SpecError, match="'p': expected one bottom and one top, got 0"):
        upgraded(text)


def test_unknown_v0_types_keep_their_fields_in_a_message():
    text = """layers { top: "a" layer { name: "l1" type: "locally_connected"
      num_output: 3 weight_filler { std: 0.5 } blobs_lr: 2 odd: 1 } }"""
    said = "'l1': unknown V0 layer type 'locally_connect.*in locally_connected_param"
    with pytest.warns(UserWarning, match="V0LayerParameter.odd is no field"):
        old = parse(text, NetParameter)
    with pytest.warns(UserWarning, match=said):
        layer = upgrade_net(old).layer[0]
    assert layer.type == "LocallyConnected"
    assert list(layer.unknown_fields) == [
        "locally_connected_param { num_output: 3 weight_filler { std: 0.5 } odd: 1 }"
    ]
    assert [spec.lr_mult for spec in layer.param] == [2]
    text = text.replace("locally_connected", "memory_data").replace("odd: 1", "")
    known = parse(text, NetParameter)
    with pytest.warns(UserWarning, match="in memory_data_v0_param"):
        assert upgrade_net(known).layer[0].type == "MemoryData"
    with pytest.raises(SpecError, match="'l1': unknown V0 layer type 'a b'; it cannot"):
        upgraded("layers { layer { name: 'l1' type: 'a b' } }")


def test_v0_and_v1_layers_do_not_mix():
    text = "layers { layer { name: 'a' type: 'relu' } } layers { name: 'b' type: RELU }"
    with pytest.raises(SpecError, match=r"layers\[1\] \('b'\) is in the V1 form"):
        upgraded(text)


def test_what_v0_fields_have_no_place_for_is_told():
    text = "layers { layer { name: 'r' type: 'relu' num_output: 5 } }"
    said = "layer 'r' (relu): has no place for num_output; dropped"
    problems: list[str] = []
    layer = LayerParameter(name="r", type="ReLU")
    assert upgraded(text, problems=problems).layer[0] == layer
    assert problems == [said]
    with pytest.warns(UserWarning, match="has no place for num_output; dropped"):
        upgraded(text)


# ---------------------------------------------------------------- V1


def test_v1_layers_become_current_ones():
    old = """
    layers { name: 'conv1' type: CONVOLUTION bottom: 'data' top: 'conv1'
      param: 'w' param: 'b' blob_share_mode: PERMISSIVE
      blobs_lr: 1 blobs_lr: 2 blobs_lr: 0.5 weight_decay: 3
      include { phase: TRAIN } exclude { min_level: 2 }
      convolution_param { num_output: 5 kernel_size: 3 }
      blobs { num: 5 channels: 2 height: 1 width: 1 data: [1, 2, 3] } }
    layers { name: 'loss' type: HINGE_LOSS bottom: 'conv1' bottom: 'y' loss_weight: 0.3
      hinge_loss_param { norm: L2 } }
    """
    new = """
    layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1'
      param { name: 'w' share_mode: PERMISSIVE lr_mult: 1 decay_mult: 3 }
      param { name: 'b' lr_mult: 2 }
      param { lr_mult: 0.5 }
      include { phase: TRAIN } exclude { min_level: 2 }
      convolution_param { num_output: 5 kernel_size: 3 }
      blobs { num: 5 channels: 2 height: 1 width: 1 data: [1, 2, 3] } }
    layer { name: 'loss' type: 'HingeLoss' bottom: 'conv1' bottom: 'y' loss_weight: 0.3
      hinge_loss_param { norm: L2 } }
    """
    assert upgraded(old) == net(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ABSVAL", "AbsVal"),
        ("ARGMAX", "ArgMax"),
        ("BNLL", "BNLL"),
        ("HDF5_DATA", "HDF5Data"),
        ("HDF5_OUTPUT", "HDF5Output"),
        ("IM2COL", "Im2col"),
        ("LRN", "LRN"),
        ("MVN", "MVN"),
        ("RELU", "ReLU"),
        ("SIGMOID_CROSS_ENTROPY_LOSS", "SigmoidCrossEntropyLoss"),
        ("SOFTMAX_LOSS", "SoftmaxWithLoss"),
        ("TANH", "TanH"),
        ("WINDOW_DATA", "WindowData"),
    ],
)
def test_v1_types_get_their_current_names(old, new):
    assert upgraded(f"layers {{ type: {old} }}").layer[0].type == new


def test_every_v1_type_has_a_current_name():
    from netspec.catalogue import LAYER_TYPES

    values = schema.V1LayerParameter.LayerType.keys()
    names = [upgraded(f"layers {{ type: {value} }}").layer[0].type for value in values]
    assert len(names) == 40
    assert names[values.index("NONE")] == ""
    assert set(names) - {""} <= LAYER_TYPES.keys()


@pytest.mark.parametrize(
    ("type_name", "message"),
    [
        ("DATA", "data_param"),
        ("IMAGE_DATA", "image_data_param"),
        ("WINDOW_DATA", "window_data_param"),
    ],
)
def test_transformations_of_v1_data_layers_move(type_name, message):
    fields = "scale: 0.5 mean_file: 'm' crop_size: 9 mirror: true"
    old = f"layers {{ type: {type_name} {message} {{ source: 's' {fields} }} }}"
    layer = upgraded(old).layer[0]
    expected = parse(fields, schema.TransformationParameter)
    assert layer.transform_param == expected
    rest = getattr(layer, message)
    assert [field.name for field, _ in rest.ListFields()] == ["source"]


def test_transformations_of_current_data_layers_stay():
    data = "layer { type: 'Data' data_param { scale: 0.5 } }"
    text = f"input: 'x' input_dim: [1,2,3,4] {data}"
    assert upgraded(text).layer[1].data_param.scale == 0.5


def test_current_layers_beside_old_ones_are_refused_with_their_names():
    new = "layer { name: 'b' type: 'TanH' } layer { name: 'c' type: 'ReLU' }"
    said = (
        r"net 'n' mixes two forms: 'a' \(SoftmaxWithLoss\) is written as `layers`, .*"
        r"'b' \(TanH\), 'c' \(ReLU\) are as `layer`.* type: \"SoftmaxWithLoss\""
    )
    with pytest.raises(SpecError, match=said):
        upgraded(f"name: 'n' layers {{ name: 'a' type: SOFTMAX_LOSS }} {new}")
    v0 = "layers { layer { name: 'a' type: 'softmax_loss' } }"
    with pytest.raises(SpecError, match=said):
        upgraded(f"name: 'n' {v0} {new}")
    many = " ".join(f"layer {{ name: 'l{i}' }}" for i in range(5))
    with pytest.raises(SpecError, match="'l2'.* and 2 more are as `layer`"):
        upgraded(f"layers {{ name: 'a' type: RELU }} {many}")


# ---------------------------------------------------------------- inputs, BatchNorm


def test_inputs_become_a_first_layer():
    text = "input: 'a' input: 'b' input_dim: [1,2,3,4, 5,6,7,8] layer { name: 'r' }"
    first, second = upgraded(text).layer
    assert first == parse(
        "name: 'input' type: 'Input' top: 'a' top: 'b' "
        "input_param { shape { dim: [1,2,3,4] } shape { dim: [5,6,7,8] } }",
        LayerParameter,
    )
    assert second.name == "r"


def test_input_shapes_may_have_any_number_of_axes():
    text = "input: 'a' input: 'b' input_shape { dim: 3 } input_shape { dim: [4,5,6] }"
    new = upgraded(text)
    shapes = [list(shape.dim) for shape in new.layer[0].input_param.shape]
    assert shapes == [[3], [4, 5, 6]]
    assert upgrades_needed(new) == []


def test_inputs_without_shapes_are_dropped():
    assert upgraded("name: 'n' input: 'a' layer { name: 'r' }") == net(
        "name: 'n' layer { name: 'r' }"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input: 'a' input: 'b' input_dim: [1,2,3,4]", "need 8 input_dim values .* 4"),
        ("input: 'a' input_dim: [1,2,3]", "need 4 input_dim .* got 3"),
        ("input: 'a' input: 'b' input_shape { dim: 1 }", "2 inputs, but 1 input_shape"),
    ],
)
def test_inputs_need_a_shape_each(text, said):
    with pytest.raises(SpecError, match=said):
        upgraded(f"name: 'n' {text}")


def test_batch_norm_statistics_do_not_learn():
    specs = "param { lr_mult: 3 } param { decay_mult: 2 } param { name: 's' }"
    layer = upgraded(f"layer {{ type: 'BatchNorm' {specs} }}").layer[0]
    zero = "lr_mult: 0 decay_mult: 0"
    assert layer == parse(
        f"type: 'BatchNorm' param {{ {zero} }} param {{ {zero} }} "
        f"param {{ name: 's' {zero} }}",
        LayerParameter,
    )


def test_batch_norm_with_other_specs_stays():
    text = "layer { type: 'BatchNorm' param { lr_mult: 3 } param { lr_mult: 2 } }"
    assert upgraded(text) == net(text)


# ---------------------------------------------------------------- all


def test_a_current_net_comes_back_as_it_is():
    current = net("name: 'n' layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'y' }")
    assert upgrade_net(current) is current


def test_an_old_net_is_not_changed_itself():
    old = net("input: 'a' input_dim: [1,2,3,4] layers { name: 'r' type: RELU }")
    before = old.SerializeToString()
    new = upgrade_net(old)
    assert old.SerializeToString() == before
    assert upgrades_needed(old) == ["V1", "input-fields"]
    assert upgrades_needed(new) == []
    assert [layer.type for layer in new.layer] == ["Input", "ReLU"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
        ("3", "RMSProp"),
    ],
)
def test_solver_types_get_their_names(old, new):
    solver = parse(f"base_lr: 0.5 solver_type: {old}", SolverParameter)
    assert upgrade_solver(solver) == SolverParameter(base_lr=0.5, type=new)
    assert solver.HasField("solver_type")


def test_a_current_solver_comes_back_as_it_is():
    solver = SolverParameter(base_lr=0.5)
    assert upgrade_solver(solver) is solver


def test_two_types_of_one_solver_are_refused():
    solver = SolverParameter(type="Adam", solver_type="ADAM")
    with pytest.raises(
        SpecError, match=r"both type \('Adam'\) and the old solver_type"
    ):
        upgrade_solver(solver)


def test_text_is_upgraded_to_text():
    text = upgrade_text("layers { name: 'r' type: RELU }", "NetParameter")
    assert text == 'layer {\n  name: "r"\n  type: "ReLU"\n}\n'
    assert upgrade_text("solver_type: ADAM", "SolverParameter") == 'type: "Adam"\n'


def test_mistakes_in_text_have_a_place():
    with pytest.raises(TextError, match="<text>:2:10: V1LayerParameter has no") as got:
        upgrade_text("name: 'n'\nlayers { nme: 'r' }")
    assert isinstance(got.value, ValueError)
    assert (got.value.line, got.value.column) == (2, 10)


def test_only_nets_and_solvers_are_upgraded():
    with pytest.raises(SpecError, match="'Datum'; expected 'NetParameter' or 'Solver"):
        upgrade_text("", "Datum")
