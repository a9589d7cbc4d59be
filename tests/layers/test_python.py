"""Layers written in Python: called as pycaffe calls them, in any net."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError, UnsupportedError
from runtime import TEST, TRAIN
from tests.runtime.execution.own_layers import MODULE, X, own

IP = """
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def make(backend):
    """Makes nets in which the module of the tests is allowed."""

    def make_net(text, phase=TRAIN, head=X, **options):
        options = {"allow_python": [MODULE], "backend": backend.name, **options}
        return runtime.Net(head + text, phase, **options)

    return make_net


def layer_of(net, name):
    return net.layer_dict[name]


# ---------------------------------------------------------------- calls and blobs


def test_setup_comes_once_and_reshape_ahead_of_every_forward(make):
    net = make(" force_backward: true" + own("y", "Log", text="a b"))
    one = layer_of(net, "y")
    assert net.layers[-1] is one
    assert one.calls == ["setup", "reshape"]
    assert one.text == ("a b", "a b")
    net.blobs["x"].data[...] = 2
    assert (net.forward()["y"] == 6).all()
    net.blobs["y"].diff[...] = 5
    net.backward()
    assert one.calls[2:] == ["reshape", "forward", "backward"]
    assert (net.blobs["x"].diff == 15).all()
    assert one.propagate == [True]
    assert (one.type, one.name) == ("Python", "y")


def test_a_layer_may_have_no_tops(make):
    net = make(own("n", "Nothing", tops=""))
    net.blobs["x"].data[...] = 0.5
    net.forward()
    assert net.layers[-1].sum == 6


def test_a_data_layer_sets_its_shapes_once(make):
    net = make(own("d", "Batches", "", "data label"), head="")
    assert net.inputs == []
    net.forward()
    out = net.forward()
    assert out["data"].tolist() == [[2, 2, 2], [3, 2, 2]]
    assert out["label"].tolist() == [4, 5]


@pytest.mark.parametrize("keep", [None, ()])
def test_tops_that_change_in_reshape_are_followed(make, keep):
    pool = (
        'layer { name: "p" type: "Pooling" bottom: "s" top: "p" '
        "pooling_param { pool: MAX global_pooling: true } }"
    )
    net = make(own("s", "Sizes", "", text="3 5 4 4") + pool, head="", keep=keep)
    for size in (3, 5, 4, 4, 3):
        out = net.forward()["p"]
        assert net.blobs["s"].shape == (1, 2, size, size + 1)
        last = size * (size + 1)
        assert out.reshape(-1).tolist() == [last - 1, 2 * last - 1]
    assert layer_of(net, "s").reshapes == 6


def test_tops_that_change_in_forward_are_followed(make):
    power = 'layer { name: "z" type: "Power" bottom: "r" top: "z" '
    power += "power_param { shift: 1 } }"
    net = make(" force_backward: true" + own("r", "Positive", tops="r n") + power)
    for runs, rows in enumerate((2, 4, 4, 1, 0), 1):
        x = np.full((4, 3), -1.0)
        x[:rows] = np.arange(1, 1 + 3 * rows).reshape(rows, 3)
        out = net.forward(x=x)
        np.testing.assert_array_equal(out["z"], x[:rows] + 1)
        assert out["n"] == runs  # forward ran once
        assert net.blobs["x"].data.tolist() == x.tolist()
        net.blobs["z"].diff[...] = 7
        net.backward()
        expected = np.where(np.arange(4) < rows, 7, 0)[:, None] * np.ones(3)
        np.testing.assert_array_equal(net.blobs["x"].diff, expected)


def test_inputs_that_stand_behind_a_layer_that_moves_keep_their_values(make):
    behind = (
        'layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 5 } } }'
    )
    net = make(own("s", "Sizes", "", text="3 4") + behind, head="")
    net.blobs["t"].data[...] = 8
    net.forward()
    assert net.forward()["t"].tolist() == [8] * 5


def test_what_filters_chose_outlives_a_change_behind_them(make):
    filters = """
      layer { name: "k" type: "Input" top: "k" input_param { shape { dim: 4 } } }
      layer { name: "f" type: "Filter" bottom: "x" bottom: "k" top: "f" }"""
    text = " force_backward: true" + filters + own("r", "Positive", "f", "r n")
    net = make(text)
    x = np.array([[1.0, 2, 3], [-1, 2, 3], [1, 5, 6], [1, 7, 8]])
    out = net.forward(x=x, k=np.array([1, 1, 0, 1]))
    assert out["r"].tolist() == [[1, 2, 3], [1, 7, 8]]
    net.blobs["r"].diff[...] = 2
    net.backward()
    assert net.blobs["x"].diff[:, 0].tolist() == [2, 0, 0, 2]


