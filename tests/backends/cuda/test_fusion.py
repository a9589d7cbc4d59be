"""Layers that run as one against the same layers one by one, and the portable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import runtime
from netspec.ops.base import READERS
from runtime.backends.cuda import fusion
from runtime.backends.cuda.layers import normalization
from runtime.backends.cuda.table import KERNELS
from tests.backends.cpu.test_options import extended, options

INPUT = """
    layer { name: "x" type: "Input" top: "x"
            input_param { shape { dim: 4 dim: 3 dim: 9 dim: 7 } } }
    layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 } } }
"""
LOSS = """
    layer { name: "ip" type: "InnerProduct" bottom: "%s" top: "ip"
            inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "loss" }
"""
# Of the largest value; of the norm with 16 bits, as signs change where y is about 0.
LIMITS = {"float32": 2e-5, "bf16": 0.25, "fp16": 0.12}


@pytest.fixture(autouse=True, params=[True, False], ids=["whole", "in parts"])
def whole(request, monkeypatch):
    """Whether a block has all rows of its columns."""
    rows = normalization.WHOLE_ROWS if request.param else -1
    monkeypatch.setattr(normalization, "WHOLE_ROWS", rows)
    return request.param


def conv(name: str, bottom: str, options: str = "kernel_size: 3 pad: 1") -> str:
    return f"""
    layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
            convolution_param {{ num_output: 16 bias_term: false {options}
                                weight_filler {{ type: "xavier" }} }} }}"""


def norm(name: str, bottom: str, top: str = "", options: str = "") -> str:
    top = top or bottom
    return f"""
    layer {{ name: "bn_{name}" type: "BatchNorm" bottom: "{bottom}" top: "{top}"
            batch_norm_param {{ moving_average_fraction: 0.8 {options} }} }}"""


def scale(name: str, blob: str, options: str = "bias_term: true") -> str:
    return f"""
    layer {{ name: "scale_{name}" type: "Scale" bottom: "{blob}" top: "{blob}"
            scale_param {{ {options} }} }}"""


def relu(name: str, blob: str) -> str:
    return f"""
    layer {{ name: "relu_{name}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}"""


def add(name: str, first: str, second: str) -> str:
    return f"""
    layer {{ name: "{name}" type: "Eltwise" bottom: "{first}" bottom: "{second}"
            top: "{name}" }}"""


def unit(name: str, bottom: str, *, rectified: bool = True, window: str = "") -> str:
    """A convolution and its BatchNorm and Scale, and a ReLU, in place."""
    text = conv(name, bottom, window or "kernel_size: 3 pad: 1")
    text += norm(name, name) + scale(name, name)
    return text + (relu(name, name) if rectified else "")


RESIDUAL = (
    INPUT
    + unit("c1", "x")
    + unit("s2", "c1", rectified=False, window="kernel_size: 1")
    + unit("a2", "c1")
    + unit("b2", "a2", rectified=False)
    + add("e2", "s2", "b2")
    + relu("e2", "e2")
    + unit("a3", "e2")
    + unit("b3", "a3", rectified=False)
    + add("e3", "b3", "e2")
    + relu("e3", "e3")
    + unit("b4", "e3", rectified=False)
    + add("e4", "e3", "b4")  # no ReLU
    + LOSS % "e4"
)
APART = (  # tops of their own, no Scale, no Scale's bias, a ReLU that is not joined
    INPUT
    + conv("c1", "x")
    + norm("n1", "c1", "n1")
    + scale("n1", "n1")
    + relu("n1", "n1")
    + conv("c2", "n1")
    + norm("n2", "c2", "n2")
    + relu("n2", "n2")
    + conv("c3", "n2")
    + norm("c3", "c3")
    + scale("c3", "c3", "")
    + conv("c4", "c3")
    + norm("c4", "c4")
    + LOSS % "c4"
)


def function(name: str, blob: str, kind: str, options: str = "", top: str = "") -> str:
    return f"""
    layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" top: "{top or blob}"
            {options} }}"""


CHAINS = (
    INPUT
    + conv("c1", "x")
    + function("swish", "c1", "Swish", top="s1")
    + function("power", "s1", "Power", "power_param { scale: 2 shift: 0.1 }")
    + relu("s1", "s1")
    + function("drop1", "s1", "Dropout", "dropout_param { dropout_ratio: 0.3 }")
    + function("drop2", "s1", "Dropout", "dropout_param { dropout_ratio: 0.2 }")
    + conv("c2", "s1")
    + relu("c2", "c2")
    + function("drop3", "c2", "Dropout")
    + function("clip", "c2", "Clip", "clip_param { min: -1 max: 20 }", top="c3")
    + function("half", "c3", "Power", "power_param { scale: 0.5 }", top="c4")
    + function("double", "c4", "Power", "power_param { scale: 2 }")
    + function("aside", "c4", "Swish", top="c5")
    + LOSS % "c5"
)
# Statistics that are remembered, above weights that learn.
REMEMBERED = RESIDUAL.replace("moving_average_fraction: 0.8", "use_global_stats: true")
NETS = {
    "residual": RESIDUAL,
    "apart": APART,
    "chains": CHAINS,
    "remembered": REMEMBERED,
}


def filled(text: str, phase: int, **options: Any) -> runtime.Net:
    net = runtime.Net(text, phase, seed=3, **options)
    rng = np.random.default_rng(0)
    net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    net.blobs["t"].data[...] = rng.integers(10, size=4)
    for name in net.params:  # gammas that are not 1, biases that are not 0
        for blob in net.params[name]:
            if len(blob.shape) == 1:
                blob.data[...] = rng.uniform(0.5, 2, blob.shape)
                if name.startswith("scale"):
                    blob.data[...] *= rng.choice([-1, 1], blob.shape)
    return net


def contents(net: runtime.Net) -> dict[str, np.ndarray]:
    values = {}
    for name in net.graph.inputs if net._keep is not None else net.blobs:
        blob = net.blobs[name]
        values[f"{name}.data"] = blob.data.copy()
        values[f"{name}.diff"] = blob.diff.copy()
    for name, blobs in net.params.items():
        for slot, blob in enumerate(blobs):
            values[f"{name}[{slot}].data"] = blob.data.copy()
            values[f"{name}[{slot}].diff"] = blob.diff.copy()
    return values


def without_loss(text: str) -> str:
    """Return a net in which nothing learns."""
    silence = 'layer { name: "silence" type: "Silence" bottom: "t" }'
    return text.split('layer { name: "loss"')[0] + silence


def check(
    got: runtime.Net, want: runtime.Net, limit: float, order: float = np.inf
) -> None:
    """Compare by the norm of an order, where what is small counts as 0.01."""
    mine, theirs = contents(got), contents(want)
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        size = max(np.linalg.norm(value.ravel(), order), 1e-2)
        apart = np.linalg.norm((mine[name] - value).ravel(), order) / size
        assert apart <= limit, f"{name}: {apart}"


def one_by_one(net: runtime.Net) -> None:
    """Run every step by itself."""
    net.mirror.before_steps()
    for step in (*net.plan.forward, *net.plan.backward):
        step.run()


def joined(net: runtime.Net) -> set[str]:
    calls = net.plan.fusion.forward()  # type: ignore[union-attr]
    return {net.graph.nodes[index].name for index in calls}


@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("name", NETS)
def test_a_pass_is_that_of_the_portable_kernels(cuda, name, precision, keep):
    text, limit = NETS[name], LIMITS[precision]
    given = dict(precision=precision, keep=keep)
    fast = filled(text, runtime.TRAIN, backend=cuda.name, **given)
    slow = filled(text, runtime.TRAIN, backend="portable", keep=keep, dtype="float64")
    for _ in range(3):  # one by one, captured, replayed
        fast.forward_backward()
        slow.forward_backward()
        check(fast, slow, limit, np.inf if precision == "float32" else 2)


@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
@pytest.mark.parametrize("name", NETS)
def test_a_pass_leaves_what_single_steps_leave(cuda, name, keep):
    given = dict(backend=cuda.name, keep=keep)
    whole, single = (filled(NETS[name], runtime.TRAIN, **given) for _ in range(2))
    whole.forward_backward()
    one_by_one(single)
    check(whole, single, 1e-5)


@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
@pytest.mark.parametrize("name", NETS)
def test_passes_follow_single_steps_and_the_other_way_round(cuda, name, keep):
    given = dict(backend=cuda.name, keep=keep)
    whole, first, second = (
        filled(NETS[name], runtime.TRAIN, **given) for _ in range(3)
    )
    whole.forward_backward()
    for net in (first, second):
        net.mirror.before_steps()
    for step in first.plan.forward:
        step.run()
    first.plan.run("backward")
    check(first, whole, 1e-5)
    second.plan.run("forward")
    for step in second.plan.backward:
        step.run()
    check(second, whole, 1e-5)


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_added(cuda, name):
    fast = filled(NETS[name], runtime.TRAIN, backend=cuda.name, keep=())
    slow = filled(NETS[name], runtime.TRAIN, backend="portable", keep=())
    for net in (fast, slow):
        net.forward_backward()
        net.forward_backward(accumulate=True)
    check(fast, slow, LIMITS["float32"])


@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
@pytest.mark.parametrize("phase", [runtime.TEST, runtime.TRAIN])
@pytest.mark.parametrize("name", NETS)
def test_inference(cuda, name, phase, keep):
    """Remembered statistics, or those of the batch where nobody learns."""
    text = without_loss(NETS[name])
    fast = filled(text, phase, backend=cuda.name, keep=keep)
    slow = filled(text, phase, backend="portable", keep=keep)
    got, want = fast.forward()["ip"].copy(), slow.forward()["ip"]
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("window", ["bias_term: true", "bias_term: false"])
@pytest.mark.parametrize("behind", ["", "scale", "relu", "scale relu"])
def test_a_convolution_does_what_follows_with_its_weights(
    cuda, behind, window, precision
):
    text = INPUT + conv("c1", "x").replace("bias_term: false", window)
    text += norm("c1", "c1")
    text += scale("c1", "c1") if "scale" in behind else ""
    text += relu("c1", "c1") if "relu" in behind else ""
    fast, slow = (
        filled(text, runtime.TEST, backend=name, precision=one)
        for name, one in ((cuda.name, precision), ("portable", "float32"))
    )
    members = {"c1", "bn_c1", *(f"{name}_c1" for name in behind.split())}
    assert joined(fast) == members
    (kernel,) = (one for one in fast.plan.kernels if one.node.name == "c1")
    forward = fast.plan.fusion.forward()[kernel.node.index]
    assert [call.constant for call in forward][-3:] == [True, True, False]
    limit = 2e-5 if precision == "float32" else 2e-2

    def same() -> None:
        want = slow.forward()["c1"].copy()
        got = fast.forward()["c1"]
        np.testing.assert_allclose(got, want, rtol=0, atol=limit * np.abs(want).max())

    for _ in range(3):
        same()
    for net in (fast, slow):
        net.params["bn_c1"][1].data[...] *= 2
    same()
    for net in (fast, slow):
        net.params["c1"][0].data[...] *= -1
    same()
    for net in (fast, slow):
        net.params["bn_c1"][2].data[...] = 0
    same()


def test_a_convolution_folds_only_where_its_memory_allows(cuda):
    """Not where BatchNorm has other memory, nor where a sum reads its top."""
    text = without_loss(RESIDUAL)
    whole = filled(text, runtime.TEST, backend=cuda.name, keep=())
    calls = whole.plan.fusion.forward()
    index = {node.name: node.index for node in whole.graph.nodes}
    launches = [len(calls[index[f"{name}_a3"]]) for name in ("bn", "scale", "relu")]
    assert launches == [0, 0, 0]
    block = ["bn_b3", "scale_b3", "e3", "relu_e3"]
    assert [len(calls[index[name]]) for name in block] == [0, 0, 1, 0]
    text = without_loss(APART)
    apart = filled(text, runtime.TEST, backend=cuda.name, keep=())
    calls = apart.plan.fusion.forward()
    index = {node.name: node.index for node in apart.graph.nodes}
    assert [len(calls[index[name]]) for name in ("bn_n1", "bn_c3")] == [1, 0]


def test_what_runs_as_one(cuda):
    whole = filled(RESIDUAL, runtime.TRAIN, backend=cuda.name, keep=())
    every = {node.name for node in whole.graph.nodes}
    alone = {name for name in every if "_split" in name} | {"x", "t", "ip", "loss"}
    assert joined(whole) == every - alone
    kept = filled(RESIDUAL, runtime.TRAIN, backend=cuda.name)
    sums = {"e2", "relu_e2", "e3", "relu_e3", "e4"}
    assert joined(kept) == every - alone - sums
    remembered = filled(REMEMBERED, runtime.TRAIN, backend=cuda.name, keep=())
    norms = [node for node in remembered.graph.nodes if node.type == "BatchNorm"]
    assert all(node.op.use_global_stats for node in norms)
    convolutions = {"c1", "s2", "a2", "b2", "a3", "b3", "b4"}
    assert joined(remembered) >= every - alone - convolutions


@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
def test_functions_of_one_value_are_one_launch_up_to_a_second_random_one(cuda, keep):
    net = filled(CHAINS, runtime.TRAIN, backend=cuda.name, keep=keep)
    names = {node.name: node.index for node in net.graph.nodes}
    forward = net.plan.fusion.forward()
    flags = {
        step.node: step.flags for step in net.plan.backward if step.calls is not None
    }
    backward = net.plan.fusion.backward(flags)
    # What nobody keeps is written over, as if the file said so.
    last = ["half", "double"] if keep is None else ["clip", "half", "double"]
    for chain in [["swish", "power", "relu_s1", "drop1"], last]:
        for calls in (forward, backward):
            inside = [
                sum(not call.outside for call in calls[names[one]]) for one in chain
            ]
            assert inside == [1] + [0] * (len(chain) - 1)
    groups = fusion.Fusion(net.graph, net.plan.kernels)
    alone = {"drop2", "drop3", "clip", "aside"}.difference(last)
    assert not {names[one] for one in alone} & set(groups.forward())


def test_launches_of_residual_blocks(cuda, whole):
    """Two for the statistics and one for the rest, or one where nothing is between."""
    net = filled(RESIDUAL, runtime.TRAIN, backend=cuda.name, keep=())
    index = {node.name: node.index for node in net.graph.nodes}
    flags = {
        step.node: step.flags for step in net.plan.backward if step.calls is not None
    }
    forward, backward = net.plan.fusion.forward(), net.plan.fusion.backward(flags)

    def launches(first: str, last: str) -> tuple[list[int], list[int]]:
        nodes = range(index[first], index[last] + 1)
        ways = (forward, backward)
        here, there = ([len(way.get(at, "none")) for at in nodes] for way in ways)
        return here, there

    # bn, scale, ReLU; bn, scale, sum, ReLU, Split, which has no step forward.
    all_, some = (1, 1) if whole else (3, 2)
    assert launches("bn_a3", "relu_a3") == ([all_, 0, 0], [all_, 0, 0])
    split = net.graph.nodes[index["relu_e3"] + 1].name
    none = len("none")
    assert launches("bn_b3", split) == ([some, 0, 1, 0, none], [0, 0, 1, 0, some])
    assert launches("bn_b4", "e4") == ([some, 0, 1], [0, 0, all_])


@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
@pytest.mark.parametrize("remembered", ["true", "false"])
@pytest.mark.parametrize("top", ["c1", "n1"])
def test_a_scale_learns_above_layers_that_do_not(cuda, remembered, keep, top):
    """Its gradient needs what was normalized, although BatchNorm has none itself."""
    text = INPUT + conv("c1", "x").replace(
        "convolution_param", "param { lr_mult: 0 } convolution_param"
    )
    text += norm("1", "c1", top, f"use_global_stats: {remembered}")
    text += scale("1", top) + relu("1", top) + LOSS % top
    fast = filled(text, runtime.TRAIN, backend=cuda.name, keep=keep)
    slow = filled(text, runtime.TRAIN, backend="portable", keep=keep)
    for net in (fast, slow):
        net.forward_backward()
    check(fast, slow, LIMITS["float32"])


@pytest.mark.parametrize("name", fusion.OPTIONS)
def test_joined_layers_know_the_options_of_their_type(name):
    assert set(fusion.OPTIONS[name]) == options(name)


@pytest.mark.parametrize("name", ["BatchNorm", "Scale", "ReLU"])
def test_a_layer_with_an_option_that_joined_ones_do_not_know_stays_apart(
    cuda, name, monkeypatch
):
    text = INPUT + unit("c1", "x") + LOSS % "c1"
    usual = filled(text, runtime.TRAIN, backend=cuda.name)
    assert joined(usual) == {"c1", "bn_c1", "scale_c1", "relu_c1"}
    read = READERS[name]
    monkeypatch.setitem(READERS, name, lambda *given: extended(read(*given)))
    for kernel in KERNELS[name]:
        monkeypatch.setattr(kernel, "options", (*kernel.options, "extra"))
    net = filled(text, runtime.TRAIN, backend=cuda.name)
    (one,) = (node.name for node in net.graph.nodes if node.type == name)
    assert one not in joined(net)
    net.forward_backward()
    usual.forward_backward()
    check(net, usual, 1e-5)
