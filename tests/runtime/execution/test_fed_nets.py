"""Nets whose Input layers are fed by data, on every backend."""

import numpy as np
import pytest

from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError, SpecError
from runtime import TEST, TRAIN, Net
from runtime.data.dataset import open_dataset
from runtime.data.feeding import Feed
from tests.allocation import allocated_bytes

COUNT, SHAPE = 10, (3, 6, 5)


def spec(batch=4):
    n = NetSpec("fed")
    n.data = L.Input(shape=[batch, *SHAPE])
    n.label = L.Input(shape=[batch])
    n.conv = L.Convolution(n.data, num_output=5, kernel_size=3, weight_filler="xavier")
    n.relu = L.ReLU(n.conv, in_place=True)
    n.score = L.InnerProduct(n.relu, num_output=4, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n


def arrays():
    rng = np.random.default_rng(2)
    return rng.normal(size=(COUNT, *SHAPE)).astype(np.float32), np.arange(COUNT) % 4


def by_hand(net, x, y):
    """Give a net a batch of any size and return its loss after both passes."""
    net.blobs["data"].reshape(*x.shape)
    net.blobs["label"].reshape(*y.shape)
    net.blobs["data"].data[...] = x
    net.blobs["label"].data[...] = y
    net.forward_backward()
    return net.loss()


def pair(backend):
    """Return two equal nets."""
    nets = [Net(spec(), TRAIN, backend=backend.name, seed=7) for _ in range(2)]
    for name, blobs in nets[0].params.items():
        for mine, other in zip(blobs, nets[1].params[name], strict=True):
            other.data[...] = mine.data
    return nets


def test_a_fed_net_computes_what_batches_by_hand_give(backend):
    net, other = pair(backend)
    x, y = arrays()
    net.feed((x, y))
    for number in range(7):
        start = number % 3 * 4
        net.forward_backward()
        loss = by_hand(other, x[start : start + 4], y[start : start + 4])
        assert net.loss() == loss
        for name, blobs in net.params.items():
            for mine, its in zip(blobs, other.params[name], strict=True):
                np.testing.assert_array_equal(mine.diff, its.diff)
    assert net.plans.compiled == 2  # one for the last batch of an epoch


def test_arrays_that_are_held_show_the_batch_of_the_pass(backend):
    net, _ = pair(backend)
    x, y = arrays()
    net.feed((x[:8], y[:8]))
    data, label = net.blobs["data"].data, net.blobs["label"].data
    for start in (0, 4, 0):
        net.forward()
        np.testing.assert_array_equal(data, x[start : start + 4])
        np.testing.assert_array_equal(label, y[start : start + 4])


def test_shapes_come_back_and_values_by_hand_count_when_feeding_ends(backend):
    net, other = pair(backend)
    x, y = arrays()
    net.feed((x, y), batch_size=7)
    net.forward()
    net.forward()
    assert net.blobs["data"].shape == (3, *SHAPE)
    with pytest.raises(SpecError, match=r"'data' is fed .* net.feed\(None\)"):
        net.forward(data=x[:3])
    net.feed(None)
    assert net.blobs["data"].shape == (4, *SHAPE)
    assert by_hand(net, x[:4], y[:4]) == by_hand(other, x[:4], y[:4])


def test_only_passes_of_a_solver_take_batches_unless_all_do(backend):
    net, _ = pair(backend)
    x, y = arrays()
    dataset = open_dataset((x, y), net.input_shapes)
    layers = {"data": ["data"], "label": ["label"]}
    net.begin_feed(Feed(dataset, layers, always=False))
    net.forward(data=x[6:], label=y[6:])
    np.testing.assert_array_equal(net.blobs["data"].data, x[6:])
    net.clock.value = 1
    with net.feeding():
        net.forward_steps()
    np.testing.assert_array_equal(net.blobs["data"].data, x[4:8])
    net.forward(label=y[:4])
    np.testing.assert_array_equal(net.blobs["data"].data, x[4:8])
    net.close()


def test_the_phase_of_the_net_decides_about_crops(backend):
    x, y = arrays()
    large = np.pad(x, ((0, 0), (0, 0), (1, 3), (2, 2)))
    cut = {"crop_h": 6, "crop_w": 5, "mirror": True}
    test = Net(spec(), TEST, backend=backend.name)
    test.feed((large, y), transform=cut)
    test.forward()
    np.testing.assert_array_equal(test.blobs["data"].data, large[:4, :, 2:8, 2:7])


def test_layers_of_several_tops_and_none_are_fed_whole():
    n = NetSpec("two")
    n.a, n.b = L.Input(ntop=2, shape=dict(dim=[2, 3]))
    n.c = L.Input(shape=[2, 3])
    n.y = L.Eltwise(n.a, n.b, n.c)
    net = Net(n)
    one, two, three = (np.arange(12.0).reshape(4, 3) * k for k in (1, 2, 3))
    net.feed({"c": three, "a": one, "b": two})
    net.forward()
    net.forward()
    np.testing.assert_array_equal(net.blobs["y"].data, 6 * one[2:])
    net.feed(None)
    dataset = open_dataset({"b": two, "c": three}, {"b": (2, 3), "c": (2, 3)})
    with pytest.raises(SpecError, match="fill b of layer .* but not a"):
        net.begin_feed(Feed(dataset, net.fed_layers(dataset.names), always=True))


def test_what_the_data_raise_comes_from_the_pass_that_needs_it(backend):
    net, _ = pair(backend)
    x, y = arrays()
    bad = x[4:].astype(object)
    bad[0, 0, 0, 0] = None
    net.feed([(x[:4], y[:4]), (bad[:, :, :3], y[4:])])
    net.forward()
    with pytest.raises(SpecError, match="'data' of item 1 holds objects"):
        net.forward()
    with pytest.raises(ShapeError, match="numbers of items"):
        net.feed((x, y[:3]))


def test_data_layers_stay_beside_inputs_that_are_fed():
    n = NetSpec("both")
    n.noise = L.DummyData(shape=[4, 3], data_filler=dict(type="gaussian"))
    n.x = L.Input(shape=[4, 3])
    n.y = L.Eltwise(n.noise, n.x)
    net = Net(n)
    net.feed(np.ones((8, 3)))
    first = net.forward()["y"].copy()
    assert net.sources.keys() == {"x"}
    assert (first != net.forward()["y"]).any()


def test_no_batch_is_allocated_in_the_steady_state():
    net = Net(spec(), TRAIN)
    x, y = (np.repeat(array, 2000, axis=0) for array in arrays())
    net.feed((x, y), batch_size=512, shuffle=True)
    for _ in range(4):
        net.forward_backward()
    assert allocated_bytes(net.forward_backward) < 512 * x[0].nbytes / 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("first", ["data", "label"])
def test_inputs_in_any_order_and_of_any_precision(dtype, first):
    x, y = arrays()
    n = NetSpec("order")
    for name in (first, "label" if first == "data" else "data"):
        n[name] = L.Input(shape=[4, *SHAPE] if name == "data" else [4])
    n.sum = L.Reduction(n.data, axis=1)
    n.both = L.Eltwise(n.sum, n.label)
    net = Net(n, dtype=dtype)
    given = {"data": x.astype(dtype), "label": y}
    for values in (given, {**given, "data": x.astype("uint8")}):
        net.feed(values)
        for start in (0, 4, 8, 0):
            both = net.forward()["both"]
            part = values["data"][start : start + 4]
            expected = part.reshape(len(part), -1).sum(axis=1, dtype=dtype)
            np.testing.assert_allclose(
                both, expected + y[start : start + 4], rtol=1e-5, atol=1e-5
            )
