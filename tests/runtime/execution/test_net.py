"""`runtime.Net`: building, running, sharing and reshaping whole nets."""

import importlib

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError, UnsupportedError

FAN_OUT = """
name: "fan_out"
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "t" type: "TanH" bottom: "x" top: "t" }
layer { name: "b" type: "InnerProduct" bottom: "t" top: "b"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
"""

SIAMESE = """
layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "r" type: "Input" top: "r" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "l" top: "fl"
        param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "ip_p" type: "InnerProduct" bottom: "r" top: "fr"
        param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "ContrastiveLoss" bottom: "fl" bottom: "fr" bottom: "s"
        top: "loss" contrastive_loss_param { margin: 1.5 } }
"""

IN_PLACE = """
force_backward: true
layer { name: "x" type: "Input" top: "x"
        input_param { shape { dim: 2 dim: 3 dim: 5 } } }
layer { name: "scale" type: "Scale" bottom: "x" top: "y"
        scale_param { filler { value: 1.5 } bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y"
        relu_param { negative_slope: 0.2 } }
layer { name: "scale2" type: "Scale" bottom: "y" top: "y"
        scale_param { filler { value: -0.7 } } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "y" top: "y" }
"""

OUT_OF_PLACE = """
force_backward: true
layer { name: "x" type: "Input" top: "x"
        input_param { shape { dim: 2 dim: 3 dim: 5 } } }
layer { name: "scale" type: "Scale" bottom: "x" top: "y"
        scale_param { filler { value: 1.5 } bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y1"
        relu_param { negative_slope: 0.2 } }
layer { name: "scale2" type: "Scale" bottom: "y1" top: "y2"
        scale_param { filler { value: -0.7 } } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "y2" top: "y3" }
"""


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("step", ["upgrade.net.upgrades_needed", "filter.kept_layers"])
def test_a_net_is_upgraded_and_its_rules_applied_once(step, monkeypatch):
    module, _, name = f"netspec.nets.{step}".rpartition(".")
    original = getattr(importlib.import_module(module), name)
    seen = []

    def counted(net, *args):
        seen.append(net)
        return original(net, *args)

    monkeypatch.setattr(f"{module}.{name}", counted)
    net = runtime.Net(FAN_OUT, runtime.TRAIN)
    assert len(seen) == 1
    net.blobs["x"].reshape(5, 4)
    net.forward()  # made anew for other shapes, from what was kept
    assert len(seen) == 1


def test_fan_out_sums_the_gradients_of_its_uses(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    x, dy = random((3, 4)), random((3, 5), 1)
    net.forward(x=x)
    net.clear_param_diffs()
    dx = net.backward(sum=dy)["x"].copy()
    wa, wb = (net.params[name][0].data for name in ("a", "b"))
    expected = dy @ wa + (1 - np.tanh(x) ** 2) * (dy @ wb)
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-6)


