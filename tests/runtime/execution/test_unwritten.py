"""A net that keeps all blobs leaves some out, and nobody can tell."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import runtime
from netspec.schema import TEST
from tests.backends.cpu.test_inference import Drawn, close, filled


def left_out(net: runtime.Net) -> set[str]:
    """Return the blobs that passes over the whole net do not write."""
    edges = net.graph.edges
    left = net.plan.fusion.left_out()  # type: ignore[union-attr]
    return {edges[edge].blob for _, between in left for edge in between}


def own_names(seed: int) -> Drawn:
    return Drawn(seed, in_place=False)


def converted(seed: int) -> runtime.Net:
    """Return a net in which every layer has a blob of its own, none asked for."""
    net = runtime.Net(own_names(seed).text, TEST, seed=2)
    values = np.random.default_rng(0).standard_normal(net.blobs["x"].shape)
    net.forward(x=values)
    return net


@pytest.mark.parametrize("seed", range(12))
def test_blobs_are_there_when_somebody_asks(seed: int) -> None:
    net = converted(seed)
    left = left_out(net)
    want = runtime.Net(own_names(seed).text, TEST, seed=2, backend="portable")
    values = np.random.default_rng(0).standard_normal(want.blobs["x"].shape)
    want.forward(x=values)
    names = [name for name in net.blobs if name not in ("x",)]
    random.Random(seed).shuffle(names)
    held = {}
    for name in names:
        close(net.blobs[name].data, want.blobs[name].data, name)
        held[name] = net.blobs[name].data
    assert not left or not left_out(net) & left
    other = np.random.default_rng(1).standard_normal(want.blobs["x"].shape)
    net.forward(x=other)
    want.forward(x=other)
    for name, array in held.items():  # which somebody has kept
        close(array, want.blobs[name].data, name)


TEXT = """
layer { name: "x" type: "Input" top: "x"
        input_param { shape { dim: 2 dim: 8 dim: 9 dim: 9 } } }
