"""The names of parameters are as many as the layer has."""

import inspect

import pytest

from netspec.catalogue.parameters import _ROLES, parameter_roles
from netspec.ops import infer, known_types
from netspec.ops.base import READERS
from netspec.schema import LayerParameter
from netspec.text import parse


@pytest.mark.parametrize(
    ("layer", "bottoms"),
    [
        ("type: 'Convolution' convolution_param { num_output: 3 kernel_size: 1 }", 1),
        (("type: 'Deconvolution' convolution_param { num_output: 3 kernel_size: 1 "
         "bias_term: false }"), 1),
        ("type: 'InnerProduct' inner_product_param { num_output: 3 }", 1),
        ("type: 'Embed' embed_param { num_output: 3 input_dim: 5 bias_term: 0 }", 1),
        ("type: 'Scale' scale_param { bias_term: true }", 1),
        ("type: 'Scale' scale_param { bias_term: true }", 2),
        ("type: 'Scale'", 2),
        ("type: 'Bias'", 1),
        ("type: 'Bias'", 2),
        ("type: 'PReLU'", 1),
        ("type: 'Normalize' norm_param {}", 1),
        ("type: 'Parameter' parameter_param { shape { dim: 3 } }", 0),
        ("type: 'BatchNorm'", 1),
        ("type: 'BatchNorm' batch_norm_param { scale_bias: true }", 1),
        ("type: 'BatchNorm' batch_norm_param { bias_term: false }", 1),
        ("type: 'BN' bn_param {}", 1),
        ("type: 'BN' bn_param { bn_mode: LEARN }", 1),
        ("type: 'LSTM' recurrent_param { num_output: 3 }", 2),
        ("type: 'LSTM' recurrent_param { num_output: 3 }", 3),
        ("type: 'RNN' recurrent_param { num_output: 3 }", 2),
        ("type: 'RNN' recurrent_param { num_output: 3 }", 3),
        ("type: 'RNN' recurrent_param { num_output: 3 expose_hidden: true }", 3),
        ("type: 'LSTM' recurrent_param { num_output: 3 expose_hidden: true }", 5),
        ("type: 'EltwiseAffine'", 1),
        ("type: 'ReLU'", 1),
    ],
)  # fmt: skip
def test_the_number_of_parameters_is_that_of_the_layer(layer, bottoms):
    message = parse(layer, LayerParameter)
    message.bottom.extend(f"b{i}" for i in range(bottoms))
    shapes = [(4, 2, 5, 6), (2, 5)][:bottoms]
    if message.type in ("LSTM", "RNN"):
        shapes = [(4, 2, 5), (4, 2), (2, 7)][:bottoms]
        if message.recurrent_param.expose_hidden:
            hidden = 2 if message.type == "LSTM" else 1
            shapes = [(4, 2, 5), (4, 2), (2, 7)][: bottoms - hidden]
            shapes += [(1, 2, 3)] * hidden
            message.top.extend(f"state{i}" for i in range(hidden))
        message.top.append("y")
    assert len(parameter_roles(message, bottoms)) == len(infer(message, shapes).params)


def test_every_type_with_parameters_is_counted():
    known = known_types()
    having = {kind for kind in known if "params=" in inspect.getsource(READERS[kind])}
    assert having == set(_ROLES)  # a new one belongs in `parameter_roles` too


def test_a_layer_of_an_unknown_type_does_not_say():
    assert parameter_roles(LayerParameter(type="Mine"), 1) is None
    assert parameter_roles(LayerParameter(type="Python"), 1) is None
