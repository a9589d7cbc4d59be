"""Reductions and resizes against ONNX Runtime."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import agrees, model, node, saved, types

X = (2, 3, 4, 5)
KINDS = [
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [[2, 3], [1], [-1], [0], [1, 3], [0, 2], None])
@pytest.mark.parametrize("keep", [0, 1])
def test_a_reduction(tmp_path, kind, axes, keep):
    options = {} if axes is None else {"axes": axes}
    opset = 12 if kind == "ReduceSum" else 17
    made = node(kind, "x", keepdims=keep, **options)
    agrees(tmp_path, model([made], {"x": X}, opset=opset))


@pytest.mark.parametrize(("kind", "opset"), [("ReduceSum", 13), ("ReduceMean", 18)])
def test_axes_that_are_an_input(tmp_path, kind, opset):
    held = {"a": np.array([-2, -1])}
    net = model([node(kind, "x a", keepdims=0)], {"x": X}, held, opset=opset)
    agrees(tmp_path, net)


def test_no_axes_may_mean_nothing(tmp_path):
    nodes = [
        node("ReduceMean", "x", "m", noop_with_empty_axes=1),
        node("Exp", "m"),
    ]
    assert types(agrees(tmp_path, model(nodes, {"x": X}, opset=18))) == ["Exp"]


def test_the_mean_of_planes_is_a_pooling(tmp_path):
    made = node("ReduceMean", "x", axes=[2, 3], keepdims=1)
    assert types(agrees(tmp_path, model([made], {"x": X}))) == ["Pooling"]


TRANSFORMS = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def resized(mode, transform, rounding, sizes=None, scales=None, shape=X):
    held = {}
    inputs = "x _ "
    if scales is not None:
        held["s"] = np.array([1, 1, *scales], np.float32)
        inputs += "s"
    else:
        held["z"] = np.array([*shape[:2], *sizes], np.int64)
        inputs += "_ z"
    options = {"mode": mode, "coordinate_transformation_mode": transform}
    if mode == "nearest":
        options["nearest_mode"] = rounding
    return model([node("Resize", inputs, **options)], {"x": shape}, held, opset=13)


@pytest.mark.parametrize(
    ("transform", "rounding"), list(itertools.product(TRANSFORMS, ROUNDINGS))
)
def test_resize_to_the_nearest(tmp_path, transform, rounding):
    read = 0
    for scales in [(2, 3), (2.0, 1.0), (1.5, 2.4), (0.5, 0.7)]:
        net = resized("nearest", transform, rounding, scales=scales)
        read += agrees_or_on_an_edge(tmp_path, net)
    for sizes in [(8, 5), (7, 9), (2, 3), (1, 10)]:
        net = resized("nearest", transform, rounding, sizes=sizes)
        read += agrees_or_on_an_edge(tmp_path, net)
    assert read >= 6


def agrees_or_on_an_edge(tmp_path, net) -> bool:
    try:
        agrees(tmp_path, net)
    except UnsupportedError as error:
        if "on the edge of two pixels but for rounding" not in str(error):
            raise
        return False
    return True


def test_a_place_on_the_edge_of_two_pixels_is_refused(tmp_path):
    # 6 / 2.4 is 2.5, and 2.4 has no exact form: ONNX Runtime and NumPy differ.
    net = resized("nearest", "asymmetric", "round_prefer_floor", scales=(1, 2.4))
    with pytest.raises(UnsupportedError, match="place 6 lies on the edge of two"):
        from_onnx(saved(tmp_path, net))


def test_a_scale_that_leaves_the_size_is_refused(tmp_path):
    # ONNX Runtime copies then, whatever the formula says.
    net = resized("linear", "half_pixel", "", scales=(1.1, 2))
    with pytest.raises(UnsupportedError, match="keeps its 4 places at a scale of 1.1"):
        from_onnx(saved(tmp_path, net))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_resize_linearly(tmp_path, transform):
    for scales in [(2, 3), (2.0, 1.0), (1.5, 2.4), (0.5, 0.6)]:
        agrees(tmp_path, resized("linear", transform, "", scales=scales))
    for sizes in [(8, 5), (7, 9), (2, 3), (1, 10)]:
        agrees(tmp_path, resized("linear", transform, "", sizes=sizes))


def test_whole_repeats_are_a_deconvolution_that_does_not_learn(tmp_path):
    net = resized("nearest", "asymmetric", "floor", scales=(2, 3))
    read = agrees(tmp_path, net)
    assert types(read) == ["Deconvolution"]
    made = read.net.layer[1]
    assert list(made.convolution_param.kernel_size) == [2, 3]
    assert [(spec.lr_mult, spec.decay_mult) for spec in made.param] == [(0, 0)]


@pytest.mark.parametrize(
    ("opset", "mode"), [(9, "nearest"), (9, "linear"), (8, "nearest")]
)
def test_upsample(tmp_path, opset, mode):
    if opset < 9:
        made, held = node("Upsample", "x", mode=mode, scales=[1.0, 1.0, 2.0, 3.0]), {}
    else:
        held = {"s": np.array([1, 1, 2, 3], np.float32)}
        made = node("Upsample", "x s", mode=mode)
    agrees(tmp_path, model([made], {"x": X}, held, opset=opset))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mode": "cubic"}, "mode is 'cubic'"),
        (
            {"coordinate_transformation_mode": "tf_crop_and_resize"},
            "coordinate_transformation_mode is 'tf_crop_and_resize'",
        ),
    ],
)
def test_other_resizes_are_refused(tmp_path, change, said):
    options = {"mode": "linear", **change}
    held = {"s": np.array([1, 1, 2, 2], np.float32)}
    net = model([node("Resize", "x _ s", **options)], {"x": X}, held, opset=13)
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(saved(tmp_path, net))


def test_a_resize_of_channels_is_refused(tmp_path):
    held = {"s": np.array([1, 2, 1, 1], np.float32)}
    net = model([node("Resize", "x _ s")], {"x": X}, held, opset=13)
    with pytest.raises(UnsupportedError, match="only pixels are resized"):
        from_onnx(saved(tmp_path, net))


def test_repeats_that_need_a_huge_parameter_are_refused(tmp_path):
    held = {"s": np.array([1, 1, 4e4, 4e4], np.float32)}
    net = model([node("Resize", "x _ s")], {"x": (1, 64, 1, 1)}, held, opset=13)
    with pytest.raises(UnsupportedError, match="it needs a parameter of"):
        from_onnx(saved(tmp_path, net))