layer { name: "pre" type: "Pooling" bottom: "x" top: "pre"
        pooling_param { kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "conv" type: "Convolution" bottom: "pre" top: "conv" convolution_param {
        num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" }
layer { name: "sum" type: "Eltwise" bottom: "scale" bottom: "pre" top: "sum" }
layer { name: "relu" type: "ReLU" bottom: "sum" top: "relu" }
layer { name: "end" type: "Pooling" bottom: "relu" top: "end"
        pooling_param { kernel_size: 3 } }
"""
BETWEEN = {"conv", "bn", "scale", "sum"}


def made(seed: int = 0) -> tuple[runtime.Net, runtime.Net]:
    """Return a net, and one that writes all, after the same pass."""
    nets = []
    for backend in ("numpy", "portable"):
        net = runtime.Net(TEXT, TEST, seed=3, backend=backend)
        bn = net.params["bn"]
        bn[1].data[...], bn[2].data[...] = 1.5, 1
        shape = net.blobs["x"].shape
        net.forward(x=np.random.default_rng(seed).standard_normal(shape))
        nets.append(net)
    return nets[0], nets[1]


def same(net: runtime.Net, want: runtime.Net, names: set[str]) -> None:
    for name in sorted(names):
        close(net.blobs[name].data, want.blobs[name].data, name)


def test_nothing_between_is_written_until_asked_for() -> None:
    net, want = made()
    assert left_out(net) == BETWEEN
    net.forward()
    same(net, want, {"end", "relu"})
    assert left_out(net) == BETWEEN
    same(net, want, {"bn"})
    assert left_out(net) == {"conv", "sum"}  # a Scale without its BatchNorm is apart
    same(net, want, BETWEEN)
    assert not left_out(net)


def test_writing_to_what_a_blob_is_computed_from() -> None:
    net, want = made()
    net.blobs["pre"].data[...] = 7  # after the pass: what it computed stays
    same(net, want, BETWEEN | {"relu", "end"})
    net, want = made()
    for one in (net, want):
        one.params["conv"][0].data[...] = 2
    same(net, want, BETWEEN)
    net, want = made()
    for one in (net, want):
        one.params["bn"][1].data[...] = 5
        one.forward()
    same(net, want, BETWEEN)


def test_parameters_that_somebody_has() -> None:
    net, want = made()
    mine = [one.params["conv"][0].data for one in (net, want)]
    for one in (net, want):
        one.forward()
    for array in mine:
        array *= 3  # between a pass and looking at what it computed
    same(net, want, BETWEEN)


def test_parts_of_the_net() -> None:
    for start, end in (("bn", None), ("scale", "relu"), ("sum", "sum"), ("conv", "bn")):
        net, want = made()
        for one in (net, want):
            one.forward(start=start, end=end)
        same(net, want, BETWEEN | {"relu", "end"})
        for one in (net, want):
            one.blobs["scale"].data[...] *= 2
            one.forward(start="sum")
        same(net, want, BETWEEN | {"relu", "end"})


def test_other_sizes_and_back() -> None:
    net, want = made()
    for one in (net, want):
        one.blobs["x"].reshape(1, 8, 12, 7)
        one.forward(x=np.ones((1, 8, 12, 7)))
    assert left_out(net) == BETWEEN
    same(net, want, {"scale"})
    for one in (net, want):
        one.blobs["x"].reshape(2, 8, 9, 9)
        one.forward(x=np.full((2, 8, 9, 9), 0.5))
    assert left_out(net) == {"conv", "bn"}  # scale, which the sum reads, may be held
    same(net, want, BETWEEN | {"end"})


def test_a_net_that_shares_its_parameters() -> None:
    net, want = made()
    for one in (net, want):
        other = runtime.Net(
            TEXT, TEST, share_with=one, backend=one.made_with["backend"]
        )
        other.params["conv"][0].data[...] = 9
        assert other.unwritten.asked is None
    same(net, want, BETWEEN)


def test_what_is_given_to_drawn_nets_by_hand() -> None:
    drawn = own_names(3)
    net, want = filled(drawn.text), filled(drawn.text, backend="portable")
    for one in (net, want):
        one.forward()
        one.blobs["x"].data[...] = 0
    for name in drawn.blobs:
        close(net.blobs[name].data, want.blobs[name].data, name)


OVER = """
layer { name: "x" type: "Input" top: "x"
        input_param { shape { dim: 2 dim: 4 dim: 7 dim: 5 } } }
layer { name: "pre" type: "PRE" bottom: "x" BOTTOM top: "pre" }
layer { name: "bn" type: "BatchNorm" bottom: "pre" top: "pre" }
layer { name: "scale" type: "Scale" bottom: "pre" top: "scale"
        scale_param { bias_term: true bias_filler { value: -1 } } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "relu" }
"""


@pytest.mark.parametrize(("kind", "bottom"), [("Power", ""), ("Eltwise", '"x"')])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("order", [["pre"], ["scale", "pre"], ["pre", "scale"]])
def test_what_is_in_place_on_what_others_wrote(
    kind: str, bottom: str, order: list[str], *, backward: bool
) -> None:
    """BatchNorm runs once for whoever asks, with Scale and not ahead of it."""
    text = OVER.replace("PRE", kind)
    text = text.replace("BOTTOM", f"bottom: {bottom}" if bottom else "")
    values = np.random.default_rng(0).standard_normal((2, 4, 7, 5))
    nets = [runtime.Net(text, TEST, backend=one) for one in ("numpy", "portable")]
    for net in nets:
        bn = net.params["bn"]
        bn[0].data[...], bn[1].data[...], bn[2].data[...] = 0.3, 2, 1
    mine, want = nets
    for _ in range(2):
        close(mine.forward(x=values)["relu"], want.forward(x=values)["relu"], "relu")
        for name in order:
            close(mine.blobs[name].data, want.blobs[name].data, name)
            if backward:
                mine.backward()
