"""What is on record of readers that the tests do not run."""

import pytest

from netspec.readers import check_for
from netspec.readers.rules import RULES
from netspec.readers.rules.recorded import NOT_RUN
from tests.readers.running import check, net_of

ARGMAX = 'layer { name: "l" type: "ArgMax" bottom: "x" top: "y" argmax_param { %s } }'


def findings(reader, layers, **inputs):
    found = check_for(net_of(layers, **inputs), reader).findings
    return {(finding.rule, finding.action) for finding in found}


@pytest.mark.parametrize(
    ("reader", "options", "found"),
    [
        ("x2paddle", "", {("argmax", "refused")}),
        ("ncnn", "axis: 1", {("argmax-options", "refused")}),
        ("ncnn", "top_k: 2", {("argmax-options", "refused")}),
        ("ncnn", "top_k: 1", set()),
        ("openvino", "axis: 1", set()),
        ("openvino", "axis: 1 top_k: 2", {("argmax-order", "refused")}),
        ("openvino", "top_k: 1", {("argmax-of-all", "refused")}),
        ("openvino", "axis: 1 out_max_val: true", {("argmax-values", "warned")}),
        ("rknn", "", {("untried-rknn", "warned")}),
    ],
)
def test_argmax(reader, options, found):
    assert findings(reader, ARGMAX % options, x=(3, 7)) == found


@pytest.mark.parametrize(
    ("reader", "rule", "action"),
    [
        ("ncnn", "convolution-axes", "refused"),
        ("openvino", "convolution-axes", "warned"),
        ("rknn", "convolution-axes", "warned"),
        ("x2paddle", "convolution-axes", "warned"),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 3, 4, 5, 6)])
def test_convolution_of_other_axes(reader, rule, action, shape):
    layer = (
        'layer { name: "l" type: "Convolution" bottom: "x" top: "y" '
        "convolution_param { num_output: 2 kernel_size: 2 } }"
    )
    assert (rule, action) in findings(reader, layer, x=shape)
    assert findings(reader, layer, x=(2, 3, 4, 5)) == set()


def test_ncnn_has_three_axes_beside_the_batch():
    layer = 'layer { name: "l" type: "ReLU" bottom: "x" top: "y" }'
    assert findings("ncnn", layer, x=(2, 3, 4, 5)) == set()
    assert findings("ncnn", layer, x=(2, 3, 4, 5, 6)) == {("many-axes", "warned")}


def test_ncnn_may_reduce_all_axes():
    layer = (
        'layer { name: "l" type: "Reduction" bottom: "x" top: "y" '
        "reduction_param { axis: 1 } }"
    )
    assert findings("ncnn", layer, x=(2, 3)) == {("reduction-of-all", "warned")}
    assert findings("ncnn", layer.replace("axis: 1", ""), x=(2, 3)) == set()


POOL = 'layer { name: "l" type: "Pooling" bottom: "x" top: "y" pooling_param { %s } }'
LRN = 'layer { name: "l" type: "LRN" bottom: "x" top: "y" lrn_param { %s } }'
JOIN = (
    'layer { name: "l" type: "Concat" bottom: "x" bottom: "x" top: "y" '
    "concat_param { %s } }"
)
SCALE = (
    'layer { name: "l" type: "Scale" bottom: "x" bottom: "s" top: "y" '
    "scale_param { %s } }"
)
CONVOLUTION = (
    'layer { name: "l" type: "Convolution" bottom: "x" top: "y" '
    "convolution_param { num_output: 2 kernel_size: 2 %s } }"
)


@pytest.mark.parametrize(
    ("rule", "layer", "wrong", "right"),
    [
        ("lrn-k", LRN, "k: 2.5", "k: 1"),
        ("old-axis", JOIN, "concat_dim: 2", "axis: 2"),
        ("bias-of-product", SCALE, "axis: 0 bias_term: true", "axis: 0"),
        (
            "convolution-dilations",
            CONVOLUTION,
            "dilation: 1 dilation: 2",
            "dilation: 2 dilation: 2",
        ),
        (
            "pooling-average-end",
            POOL,
            "pool: AVE kernel_size: 3 stride: 2 pad: 1",
            "pool: AVE kernel_size: 3 stride: 1 pad: 1",
        ),
    ],
)
def test_openvino_gets_another_form(rule, layer, wrong, right):
    inputs = {"x": (2, 3, 6, 6)}
    if layer is SCALE:
        inputs["s"] = (2, 3)
    check("openvino", net_of(layer % wrong, **inputs), rule=rule)
    assert findings("openvino", layer % right, **inputs) == set()


def test_what_is_refused_by_name():
    dummy = (
        'layer { name: "d" type: "DummyData" top: "y" '
        "dummy_data_param { shape { dim: 2 } } }"
    )
    assert findings("x2paddle", dummy) == {("no-dummy-data", "refused")}
    log = 'layer { name: "l" type: "Log" bottom: "x" top: "y" }'
    assert findings("rknn", log, x=(2, 3)) == {("no-log", "refused")}
    assert findings("x2paddle", log, x=(2, 3)) == {("untried-x2paddle", "warned")}


@pytest.mark.parametrize("reader", NOT_RUN)
def test_a_type_that_nobody_tried_is_warned_of(reader):
    layer = 'layer { name: "l" type: "BatchReindex" bottom: "x" bottom: "i" top: "y" }'
    found = check_for(net_of(layer, x=(3, 4), i=(2,)), reader).findings
    assert [one.action for one in found] == ["warned"]
    assert "was not tried with it" in found[0].text
    plain = 'layer { name: "l" type: "Softmax" bottom: "x" top: "y" }'
    assert findings(reader, plain, x=(3, 4)) == set()


def test_names_of_rules_are_their_own():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