def test_a_layer_in_place_has_one_blob(make):
    square = """
      layer { name: "p" type: "Power" bottom: "x" top: "y" power_param { power: 2 } }
      layer { name: "s" type: "Sigmoid" bottom: "y" top: "y" }"""
    net = make(" force_backward: true" + square + own("d", "Double", "y", "y"))
    x = np.linspace(-1, 1, 12).reshape(4, 3)
    y = 1 / (1 + np.exp(-(x**2)))
    np.testing.assert_allclose(net.forward(x=x)["y"], 2 * y, rtol=1e-6)
    net.blobs["y"].diff[...] = 1
    net.backward()
    # Sigmoid reads its own output backwards, which the layer behind it doubled.
    np.testing.assert_allclose(
        net.blobs["x"].diff, 2 * y * (1 - y) * 2 * x, rtol=1e-5, atol=1e-7
    )


def test_a_top_keeps_its_values_when_others_move(make):
    net = make(own("c", "Counter") + own("s", "Sizes", "", text="3 4 5"))
    for _ in range(3):
        net.forward()
    assert net.blobs["c"].data[:, 0].tolist() == [3, 0, 0, 0]


def test_a_layer_may_run_another_net(make):
    inner = (
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param '
        "{ num_output: 2 kernel_size: 3 pad: 1 weight_filler { value: 1 } } }"
    )
    head = 'input: "x" input_shape { dim: 1 dim: 2 dim: 4 dim: 5 }'
    net = make(inner + own("n", "Inner", "c", text=head.replace('"', "'")), head=head)
    net.blobs["x"].data[...] = 1
    expected = net.forward(blobs=["c"])["c"] ** 2
    assert (net.forward()["n"] == expected).all()


def test_the_phase_is_known(make):
    for phase in (TRAIN, TEST):
        assert make(own("p", "Phase", ""), phase).forward()["p"] == phase


def test_an_input_that_is_reshaped_is_followed(make):
    net = make(own("y", "Log"))
    net.blobs["x"].reshape(2, 5)
    net.blobs["x"].data[...] = 1
    assert net.forward()["y"].shape == (2, 5)


def test_a_pass_over_a_part_asks_nothing_of_the_layers_behind(make):
    net = make(
        ' layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 2 }'
        " }" + own("w", "Fails", "p", text="width 3") + own("z", "Log", "w")
    )
    net.blobs["x"].reshape(2, 7)
    net.blobs["x"].data[...] = 1
    assert net.forward(end="p")["p"].tolist() == [[2] * 7] * 2
    with pytest.raises(SpecError, match=r"'w' \(Python\): KeyError: .*lost at width 7"):
        net.forward()
    net.blobs["x"].reshape(5, 3)
    assert net.forward()["z"].shape == (5, 3)


def test_reshaping_a_net_calls_reshape_and_a_pass_calls_it_once(make):
    net = make(own("s", "Sizes", "", text="3 4") + own("y", "Log"))
    assert layer_of(net, "s").reshapes == 1
    net.blobs["x"].reshape(2, 7)
    net.forward()
    assert layer_of(net, "s").reshapes == 2
    net.reshape()
    assert layer_of(net, "s").reshapes == 3
    assert net.blobs["s"].shape == (1, 2, 4, 5)


def test_a_blob_tells_its_axes(make):
    head = 'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 dim: 6 }'
    one = make(own("a", "Axes", tops=""), head=head).layers[-1]
    assert one.seen == (2, 3, 720, (2, 3, 4, 5, 6))
    two = make(own("a", "Axes", tops=""), head='input: "x" input_shape { dim: 7 }')
    assert two.layers[-1].seen == (7, 1, 7, (7,))
    assert two.layers[-1].four == (1, 1)


# ---------------------------------------------------------------- gradients


def test_a_loss_may_keep_its_gradient_in_diff(make):
    target = 'layer { name: "t" type: "DummyData" top: "t" dummy_data_param { shape {'
    target += " dim: 4 dim: 3 } data_filler { value: 0.5 } } }"
    theirs = (
        'layer { name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "l" '
        "loss_weight: 3 }"
    )
    ours = own("l", "HalfSquare", "ip t", rest="loss_weight: 3")
    nets = [make(IP + target + loss) for loss in (ours, theirs)]
    x = np.random.default_rng(0).normal(size=(4, 3))
    for net in nets:
        net.blobs["x"].data[...] = x
        net.forward_backward()
    assert nets[0].loss() == pytest.approx(nets[1].loss(), rel=1e-6)
    for mine, other in zip(nets[0].params["ip"], nets[1].params["ip"], strict=True):
        np.testing.assert_allclose(mine.diff, other.diff, rtol=1e-5)
    assert nets[0].layers[-1].name == "l"


