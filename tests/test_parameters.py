"""The names of parameters are as many as the layer has."""

import pytest

from netspec.graph import State, build
from netspec.parameters import parameter_roles
from netspec.schema import TRAIN
from netspec.text import parse

X = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 6, 5, 5] } } }
"""
SEQUENCE = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [3, 2, 5] } } }
layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: [3, 2] } } }
layer { name: "s" type: "Input" top: "s" input_param { shape { dim: [2, 4] } } }
layer { name: "h" type: "Input" top: "h" input_param { shape { dim: [1, 2, 7] } } }
layer { name: "c" type: "Input" top: "c" input_param { shape { dim: [1, 2, 7] } } }
"""
LAYERS = {
    "Convolution": 'bottom: "x" convolution_param { num_output: 4 kernel_size: 3 }',
    "Deconvolution": (
        'bottom: "x" '
        "convolution_param { num_output: 4 kernel_size: 3 bias_term: false }"
    ),
    "InnerProduct": 'bottom: "x" inner_product_param { num_output: 4 }',
    "Embed": 'bottom: "x" embed_param { num_output: 4 input_dim: 9 bias_term: false }',
    "Scale": 'bottom: "x" scale_param { bias_term: true }',
    "Bias": 'bottom: "x"',
    "PReLU": 'bottom: "x"',
    "BatchNorm": 'bottom: "x"',
    "Parameter": "parameter_param { shape { dim: 3 } }",
    "ReLU": 'bottom: "x"',
}


def roles_and_shapes(text):
    net = parse(text, "NetParameter")
    node = build(net, State(phase=TRAIN)).nodes[-1]
    layer = net.layer[-1]
    return parameter_roles(layer, len(layer.bottom)), node.op.params


@pytest.mark.parametrize("kind", LAYERS)
def test_as_many_names_as_parameters(kind):
    roles, params = roles_and_shapes(
        f'{X} layer {{ name: "y" type: "{kind}" top: "y" {LAYERS[kind]} }}'
    )
    assert roles is not None
    assert len(roles) == len(params)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("exposed", [False, True])
def test_as_many_names_as_a_recurrent_layer_has_parameters(kind, static, exposed):
    states = (["h", "c"] if kind == "LSTM" else ["h"]) if exposed else []
    bottoms = ["x", "cont", *(["s"] if static else []), *states]
    wires = " ".join(f'bottom: "{name}"' for name in bottoms)
    tops = " ".join(f'top: "{name}"' for name in ("y", *(f"{s}2" for s in states)))
    options = f"num_output: 7 expose_hidden: {str(exposed).lower()}"
    roles, params = roles_and_shapes(
        f'{SEQUENCE} layer {{ name: "y" type: "{kind}" {wires} {tops} '
        f"recurrent_param {{ {options} }} }}"
    )
    assert roles is not None
    assert len(roles) == len(params)


def test_a_layer_of_an_unknown_type_does_not_say():
    layer = parse('layer { type: "Mine" }', "NetParameter").layer[0]
    assert parameter_roles(layer, 1) is None
