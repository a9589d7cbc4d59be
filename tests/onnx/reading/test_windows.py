"""Convolutions and pooling against ONNX Runtime."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import agrees, model, node, saved, types, values

X = (2, 4, 9, 11)


@pytest.mark.parametrize(
    ("options", "kernel", "made"),
    [
        ({}, (3, 2), ["Convolution"]),
        ({"pads": [1, 2, 1, 2], "strides": [2, 1]}, (3, 5), ["Convolution"]),
        ({"dilations": [2, 3], "pads": [2, 3, 2, 3]}, (3, 3), ["Convolution"]),
        ({"group": 2, "pads": [1, 1, 1, 1]}, (3, 3), ["Convolution"]),
        ({"auto_pad": "SAME_UPPER"}, (3, 5), ["Convolution"]),
        ({"auto_pad": "VALID", "strides": [2, 3]}, (3, 3), ["Convolution"]),
        ({"pads": [0, 0, 1, 0]}, (3, 3), None),
        ({"pads": [0, 1, 2, 3], "strides": [2, 2]}, (3, 4), None),
        ({"pads": [3, 0, 1, 2], "strides": [3, 2]}, (3, 4), None),
        ({"pads": [2, 1, 0, 0], "strides": [2, 2]}, (3, 4), None),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (4, 2), None),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 3]}, (4, 2), None),
    ],
)
def test_conv(tmp_path, options, kernel, made):
    weights = values(1, 6, 4 // options.get("group", 1), *kernel)
    net = model(
        [node("Conv", "x w b", **options)], {"x": X}, {"w": weights, "b": values(2, 6)}
    )
    read = agrees(tmp_path, net)
    if made:
        assert types(read) == made


def test_conv_without_a_bias_has_none(tmp_path):
    net = model([node("Conv", "x w")], {"x": X}, {"w": values(1, 3, 4, 2, 2)})
    read = agrees(tmp_path, net)
    assert not read.net.layer[1].convolution_param.bias_term


@pytest.mark.parametrize(
    "shape", [(2, 3, 9), (2, 3, 6, 5, 7)], ids=["one axis", "three axes"]
)
def test_conv_over_any_number_of_axes(tmp_path, shape):
    axes = len(shape) - 2
    kernel = (2, 3, 2)[:axes]
    pads = [1, 0, 2][:axes] + [0, 1, 2][:axes]
    net = model(
        [node("Conv", "x w b", pads=pads, strides=[2, 1, 2][:axes])],
        {"x": shape},
        {"w": values(1, 4, 3, *kernel), "b": values(2, 4)},
    )
    agrees(tmp_path, net)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": [2, 3]},
        {"strides": [2, 3], "pads": [1, 0, 1, 0]},
        {"strides": [2, 3], "pads": [1, 0, 0, 2]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 2], "output_padding": [2, 1]},
        {"strides": [2, 2], "dilations": [2, 1], "output_padding": [1, 0]},
        {"group": 2, "strides": [2, 1], "pads": [0, 2, 1, 0]},
    ],
)
def test_conv_transpose(tmp_path, options):
    weights = values(1, 4, 6 // options.get("group", 1), 3, 4)
    net = model(
        [node("ConvTranspose", "x w b", **options)],
        {"x": (2, 4, 5, 6)},
        {"w": weights, "b": values(2, 6)},
    )
    agrees(tmp_path, net)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_a_convolution_with_computed_weights_is_refused(tmp_path, kind):
    net = model([node(kind, "x w")], {"x": (1, 2, 5, 5), "w": (2, 2, 3, 3)})
    with pytest.raises(UnsupportedError, match="w is computed by the net"):
        from_onnx(saved(tmp_path, net))


def test_an_output_shape_leaves_the_padding_open_and_is_refused(tmp_path):
    net = model(
        [node("ConvTranspose", "x w", output_shape=[9, 9])],
        {"x": (1, 2, 5, 5)},
        {"w": values(1, 2, 2, 3, 3)},
    )
    with pytest.raises(UnsupportedError, match=r"output_shape is \[9, 9\]"):
        from_onnx(saved(tmp_path, net))


SIZES = [(7, 10), (8, 9)]
PADS = [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 1, 0), (1, 0, 2, 1), (2, 1, 0, 1)]


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((3, 2), (2, 1)), ((2, 3), (2, 3)), ((3, 3), (1, 2))]
)
def test_max_pool(tmp_path, kernel, stride, ceil):
    read = 0
    for size, pads in _cases(kernel):
        options = {"kernel_shape": kernel, "strides": stride, "pads": pads}
        net = model(
            [node("MaxPool", "x", ceil_mode=ceil, **options)], {"x": (2, 3, *size)}
        )
        read += _agrees_or_refused(tmp_path, net)
    assert read >= len(_cases(kernel)) // 2


@pytest.mark.parametrize("included", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((3, 2), (2, 1)), ((2, 3), (2, 3)), ((3, 3), (1, 2))]
)
def test_average_pool(tmp_path, kernel, stride, ceil, included):
    read = 0
    for size, pads in _cases(kernel):
        options = {"kernel_shape": kernel, "strides": stride, "pads": pads}
        options |= {"ceil_mode": ceil, "count_include_pad": included}
        net = model(
            [node("AveragePool", "x", **options)], {"x": (2, 3, *size)}, opset=19
        )
        read += _agrees_or_refused(tmp_path, net)
    assert read >= len(_cases(kernel)) // 2


def _cases(kernel):
    """Sizes and pads; a pad must be smaller than the kernel."""
    small = [pads for pads in PADS if all(np.array(pads) < [*kernel, *kernel])]
    return list(product(SIZES, small))


def _agrees_or_refused(tmp_path, net) -> bool:
    try:
        agrees(tmp_path, net)
    except UnsupportedError as error:
        if "pad" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pooling_that_pads_by_itself(tmp_path, kind, auto_pad):
    options = {"kernel_shape": (3, 2), "strides": (2, 2), "auto_pad": auto_pad}
    agrees(tmp_path, model([node(kind, "x", **options)], {"x": (2, 3, 8, 9)}))


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pooling_of_one_axis(tmp_path, kind):
    options = {"kernel_shape": (3,), "strides": (2,), "pads": (1, 1)}
    agrees(tmp_path, model([node(kind, "x", **options)], {"x": (2, 3, 8)}))


def test_the_pooling_of_a_resnet_needs_no_round_mode(tmp_path):
    options = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    read = agrees(
        tmp_path, model([node("MaxPool", "x", **options)], {"x": (1, 2, 8, 8)})
    )
    assert types(read) == ["Pooling", "Slice", "Silence", "Slice", "Silence"]
    assert not read.net.layer[1].pooling_param.HasField("round_mode")


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (2, 3, 5, 4, 3)])
def test_global_pooling(tmp_path, kind, shape):
    agrees(tmp_path, model([node(kind, "x")], {"x": shape}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dilations": (2, 1)}, r"dilations is \[2, 1\]"),
        ({"storage_order": 1}, "storage_order is 1"),
        ({"pads": (0, 0, 3, 0), "ceil_mode": 1}, "pad"),
    ],
)
def test_what_pooling_does_not_have_is_refused(tmp_path, options, said):
    net = model([node("MaxPool", "x", kernel_shape=(2, 2), **options)], {"x": X})
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(saved(tmp_path, net))


def test_places_of_maxima_are_refused(tmp_path):
    net = model(
        [node("MaxPool", "x", "y places", kernel_shape=(2, 2))],
        {"x": X},
        outputs=("y", "places"),
        types={"places": 7},
    )
    with pytest.raises(UnsupportedError, match="the places of the maxima"):
        from_onnx(saved(tmp_path, net))


@pytest.mark.parametrize(
    ("pads", "filler", "kind", "made"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], 0.0, "Conv", ["Convolution"]),
        ([0, 0, 0, 1, 0, 0, 1, 2], 0.0, "Conv", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0.5, "Conv", None),
        ([0, 1, 1, 0, 0, 0, 0, 2], 0.0, "Conv", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0.0, "AveragePool", None),
        ([0, 0, 1, 0, 0, 0, 0, 1], 0.0, "AveragePool", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0.0, "MaxPool", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], -np.inf, "MaxPool", None),
        ([0, 0, 9, 1, 0, 0, 20, 1], 0.25, "Relu", None),
        ([1, 2, 0, 0, 1, 3, 0, 0], 0.0, "Relu", None),
        ([0, 0, -1, 2, 0, 0, 1, -2], 0.0, "Relu", None),
    ],
)
def test_padding_goes_into_what_reads_it(tmp_path, pads, filler, kind, made):
    shape = (2, 3, 6, 7)
    channels = shape[1] + pads[1] + pads[5]
    options = {
        "Conv": {},
        "Relu": {},
        "MaxPool": {"kernel_shape": (3, 3), "strides": (2, 2)},
        "AveragePool": {"kernel_shape": (3, 3), "strides": (2, 1)},
    }[kind]
    nodes = [
        node("Pad", "x pads filler", "p"),
        node(kind, "p w" if kind == "Conv" else "p", **options),
    ]
    arrays = {"pads": np.array(pads), "filler": np.float32(filler)}
    if kind == "Conv":
        arrays["w"] = values(1, 4, channels, 3, 3)
    read = agrees(tmp_path, model(nodes, {"x": shape}, arrays))
    if made:
        assert types(read) == made


def test_padding_before_a_maximum_of_what_is_not_negative_is_its_own(tmp_path):
    nodes = [
        node("Relu", "x", "r"),
        node("Pad", "r pads", "p"),
        node("MaxPool", "p", kernel_shape=(3, 3), strides=(2, 2)),
    ]
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    read = agrees(tmp_path, model(nodes, {"x": (2, 3, 7, 7)}, {"pads": pads}))
    assert types(read) == ["ReLU", "Pooling"]
    assert read.net.layer[2].pooling_param.pad == 1


def test_padding_that_mirrors_is_refused(tmp_path):
    nodes = [node("Pad", "x pads", mode="reflect")]
    net = model(nodes, {"x": X}, {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])})
    with pytest.raises(UnsupportedError, match="mode is 'reflect'"):
        from_onnx(saved(tmp_path, net))


def test_padding_of_named_axes(tmp_path):
    net = model(
        [node("Pad", "x pads _ axes")],
        {"x": X},
        {"pads": np.array([1, 2]), "axes": np.array([-2])},
        opset=18,
    )
    agrees(tmp_path, net)
