"""Locally connected layers of any size, made of layers that every Caffe has."""

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.blocks import local
from netspec.errors import ShapeError, SpecError


def net(shape, width, kernel, **options):
    n = NetSpec()
    n.data = L.Input(shape=list(shape))
    n.local = local(n.data, width, kernel, **options)
    return n


def reference(x, weights, bias, kernel, stride, pad, dilation):
    """Every output by its definition, place by place."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, pad, dilation
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    rows = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
    columns = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    width = len(weights) // (rows * columns)
    y = np.zeros((len(x), width, rows, columns))
    for r, c in np.ndindex(rows, columns):
        down = slice(r * sh, r * sh + dh * (kh - 1) + 1, dh)
        right = slice(c * sw, c * sw + dw * (kw - 1) + 1, dw)
        window = x[:, :, down, right].reshape(len(x), -1)
        place = slice((r * columns + c) * width, (r * columns + c + 1) * width)
        y[:, :, r, c] = window @ weights[place].reshape(width, -1).T + bias[place]
    return y


CASES = {
    "square": ((2, 3, 5, 4), 2, (3, 3), (1, 1), (1, 1), (1, 1)),
    "every option by height and width": (
        *((2, 3, 9, 7), 4, (3, 2), (2, 3), (1, 2), (1, 2)),
    ),
    "one row": ((2, 2, 3, 5), 3, (3, 2), (1, 1), (0, 0), (1, 1)),
    "one column": ((2, 2, 5, 2), 3, (2, 2), (2, 1), (0, 0), (1, 1)),
    "one place": ((2, 3, 4, 3), 5, (4, 3), (1, 1), (0, 0), (1, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_place_has_filters_of_its_own(case):
    shape, width, kernel, stride, pad, dilation = CASES[case]
    window = dict(stride=stride, pad=pad, dilation=dilation)
    made = runtime.Net(net(shape, width, kernel, **window), runtime.TEST)
    rng = np.random.default_rng(5)
    weights, bias = (blob.data for blob in made.params["local/filters"])
    weights[...] = rng.normal(size=weights.shape)
    bias[...] = rng.normal(size=bias.shape)
    x = made.blobs["data"].data
    x[...] = rng.normal(size=x.shape)
    made.forward()
    wanted = reference(np.asarray(x), weights, bias, kernel, stride, pad, dilation)
    np.testing.assert_allclose(made.blobs["local/output"].data, wanted, atol=1e-5)


def test_it_equals_the_layer_of_forks():
    shape, width = (2, 3, 6, 5), 4
    one = runtime.Net(net(shape, width, 3, stride=2, pad=1), runtime.TEST)
    n = NetSpec()
    n.data = L.Input(shape=list(shape))
    n.y = L.Local(n.data, num_output=width, kernel_size=3, stride=2, pad=1)
    other = runtime.Net(n, runtime.TEST)
    rng = np.random.default_rng(6)
    weights, bias = (blob.data for blob in one.params["local/filters"])
    weights[...] = rng.normal(size=weights.shape)
    bias[...] = rng.normal(size=bias.shape)
    places = 9
    theirs, their_bias = (blob.data for blob in other.params["y"])
    theirs[...] = (
        np.asarray(weights).reshape(places, width, 1, 27).transpose(1, 2, 3, 0)
    )
    their_bias[...] = np.asarray(bias).reshape(places, width).T[None, None]
    x = rng.normal(size=shape)
    for made in (one, other):
        made.blobs["data"].data[...] = x
        made.forward()
    ours = one.blobs["local/output"].data
    np.testing.assert_allclose(ours, other.blobs["y"].data, atol=1e-5)


def test_it_needs_no_fork_and_is_a_folder():
    n = net((2, 3, 4, 5), 6, 3, bias_term=False, weight_filler="xavier")
    n.score = L.InnerProduct(n.local, num_output=2)
    message = n.to_proto()
    types = {layer.type for layer in message.layer}
    known = {"Input", "Im2col", "Slice", "Concat", "Convolution", "Reshape"}
    assert types == {*known, "InnerProduct"}
    layers = {layer.name: layer for layer in message.layer}
    assert layers["local/filters"].convolution_param.group == 2 * 3
    assert not layers["local/filters"].convolution_param.bias_term
    assert layers["score"].bottom[0] == "local/output"
    assert netspec.summarize(n).blobs["local/output"] == (2, 6, 2, 3)


def test_blocks_follow_each_other_and_have_an_activation_in_place():
    n = net((2, 3, 6, 7), 4, 3, activation=L.TanH)
    n.second = local(n.local, 5, (2, 3), stride=(1, 2))  # its shape is known
    message = n.to_proto()
    (act,) = (layer for layer in message.layer if layer.name == "local/tanh")
    assert list(act.bottom) == list(act.top) == ["local/filters"]
    assert netspec.summarize(n).blobs["second/output"] == (2, 5, 3, 2)


def test_the_image_can_be_told_where_a_file_decides():
    n = NetSpec()
    n.data = L.Data(source="train_lmdb", batch_size=4, backend="LMDB")
    with pytest.raises(
        ShapeError, match=r"height and width .* not known here.* image="
    ):
        local(n.data, 2, 3)
    n.local = local(n.data, 2, 3, image=(8, 6))
    shapes = netspec.summarize(n, shapes={"data": (4, 3, 8, 6)}).blobs
    assert shapes["local/output"] == (4, 2, 6, 4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            dict(kernel_size=9),
            ShapeError,
            r"covers 9 pixels, but there are 4 with a pad",
        ),
        (dict(kernel_size=0), SpecError, r"kernel_size is 0; expected a number of at"),
        (dict(kernel_size=(3, 3, 3)), SpecError, r"kernel_size is \(3, 3, 3\); expec"),
        (dict(kernel_size=3, stride=0), SpecError, r"stride is 0; expected a number"),
        (dict(kernel_size=3, pad=-1), SpecError, r"pad is -1; expected a number of at"),
        (
            dict(kernel_size=3, image=(9, 9)),
            ShapeError,
            r"image is \(9, 9\), but the in",
        ),
        (dict(kernel_size=3, image=9.5), SpecError, r"image is 9.5; expected"),
        (dict(kernel_size=3, bia_term=False), SpecError, r"did you mean 'bias_term'"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(options, error, message):
    n = NetSpec()
    n.data = L.Input(shape=[2, 3, 4, 5])
    with pytest.raises(error, match=message) as caught:
        local(n.data, 2, **options)
    assert "test_blocks.py" in str(caught.value)


def test_a_wrong_number_of_filters_or_input_is_told():
    n = NetSpec()
    n.data, n.flat = L.Input(shape=[[2, 3, 4, 5], [2, 3]], ntop=2)
    with pytest.raises(SpecError, match=r"num_output is '8'; expected a number"):
        local(n.data, "8", 3)
    with pytest.raises(SpecError, match=r"num_output is 0; give the number"):
        local(n.data, 0, 3)
    with pytest.raises(ShapeError, match=r"shape \(2, 3\); expected images"):
        local(n.flat, 2, 3)
