"""What a convolution on a device is: shapes, strides, keys, words, refusals."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from netspec.errors import ShapeError, SpecError
from runtime.backends.cuda.machine.convolutions import Convolution, channels_last

SPEC = Convolution(
    kind="forward",
    x=(2, 6, 11, 13),
    w=(8, 3, 3, 4),
    y=(2, 8, 6, 5),
    stride=(2, 3),
    pad=(1, 2),
    dilation=(1, 1),
    groups=2,
)
LINE = Convolution(
    kind="weight_gradient",
    x=(3, 4, 17),
    w=(5, 4, 3),
    y=(3, 5, 8),
    stride=(2,),
    pad=(1,),
    dilation=(2,),
    storage="bfloat16",
    add=True,
)


def test_the_last_axis_of_memory_is_the_channels():
    assert channels_last((2, 6, 11, 13)) == (11 * 13 * 6, 1, 13 * 6, 6)
    assert channels_last((2, 6, 4, 5, 7)) == (4 * 5 * 7 * 6, 1, 5 * 7 * 6, 7 * 6, 6)


def test_a_convolution_names_its_tensors_with_the_result_last():
    spec = replace(SPEC, bias=True, add=True, relu=True)
    assert list(spec.tensors) == ["x", "w", "bias", "add", "y"]
    assert spec.tensors["w"].strides == (3 * 4 * 3, 1, 4 * 3, 3)
    assert spec.tensors["bias"].shape == (1, 8, 1, 1)
    assert spec.tensors["add"].shape == (2, 8, 6, 5)
    assert spec.output == "y"


def test_gradients_take_a_mask_and_an_addend_of_the_shape_of_their_result():
    spec = replace(SPEC, kind="input_gradient", add=True, relu=True)
    assert list(spec.tensors) == ["w", "y", "add", "mask", "x"]
    assert spec.tensors["mask"].shape == spec.tensors["add"].shape == spec.x
    assert list(LINE.tensors) == ["x", "y", "add", "w"]
    assert replace(SPEC, kind="weight_gradient").output == "w"


def test_the_bias_is_float32_unless_asked_for_like_the_rest():
    spec = replace(SPEC, storage="float16", bias=True)
    kinds = {name: one.storage for name, one in spec.tensors.items()}
    assert kinds == {"x": "float16", "w": "float16", "bias": "float32", "y": "float16"}
    assert spec.tensors["bias"].nbytes == 8 * 4
    assert spec.tensors["x"].nbytes == 2 * 6 * 11 * 13 * 2
    like = replace(spec, bias_storage="float16")
    assert like.tensors["bias"].nbytes == 8 * 2


def test_a_convolution_along_one_axis_gets_another_of_size_one():
    wide = LINE.widened()
    assert (wide.x, wide.w, wide.y) == ((3, 4, 1, 17), (5, 4, 1, 3), (3, 5, 1, 8))
    assert (wide.stride, wide.pad, wide.dilation) == ((1, 2), (0, 1), (1, 2))
    assert LINE.tensors["x"].strides == (17 * 4, 1, 17 * 4, 4)
    assert SPEC.widened() is SPEC


@pytest.mark.parametrize("spec", [SPEC, LINE])
def test_a_key_can_be_read_again(spec):
    assert Convolution.from_key(spec.key) == spec
    assert hash(Convolution.from_key(spec.key)) == hash(spec)


def test_every_field_is_part_of_the_key():
    half = replace(SPEC, storage="float16", bias=True)
    different = [
        SPEC,
        half,
        replace(half, bias_storage="float16"),
        replace(half, storage="bfloat16"),
        replace(SPEC, kind="weight_gradient"),
        replace(SPEC, x=(2, 6, 11, 14)),
        replace(SPEC, x=(2, 3, 11, 13), groups=1),
        replace(SPEC, x=(2, 6, 12, 13), dilation=(1, 1), w=(8, 3, 4, 4)),
        replace(SPEC, x=(2, 6, 13, 13), dilation=(2, 1)),
        replace(SPEC, x=(2, 6, 12, 13), pad=(1, 2)),
        replace(SPEC, x=(2, 6, 12, 13), pad=(0, 2), y=(2, 8, 5, 5)),
        replace(SPEC, x=(2, 6, 12, 13), stride=(3, 3), y=(2, 8, 4, 5)),
        *(replace(SPEC, **{name: True}) for name in ("tf32", "bias", "add", "relu")),
    ]
    assert len({spec.key for spec in different}) == len(set(different)) == 16
    assert set(json.loads(SPEC.key)) == {one.name for one in fields(SPEC)}


def test_words_say_what_it_is():
    half = replace(SPEC, storage="float16", bias_storage="float16")
    assert str(replace(half, bias=True, add=True, relu=True)) == (
        "a convolution, float16, x 2 x 6 x 11 x 13, w 8 x 3 x 3 x 4, y 2 x 8 x 6 x 5, "
        "stride 2 x 3, pad 1 x 2, 2 groups + add + float16 bias + ReLU"
    )
    assert str(LINE) == (
        "the weight gradient of a convolution, bfloat16, x 3 x 4 x 17, w 5 x 4 x 3, "
        "y 3 x 5 x 8, stride 2, pad 1, dilation 2 + add"
    )
    masked = replace(SPEC, kind="input_gradient", tf32=True, relu=True)
    assert str(masked).startswith("the input gradient of a convolution, tf32, x 2 ")
    assert str(masked).endswith(" + mask")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "sideways"}, r"kind 'sideways'; expected one of \['forward', "),
        ({"storage": "int8"}, r"storage 'int8'; expected one of \['float32', "),
        (
            {"storage": "float16", "tf32": True},
            "tf32 is a way to multiply float32, not",
        ),
        ({"kind": "input_gradient", "bias": True}, "'input_gradient' has no bias"),
        ({"kind": "weight_gradient", "relu": True}, "'weight_gradient' has no relu"),
        (
            {"bias_storage": "float16"},
            "bias_storage 'float16' beside float32; expected",
        ),
    ],
)
def test_an_option_that_means_nothing_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        replace(SPEC, **change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"y": (2, 8, 6, 6)}, r"y \(2, 8, 6, 6\); x .* make \(2, 8, 6, 5\)"),
        ({"y": (3, 8, 6, 5)}, r"make \(2, 8, 6, 5\)"),
        ({"x": (2, 5, 11, 13)}, "has 5 channels; w .* in 2 groups reads 6"),
        ({"groups": 3}, "3 groups do not divide the 8 outputs"),
        ({"groups": 0}, "0 groups do not divide"),
        ({"pad": (1, -2)}, r"pad \(1, -2\) must not be negative"),
        ({"stride": (2, 0)}, r"stride \(2, 0\): every size must be above 0"),
        ({"x": (0, 6, 11, 13)}, r"x \(0, 6, 11, 13\): every size must be above 0"),
        ({"pad": (1,)}, r"pad \(1,\) has 1 spatial axes, stride \(2, 3\) has 2"),
        ({"w": (8, 3, 3)}, r"w \(8, 3, 3\) has 1 spatial axes"),
        ({"stride": ()}, "0 spatial axes; expected 1 to 3"),
        ({"stride": (1, 1, 1, 1)}, "4 spatial axes; expected 1 to 3"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(change, message):
    with pytest.raises(ShapeError, match=message):
        replace(SPEC, **change)
