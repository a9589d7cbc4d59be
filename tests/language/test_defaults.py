"""Blocks around calls: phases and defaults; and parts of tops."""

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec, defaults, phase
from netspec import layers as L
from netspec.errors import ShapeError, SpecError

LEARN = [dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)]


def start(shape=(2, 6, 4, 4)):
    n = NetSpec()
    n.data = L.Input(shape=list(shape))
    return n


def test_layers_of_a_phase_block_are_in_that_phase():
    n = start()
    with phase("TRAIN"):
        n.drop = L.Dropout(n.data)
    with phase(netspec.TEST):
        n.end = L.ReLU(n.data)
        n.rules = L.ReLU(n.data, exclude=dict(stage="x"))
    layers = n.to_proto().layer
    assert layers[1].include[0].phase == netspec.TRAIN
    assert layers[2].include[0].phase == netspec.TEST
    assert not layers[3].include
    assert [x.name for x in n.to_proto("train").layer] == ["data", "drop", "rules"]
    assert [x.name for x in n.to_proto(netspec.TEST).layer] == ["data", "end", "rules"]
    assert not n.to_proto("TRAIN").layer[1].include


def test_a_phase_in_the_other_phase_is_refused():
    with (
        pytest.raises(SpecError, match="block of the other"),
        phase("TRAIN"),
        phase("TEST"),
    ):
        pass
    with pytest.raises(SpecError, match="expected 'TRAIN' or 'TEST'"), phase("BOTH"):
        pass
    with pytest.raises(SpecError, match="'DEPLOY'"):
        start().to_proto("BOTH")


def test_defaults_are_for_the_layers_of_the_block():
    n = start()
    with defaults(L.Convolution, weight_filler="xavier", param=LEARN):
        n.conv = L.Convolution(n.data, num_output=2, kernel_size=1)
        n.own = L.Convolution(
            n.data, num_output=2, kernel_size=1, weight_filler=dict(type="msra")
        )
        n.none = L.Convolution(n.data, num_output=2, kernel_size=1, weight_filler=None)
        n.score = L.InnerProduct(n.conv, num_output=2)
    n.after = L.Convolution(n.data, num_output=2, kernel_size=1)
    layers = {layer.name: layer for layer in n.to_proto().layer}
    fillers = {
        name: layer.convolution_param.weight_filler.type
        for name, layer in layers.items()
        if layer.convolution_param.HasField("weight_filler")
    }
    assert fillers == {"conv": "xavier", "own": "msra"}
    assert [spec.lr_mult for spec in layers["conv"].param] == [1, 2]
    assert not layers["score"].param
    assert not layers["after"].param


def test_defaults_without_types_are_for_all_that_have_the_field():
    n = start()
    with defaults(weight_filler="xavier", bias_filler=0.1, param=LEARN):
        n.conv = L.Convolution(n.data, num_output=2, kernel_size=1, bias_term=False)
        n.norm = L.BatchNorm(n.conv)
        n.scale = L.Scale(n.norm)
        n.relu = L.ReLU(n.scale)
        n.score = L.InnerProduct(n.relu, num_output=2)
    layers = {layer.name: layer for layer in n.to_proto().layer}
    counts = {name: len(layer.param) for name, layer in layers.items()}
    assert counts == dict(data=0, conv=1, norm=0, scale=1, relu=0, score=2)
    assert not layers["conv"].convolution_param.HasField("bias_filler")
    assert abs(layers["score"].inner_product_param.bias_filler.value - 0.1) < 1e-7
    assert netspec.summarize(n).as_dict()["num_params"] == 12 + 5 + 2 + 66


def test_a_default_for_both_sides_gives_way_to_one_for_each():
    n = start((2, 3, 8, 8))
    with defaults(L.Convolution, kernel_size=3, pad=1):
        n.conv = L.Convolution(n.data, num_output=4, kernel_h=5, kernel_w=1, pad_h=2)
    assert n.conv.shape == (2, 4, 8, 8)
    assert "pad" not in n.conv.fn.params


def test_inner_defaults_win_and_none_takes_one_away():
    n = start()
    with defaults(L.Convolution, weight_filler="xavier", pad=1):
        with defaults("Convolution", weight_filler="msra", pad=None):
            n.conv = L.Convolution(n.data, num_output=2, kernel_size=3)
        n.whole = L.Convolution(
            n.data, convolution_param=dict(num_output=2, kernel_size=[3], pad=[0])
        )
    conv, whole = (layer.convolution_param for layer in n.to_proto().layer[1:])
    assert (conv.weight_filler.type, list(conv.pad)) == ("msra", [])
    assert (whole.weight_filler.type, list(whole.pad)) == ("xavier", [0])