def test_split_layers_and_names_are_those_of_caffe(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    assert net._layer_names == ["x", "x_x_0_split", "a", "t", "b", "sum"]
    assert [layer.type for layer in net.layers][1] == "Split"
    assert list(net.blobs)[:3] == ["x", "x_x_0_split_0", "x_x_0_split_1"]
    assert (net.inputs, net.outputs) == (["x"], ["sum"])


def test_split_tops_share_the_memory_of_their_source(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    assert net.plan.data[net.graph.blobs["x_x_0_split_1"]] is net.plan.data[0]


def test_shared_parameters_are_one_array_and_their_gradients_add_up(backend):
    net = runtime.Net(SIAMESE, runtime.TRAIN, backend=backend.name, dtype="float64")
    values = {"l": random((3, 4)), "r": random((3, 4), 1), "s": np.array([1, 0, 1])}

    def loss():
        net.forward(**values)
        return net.loss()

    loss()
    net.forward_backward()
    gradient = net.params["ip"][0].diff.copy()
    np.testing.assert_array_equal(gradient, net.params["ip_p"][0].diff)
    weight = net.params["ip"][0].data
    for index in np.ndindex(weight.shape):
        weight = net.params["ip"][0].data
        kept = weight[index]
        weight[index] = kept + 1e-5
        up = loss()
        net.params["ip"][0].data[index] = kept - 1e-5
        down = loss()
        net.params["ip"][0].data[index] = kept
        assert gradient[index] == pytest.approx((up - down) / 2e-5, rel=1e-3, abs=1e-7)


def test_backward_adds_to_parameter_gradients_until_they_are_cleared(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    net.forward(x=random((3, 4)))
    net.backward(sum=random((3, 5), 1))
    once = net.params["a"][0].diff.copy()
    net.backward()
    np.testing.assert_allclose(net.params["a"][0].diff, 2 * once, rtol=1e-5)
    net.clear_param_diffs()
    assert not net.params["a"][0].diff.any()


def test_training_pass_stores_gradients_over_stale_ones(backend):
    net = runtime.Net(SIAMESE, runtime.TRAIN, backend=backend.name)
    net.forward(l=random((3, 4)), r=random((3, 4), 1), s=np.ones(3))
    net.forward_backward()
    once = net.params["ip"][0].diff.copy()
    assert once.any()
    net.params["ip"][0].diff[...] = 1e9
    net.forward_backward()
    np.testing.assert_array_equal(net.params["ip"][0].diff, once)
    net.forward_backward(accumulate=True)
    np.testing.assert_allclose(net.params["ip"][0].diff, 2 * once, rtol=1e-6)


def test_parameter_shared_within_one_layer_gets_both_gradients(backend):
    text = """
    force_backward: true
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "sc" type: "Scale" bottom: "x" top: "y" param { name: "c" }
            param { name: "c" } scale_param { filler { value: 2 } bias_term: true } }
    """
    net = runtime.Net(text, backend=backend.name)
    x, dy = random((2, 3)), random((2, 3), 1)
    net.forward(x=x)
    net.blobs["y"].diff[...] = dy
    net.params["sc"][0].diff[...] = 77
    net.forward_backward()
    expected = (dy * x).sum(0) + dy.sum(0)
    np.testing.assert_allclose(net.params["sc"][0].diff, expected, rtol=1e-5)


def test_chain_of_in_place_layers_equals_the_same_chain_out_of_place(backend):
    one = runtime.Net(IN_PLACE, backend=backend.name, seed=3)
    other = runtime.Net(OUT_OF_PLACE, backend=backend.name, seed=3)
    x, dy = random((2, 3, 5)), random((2, 3, 5), 1)
    for net, out in ((one, "y"), (other, "y3")):
        net.forward(x=x)
        net.backward(**{out: dy})
    np.testing.assert_array_equal(one.blobs["y"].data, other.blobs["y3"].data)
    np.testing.assert_allclose(
        one.blobs["x"].diff, other.blobs["x"].diff, rtol=1e-6, atol=1e-8
    )
    for name in ("scale", "scale2"):
        np.testing.assert_allclose(
            one.params[name][0].diff, other.params[name][0].diff, rtol=1e-5, atol=1e-6
        )


def test_reshape_between_calls_keeps_parameters_and_follows_the_input(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    weight = net.params["a"][0].data.copy()
    blob = net.blobs["x"]
    blob.reshape(7, 4)
    blob.data[...] = random((7, 4))  # before the net is reshaped
    out = net.forward()["sum"]
    assert out.shape == (7, 5)
    np.testing.assert_array_equal(net.params["a"][0].data, weight)
    np.testing.assert_array_equal(net.blobs["x"].data, random((7, 4)))
    assert net.blobs["x"] is blob
    net.backward(sum=random((7, 5), 1))
    assert net.blobs["x"].diff.shape == (7, 4)


def test_reshape_that_would_change_parameters_is_refused_and_undone(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    before = net.forward(x=random((3, 4)))["sum"].copy()
    net.blobs["x"].reshape(3, 6)
    with pytest.raises(ShapeError, match=r"layer 'a' .*from \(5, 4\) to \(5, 6\)"):
        net.reshape()
    np.testing.assert_array_equal(net.forward(x=random((3, 4)))["sum"], before)


def test_reshape_of_a_computed_blob_is_refused(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    with pytest.raises(SpecError, match="'a' is computed from others"):
        net.blobs["a"].reshape(1, 5)


def test_test_net_uses_the_parameters_of_the_train_net(backend):
    train = runtime.Net(SIAMESE, runtime.TRAIN, backend=backend.name)
    test = runtime.Net(SIAMESE, runtime.TEST, backend=backend.name, share_with=train)
    train.params["ip"][0].data[...] = 0.25
    assert (test.params["ip_p"][0].data == 0.25).all()
    assert test.flat.data.size == 0


def test_sharing_with_a_net_of_other_shapes_is_refused(backend):
    train = runtime.Net(SIAMESE, backend=backend.name)
    with pytest.raises(ShapeError, match=r"layer 'ip' .*\(9, 4\) here and \(2, 4\)"):
        runtime.Net(
            SIAMESE.replace("num_output: 2", "num_output: 9"),
            backend=backend.name,
            share_with=train,
        )


def test_partial_forward_and_backward_run_just_these_layers(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    x = random((3, 4))
    net.forward(x=x)
    net.blobs["t"].data[...] = 0.5
    out = net.forward(start="b")
    weight = net.params["b"][0].data
    a = net.blobs["a"].data
    np.testing.assert_allclose(out["sum"], a + 0.5 * weight.sum(1), rtol=1e-5)
    assert list(net.forward(end="t")) == ["t"]
    with pytest.raises(SpecError, match="no layer 'sun'; did you mean 'sum'"):
        net.forward(end="sun")


def test_keeping_few_blobs_needs_less_memory_and_computes_the_same(backend):
    layers = [FAN_OUT.replace('top: "sum"', 'top: "h0"')]
    for i in range(12):
        layers.append(
            f'layer {{ name: "ip{i}" type: "InnerProduct" bottom: "h{i}" '
            f'top: "h{i + 1}" inner_product_param {{ num_output: 5 '
            f'weight_filler {{ type: "xavier" }} }} }}'
        )
    text = "\n".join(layers).replace("force_backward: true", "")
    full = runtime.Net(text, backend=backend.name)
    few = runtime.Net(text, backend=backend.name, keep=["h3"])
    x = random((3, 4))
    np.testing.assert_array_equal(full.forward(x=x)["h12"], few.forward(x=x)["h12"])
    np.testing.assert_array_equal(full.blobs["h3"].data, few.blobs["h3"].data)
    sizes = [
        n.plan.memory["arena_bytes"] - n.plan.memory["scratch_bytes"]
        for n in (few, full)
    ]
    assert sizes[0] < 0.7 * sizes[1]
    with pytest.raises(SpecError, match="'h5': its data is not kept"):
        few.blobs["h5"].data  # noqa: B018


def test_a_negative_seed_is_refused(backend):
    with pytest.raises(SpecError, match="seed is -1; expected a number from 0"):
        runtime.Net(FAN_OUT, backend=backend.name, seed=-1)


def test_keep_of_an_unknown_blob_is_refused(backend):
    with pytest.raises(SpecError, match="keep names no blob.*did you mean 'sum'"):
        runtime.Net(FAN_OUT, backend=backend.name, keep=["sun"])


def test_inputs_of_another_shape_or_name_are_refused(backend):
    net = runtime.Net(FAN_OUT, backend=backend.name)
    with pytest.raises(ShapeError, match=r"input 'x' has shape \(3, 4\), got \(4, 3\)"):
        net.forward(x=np.zeros((4, 3)))
    with pytest.raises(SpecError, match="'y' is not an input"):
        net.forward(y=np.zeros((4, 3)))


def test_same_seed_gives_the_same_parameters_and_another_seed_others(backend):
    one, same, other = (
        runtime.Net(FAN_OUT, backend=backend.name, seed=seed) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one.params["a"][0].data, same.params["a"][0].data)
    assert (one.params["a"][0].data != other.params["a"][0].data).all()


def test_layer_without_arithmetic_is_named(backend):
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "odd" type: "DetectionOutput" bottom: "x" bottom: "x" bottom: "x"
            top: "y"
            detection_output_param { num_classes: 2 } }
    """
    with pytest.raises(
        (UnsupportedError, ShapeError), match=r"layer 'odd' \(DetectionOutput\)"
    ):
        runtime.Net(text, backend=backend.name)


def test_backward_through_a_layer_without_gradient_is_refused(backend):
    text = """
    layer { name: "x" type: "Input" top: "x" top: "t"
            input_param { shape { dim: 3 dim: 4 } shape { dim: 3 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
            inner_product_param { num_output: 2 } }
    layer { name: "acc" type: "Accuracy" bottom: "y" bottom: "t" top: "acc"
            loss_weight: 1 }
    """
    net = runtime.Net(text, backend=backend.name)
    net.forward()
    with pytest.raises(SpecError, match=r"layer 'acc' \(Accuracy\).*no gradient"):
        net.backward()


FILTERED = """
layer { name: "x" type: "Input" top: "x" top: "keep"
        input_param { shape { dim: 5 dim: 3 dim: 4 dim: 6 } shape { dim: 5 } } }
layer { name: "scale" type: "Scale" bottom: "x" top: "s" }
layer { name: "max" type: "Pooling" bottom: "s" top: "m"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "some" type: "Filter" bottom: "m" bottom: "keep" top: "some" }
layer { name: "half" type: "Power" bottom: "some" top: "half"
        power_param { scale: 0.5 } }
layer { name: "sum" type: "Reduction" bottom: "half" top: "loss" loss_weight: 1
        reduction_param { operation: SUMSQ } }
"""


@pytest.mark.parametrize("keep", [None, ()])
def test_filter_changes_the_shapes_below_it_in_every_pass(backend, keep):
    net = runtime.Net(FILTERED, runtime.TRAIN, backend=backend.name, keep=keep)
    for seed, chosen in enumerate([(0, 2, 3), (1,), (0, 1, 2, 3, 4), (), (4, 1)]):
        x = random((5, 3, 4, 6), seed)
        selector = np.zeros(5)
        selector[list(chosen)] = -2
        rows = sorted(chosen)
        net.params["scale"][0].diff[...] = 1e9
        net.forward(x=x, keep=selector)
        net.forward_backward()
        windows = x.reshape(5, 3, 2, 2, 3, 2)
        pooled = windows.max((3, 5))
        np.testing.assert_array_equal(net.blobs["some"].data, pooled[rows])
        loss = 0.25 * (pooled[rows] ** 2).sum()
        assert net.loss() == pytest.approx(loss, rel=1e-5)
        # The gradient of a scale of 1 is x times that of the scaled values.
        expected = 0.5 * (pooled[rows] ** 2).sum((0, 2, 3))
        np.testing.assert_allclose(
            net.params["scale"][0].diff, expected, rtol=1e-4, atol=1e-6
        )


def test_scripts_read_the_layers_that_run():
    rule = 'layer {{ name: "{0}" type: "TanH" bottom: "sum" top: "{0}" {1} }}\n'
    trained = rule.format("train", "include { phase: TRAIN }")
    used = rule.format("test", "include { phase: TEST }")
    net = runtime.Net(FAN_OUT + trained + used, runtime.TEST)
    assert [layer.name for layer in net._message.layer][-2:] == ["sum", "test"]