def test_no_backward_is_needed_where_no_gradient_is_asked_for(make):
    silent = 'layer { name: "l" type: "Reduction" bottom: "y" top: "l" loss_weight: 1 }'
    make(own("y", "NoBackward") + silent).forward_backward()
    net = make(IP + own("y", "NoBackward", "ip") + silent)
    with pytest.raises(
        UnsupportedError,
        match=r"layer 'y' \(Python\): class .*NoBackward has no method 'backward', "
        r"which is asked for here; write it, or ask for no gradient",
    ):
        net.forward_backward()


def test_forward_is_needed(make):
    net = make(own("y", "NoForward"))
    with pytest.raises(UnsupportedError, match="NoForward has no method 'forward'"):
        net.forward()


# ---------------------------------------------------------------- parameters


def affine(rest=""):
    """x -> ip -> w x + b -> sum."""
    total = 'layer { name: "l" type: "Reduction" bottom: "a" top: "l" loss_weight: 1 }'
    return own("a", "Affine", "x", rest=rest) + total


def test_learned_blobs_begin_as_setup_says(make):
    net = make(affine())
    assert [blob.shape for blob in net.params["a"]] == [(3,), ()]
    assert net.params["a"][0].data.tolist() == [1.5] * 3
    net.blobs["x"].data[...] = 2
    assert (net.forward(blobs=["a"])["a"] == 2.75).all()
    assert layer_of(net, "a").found == 0


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_gradients_of_blobs_add_up_whether_stored_or_added(make, passes):
    net = make(affine())
    net.blobs["x"].data[...] = np.arange(12).reshape(4, 3)
    for index in range(passes):
        net.forward_backward(accumulate=index > 0)
    w, b = net.params["a"]
    assert w.diff.tolist() == [passes * s for s in (18, 22, 26)]
    assert b.diff == passes * 12
    own_view = layer_of(net, "a").blobs
    assert own_view[0].diff.tolist() == w.diff.tolist()


def test_a_solver_updates_saves_and_shares_learned_blobs(backend, tmp_path):
    head = 'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape {'
    head += " dim: 4 dim: 3 } data_filler { value: 1 } } }"
    net_text = head + affine("param { lr_mult: 2 } param { lr_mult: 0 }")
    path = tmp_path / "net.prototxt"
    path.write_text(net_text)
    solver = runtime.get_solver(
        f'net: "{path}" base_lr: 0.1 lr_policy: "fixed" iter_size: 2 test_iter: 1 '
        f'test_interval: 9 snapshot_prefix: "{tmp_path / "s"}"',
        allow_python=MODULE,
        backend=backend.name,
    )
    solver.step(1)
    w, b = solver.net.params["a"]
    np.testing.assert_allclose(w.data, [1.5 - 0.1 * 2 * 4] * 3, rtol=1e-6)
    assert b.data == np.float32(-0.25)
    # The test net uses the same arrays, though its own layer wrote others in setup.
    assert solver.test_nets[0].params["a"][0].data.tolist() == w.data.tolist()
    solver.net.save(tmp_path / "w.caffemodel")
    other = runtime.Net(
        path, TEST, tmp_path / "w.caffemodel", allow_python=[MODULE.split(".")[0]]
    )
    assert other.params["a"][0].data.tolist() == w.data.tolist()
    assert other.layer_dict["a"].blobs[0].data.tolist() == w.data.tolist()


def test_layers_share_a_blob_by_name(make):
    one = 'param { name: "w" } param { name: "b" }'
    net = make(own("a", "Affine", rest=one) + own("c", "Affine", "a", rest=one))
    net.params["a"][0].data[...] = 2
    net.params["a"][1].data[...] = 1
    net.blobs["x"].data[...] = 3
    assert (net.forward()["c"] == (3 * 2 + 1) * 2 + 1).all()


