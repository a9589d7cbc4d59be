"""Where the pixels of one blob lie in another, and the crops that follow from it."""

import pytest

from netspec import compatible
from netspec.coord_map import PASS_THROUGH_LAYERS, crop, map_between
from netspec.errors import ShapeError
from netspec.ops import known_types, op_class
from netspec.ops.base import FromOutputOp
from netspec.schema import ConvolutionParameter

pytestmark = pytest.mark.filterwarnings("ignore::netspec.SpecWarning")

L, P = compatible.layers, compatible.params


def fully_convolutional(*, pad=100, kernel_size=64, stride=32):
    n = compatible.NetSpec()
    n.data = L.Input()
    n.conv1 = L.Convolution(n.data, num_output=4, kernel_size=3, pad=pad)
    top = n.relu1 = L.ReLU(n.conv1, in_place=True)
    for index in range(5):
        top = n[f"pool{index}"] = L.Pooling(
            top, pool=P.Pooling.MAX, kernel_size=2, stride=2
        )
        top = n[f"conv{index}"] = L.Convolution(
            top, num_output=4, kernel_size=3, pad=1, param=[dict(lr_mult=1)]
        )
    n.fc = L.Convolution(top, num_output=4, kernel_size=7)
    n.drop = L.Dropout(n.fc, in_place=True)
    n.upscore = L.Deconvolution(
        n.drop,
        convolution_param=dict(kernel_size=kernel_size, stride=stride),
    )
    return n


def test_crop_of_a_fully_convolutional_net():
    n = fully_convolutional()
    n.score = crop(n.upscore, n.data)
    layer = n.to_proto().layer[-1]
    # Each of five poolings of two moves by half a pixel of its input, fc by three of
    # the last: (1 + 2 + 4 + 8 + 16) / 2 + 3 * 32 - 99 = 12.5; upscore: 31.5 less.
    assert list(layer.crop_param.offset) == [19]
    assert layer.crop_param.axis == 2
    assert list(layer.bottom) == ["upscore", "data"]


def test_crops_follow_each_other_and_other_axes():
    n = compatible.NetSpec()
    n.data = L.Input()
    n.a = L.Convolution(n.data, num_output=4, kernel_size=[5, 3], pad=[0, 1], axis=2)
    n.b = L.Crop(n.data, n.a, axis=3, offset=[2, 0])
    mapping = map_between(n.b, n.a)
    assert (mapping.axis, mapping.scale, mapping.offset) == (2, (1, 1), (0, 0))
    n.d = L.Convolution(n.data, num_output=4, kernel_size=3, dilation=4, pad=1)
    assert map_between(n.d, n.data).offset == (3,)
    with pytest.raises(ShapeError, match="count from different axes: \\[1, 2\\]"):
        map_between(L.Pooling(n.b, kernel_size=2), n.data)


def test_crops_that_cannot_be_are_refused():
    n = fully_convolutional(pad=1)
    with pytest.raises(ShapeError, match="the offset is -80.0; pad the input more"):
        crop(n.upscore, n.data)
    n = fully_convolutional(kernel_size=63, stride=32)
    with pytest.raises(ShapeError, match="offset is 18.5; expected whole pixels"):
        crop(n.upscore, n.data)
    n = fully_convolutional(kernel_size=4, stride=2)
    with pytest.raises(ShapeError, match="scales must be equal, one is 0.0625 times"):
        crop(n.upscore, n.data)
    with pytest.raises(ShapeError, match="give Crop its offset yourself"):
        crop(L.InnerProduct(n.data, num_output=2), n.data)


def test_options_may_be_given_whole_and_by_name():
    x = L.Input(shape=dict(dim=[1, 1, 30, 30]))
    flat = L.Convolution(x, num_output=2, kernel_size=3, stride=2)
    options = dict(num_output=2, kernel_size=3)
    mixed = L.Convolution(x, convolution_param=options, stride=2)
    message = ConvolutionParameter(num_output=2, kernel_size=[3], stride=[2])
    whole = L.Convolution(x, convolution_param=message)
    for top in (mixed, whole):
        assert map_between(top, x) == map_between(flat, x)


def test_every_layer_that_works_element_by_element_keeps_its_places():
    by_output = {
        kind for kind in known_types() if issubclass(op_class(kind), FromOutputOp)
    }
    assert by_output
    assert by_output - {"Softmax"} <= PASS_THROUGH_LAYERS