@pytest.mark.parametrize(
    ("types", "fields", "words"),
    [
        (["Convoluton"], {}, "did you mean 'Convolution'"),
        ([L.Convolution], dict(weight_filer=1), "did you mean 'weight_filler'"),
        ([L.Convolution], dict(num_output="x"), "num_output is 'x'"),
        ([L.Convolution, L.ReLU], dict(num_output=3), "no field of Convolution, ReLU"),
        ([], dict(weight_filer=1), "no field of any layer; did you mean"),
        ([], dict(param=3), "param"),
    ],
)
def test_wrong_defaults_are_refused_where_they_are_written(types, fields, words):
    with pytest.raises(SpecError, match=words) as caught, defaults(*types, **fields):
        pass
    assert "test_defaults.py:" in str(caught.value)


def computed(n, **values):
    net = runtime.Net(n, runtime.TEST)
    for name, value in values.items():
        net.blobs[name].data[...] = value
    return net.forward()


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:, 2:5],
        np.s_[:, :3],
        np.s_[:, 4:],
        np.s_[1:, :, -2:],
        np.s_[..., 1:3],
        np.s_[:, -4:-1, :, :2],
        np.s_[:],
    ],
)
def test_parts_are_those_of_numpy(key):
    n = start()
    n.part = n.data[key] * 1
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 4)).astype(np.float32)
    assert n.part.shape == x[key].shape
    result = computed(n, data=x)
    np.testing.assert_array_equal(result["part"], x[key])
    assert set(result) == {"part"}  # the rest of a slice is no output


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (np.s_[:, 3], "use 3:4"),
        (np.s_[:, ::2], "no slice of step 1"),
        (np.s_[:, 5:9], "5:9 is no part of axis 1, which has 6 elements"),
        (np.s_[:, 3:3], "3:3 is no part"),
        (np.s_[:, :, :, :, 1:], "so no axis 4"),
        (np.s_["a"], "no slice"),
        (np.s_[:, 2], "use 2:3$"),
        (np.s_[:, -2], "use -2:-1$"),
        (np.s_[:, -1], "use -1:$"),
    ],
)
def test_parts_that_are_not_there_are_refused(key, words):
    n = start()
    with pytest.raises(SpecError, match=words):
        n.data[key]


def test_parts_of_unknown_shapes_need_both_bounds():
    n = NetSpec()
    n.data = L.Data(source="x", batch_size=2)
    n.part = n.data[:, 1:3]
    assert n.part.fn.params["slice_point"] == [1, 3]
    with pytest.raises(ShapeError, match="shape is not known"):
        n.data[:, -2:]


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda a, b: a + b, lambda a, b: a + b),
        (lambda a, b: a - b, lambda a, b: a - b),
        (lambda a, b: a * b, lambda a, b: a * b),
        (lambda a, b: 2 * a + 1, lambda a, b: 2 * a + 1),
        (lambda a, b: 1 - a / 4, lambda a, b: 1 - a / 4),
        (lambda a, b: -(abs(a - b) ** 2), lambda a, b: -(abs(a - b) ** 2)),
        (lambda a, b: 1 / (a * a + 1), lambda a, b: 1 / (a * a + 1)),
        (lambda a, b: sum([a, b]), lambda a, b: a + b),
    ],
)
def test_arithmetic(make, value):
    n = start((2, 3))
    n.other = L.Input(shape=[2, 3])
    n.result = make(n.data, n.other)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 3)).astype(np.float32)
    got = computed(n, data=a, other=b)["result"]
    np.testing.assert_allclose(got, value(a, b), rtol=1e-5, atol=1e-6)


def test_numbers_of_numpy_are_numbers():
    n = start((2, 3))
    n.less = n.data - np.uint8(3)
    n.half = np.float32(0.5) * n.less
    n.inverse = np.int64(4) / n.half
    assert n.less.fn.params == {"shift": -3}
    assert n.half.fn.params == {"scale": 0.5}
    assert n.inverse.fn.params == {"scale": 4}


@pytest.mark.parametrize(
    "make", [lambda top, x: top * x, lambda top, x: x * top, lambda top, x: x - top]
)
def test_arrays_are_no_numbers(make):
    with pytest.raises(
        TypeError, match=r"with an array of shape \(3,\); expected a top"
    ):
        make(start((2, 3)).data, np.arange(3))