def test_blobs_in_the_text_are_there_in_setup(make):
    given = (
        "blobs { shape { dim: 3 } data: 7 data: 8 data: 9 } blobs { shape { } data: 1}"
    )
    net = make(own("a", "Affine", rest=given))
    assert layer_of(net, "a").found == 2


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("method", ["setup", "reshape", "forward", "backward"])
def test_an_error_keeps_its_type_and_names_the_layer(make, method):
    def run():
        net = make(" force_backward: true" + own("bad", "Fails", text=method))
        net.forward()
        net.backward()

    with pytest.raises(KeyError, match=f"lost in {method}") as caught:
        run()
    (note,) = caught.value.__notes__
    assert note == f"layer 'bad' (Python): raised in {MODULE}.Fails.{method}"


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("add", SpecError, "add_blob was called after the net was made"),
        (
            "parameter",
            ShapeError,
            r"'m\[0\]': cannot be given shape \(3,\) in place of",
        ),
        ("bottom", ShapeError, "'x': cannot be given shape .*the layer that makes it"),
        ("size", SpecError, r"'m': cannot have shape \(2, -1\); give a whole number"),
        ("part", SpecError, r"'m': cannot have shape \(2.5,\); give a whole number"),
        ("list", SpecError, r"cannot have shape \(\[2, 3\],\); .* reshape\(\*shape\)"),
    ],
)
def test_what_cannot_be_shaped_is_refused(make, text, error, message):
    net = make(own("m", "Misuse", text=text))
    with pytest.raises(error, match=message):
        net.forward()
    assert net.blobs["m"].shape == (4, 3)


def test_a_change_that_the_net_cannot_follow_changes_nothing(make):
    ip = (
        'layer { name: "ip" type: "InnerProduct" bottom: "s" top: "y" '
        "inner_product_param { num_output: 2 } }"
    )
    net = make(own("s", "Sizes", "", text="3 4 3") + ip, head="")
    before = net.forward()["y"].copy()
    with pytest.raises(ShapeError, match=r"'ip'.*would change from \(2, 24\) to"):
        net.forward()
    assert net.blobs["s"].shape == (1, 2, 3, 4)
    assert net.forward()["y"].tolist() == before.tolist()


MOVING = """
force_backward: true
layer { name: "bend" type: "Power" bottom: "x" top: "x" power_param {
  power: 3 scale: 0.3 shift: 0.2 } }
layer { name: "grow" type: "Scale" bottom: "x" top: "s" scale_param {
  filler { value: 1.5 } bias_term: true bias_filler { value: 0.25 } } }
layer { name: "ip" type: "InnerProduct" bottom: "s" top: "y"
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" relu_param {
  negative_slope: 0.5 } }
layer { name: "drop" type: "Dropout" bottom: "y" top: "d" }
layer { name: "norm" type: "LRN" bottom: "d4" top: "n" lrn_param { local_size: 3 } }
"""
AFTER = """
layer { name: "top" type: "InnerProduct" bottom: "r" top: "z"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "z" top: "l" loss_weight: 1
  reduction_param { operation: SUMSQ } }
"""


@pytest.mark.parametrize("keep", [None, ()])
def test_what_lies_above_a_change_keeps_what_its_gradient_needs(make, keep):
    four = (
        'layer { name: "four" type: "Reshape" bottom: "d" top: "d4" reshape_param { '
        "shape { dim: 0 dim: 0 dim: 1 dim: 1 } } } "
    )
    flat = 'layer { name: "flat" type: "Flatten" bottom: "n" top: "f" } '
    norm = MOVING.index('layer { name: "norm"')
    text = MOVING[:norm] + four + MOVING[norm:] + flat
    text += own("r", "Positive", "f", "r n2") + AFTER
    net = make(text, keep=keep)
    rng, rows = np.random.default_rng(2), []
    for turn in range(12):
        x = rng.normal(size=(4, 3)) * 3
        found = []
        for repeat in range(2):  # the second time no shape changes
            net.clock.value = turn
            net.blobs["x"].data[...] = x
            net.forward_backward()
            found.append([b.diff.copy() for bs in net.params.values() for b in bs])
            found[-1] += [net.blobs["x"].diff.copy(), np.float64(net.loss())]
            if repeat == 0:
                rows.append(net.blobs["r"].shape[0])
        for first, second in zip(*found, strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)
    assert len({one for one in rows if one}) > 1


def test_blobs_that_no_such_layer_touches_share_memory(make):
    text = "".join(
        f' layer {{ name: "p{i}" type: "Power" bottom: "{b}" top: "{t}" '
        f"power_param {{ shift: 1 }} }}"
        for i, (b, t) in enumerate(zip("xabcde", "abcdef", strict=True))
    )
    text += own("g", "Counter", "f", "g")
    whole, few = make(text), make(text, keep=())
    assert few.plan.memory["arena_bytes"] < whole.plan.memory["arena_bytes"]
    assert few.blobs["f"].data.shape == few.blobs["g"].data.shape == (4, 3)
    for _ in range(3):
        few.forward()
    assert few.blobs["g"].data[0].tolist() == [3] * 3
