"""Bottoms of Concat that are written in place, against the portable kernels."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import runtime
from netspec.graph.concatenated import Concatenated
from netspec.schema import TEST
from netspec.summary.forecast import forecast
from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu.fusion import Fusion
from runtime.backends.cpu.inference import redirected
from tests.backends.cpu.drawn_towers import Towers
from tests.backends.cpu.oracle import CPU, numbers
from tests.backends.cpu.shuffled import ShuffledPool
from tests.backends.cpu.test_inference import _given, close, filled, layer
from tests.layers.harness import LoneLayer


def copies(net: runtime.Net) -> int:
    """Return how many bottoms are copied in a whole pass."""
    steps: Any = net.plan._fused("forward")
    calls = [call for step in steps for call in step.calls or ()]
    return sum(
        int(call.record["count"][0])
        for call in calls
        if call.kernel.function.__name__ == "copy_pieces"
    )


def inside(net: runtime.Net) -> int:
    """Return how many bottoms are written in place."""
    fusion: Any = net.plan.fusion
    return len(fusion._concatenated.bottoms.inside)


@pytest.mark.parametrize("seed", range(60))
def test_towers_compute_what_their_layers_do(seed: int) -> None:
    drawn = Towers(seed)
    some = drawn.rng.sample(drawn.blobs, len(drawn.blobs) // 4)
    portable = filled(drawn.text, backend="portable")
    portable.forward()
    for keep in (None, (), some):
        net = filled(drawn.text, keep=keep)
        for _ in range(2):
            net.forward()
        names = [*(drawn.blobs if keep is None else keep), drawn.last]
        random.Random(seed).shuffle(names)
        for name in names:
            close(net.blobs[name].data, portable.blobs[name].data, name)
        net.forward()
        close(net.blobs[drawn.last].data, portable.blobs[drawn.last].data, "again")


def test_random_towers_have_bottoms_in_place_and_others() -> None:
    nets = [filled(Towers(seed).text, keep=()) for seed in range(20)]
    assert sum(inside(net) for net in nets) > 35 < sum(copies(net) for net in nets)


@pytest.mark.parametrize("seed", range(60, 90))
def test_the_bits_are_those_of_copies_and_of_any_number_of_threads(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, results = Towers(seed), []
    for threads in (1, 2, 3, 4):
        backend = CpuBackend(threads)
        if threads == 3:
            backend._thread_pool = ShuffledPool(threads, seed)
        if threads == 4:
            monkeypatch.setattr(Concatenated, "_take", lambda *_: None)
        made = partial(_given, backend)
        monkeypatch.setattr("runtime.execution.net.get_backend", made)
        net = filled(drawn.text, keep=())
        net.forward()
        results.append(net.blobs[drawn.last].data.copy())
    assert not inside(net)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def conv(channels: int, more: str = "kernel_size: 3 pad: 1") -> str:
    return (
        f"convolution_param {{ num_output: {channels} {more} "
        'weight_filler { type: "gaussian" std: 0.3 } }'
    )


# Layers that leave other memory between images: text, and the shape of the bottom.
SKIPPING = {
    "direct": (f'type: "Convolution" {conv(7, "kernel_size: 1")}', (3, 5, 6, 7)),
    "direct, whole tiles": (
        f'type: "Convolution" {conv(32, "kernel_size: 1")}',
        (4, 40, 16, 16),
    ),
    "pointwise": (
        f'type: "Convolution" {conv(70, "kernel_size: 1 group: 2")}',
        (3, 64, 7, 7),
    ),
    "groups, stride": (
        f'type: "Convolution" {conv(12, "kernel_size: 3 stride: 2 group: 3")}',
        (3, 6, 9, 8),
    ),
    "winograd": (f'type: "Convolution" {conv(20)}', (3, 24, 13, 14)),
    "winograd, 5 x 5": (
        f'type: "Convolution" {conv(17, "kernel_size: 5 pad: 2")}',
        (2, 24, 13, 14),
    ),
    "deconvolution": (
        f'type: "Deconvolution" {conv(6, "kernel_size: 4 stride: 2 pad: 1")}',
        (3, 5, 6, 7),
    ),
    "maximum": ('type: "Pooling" pooling_param { kernel_size: 3 }', (3, 5, 9, 8)),
    "average": (
        'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }',
        (3, 5, 9, 8),
    ),
}


@pytest.mark.parametrize("kind", SKIPPING)
def test_nothing_is_written_between_images(kind: str) -> None:
    text, shape = SKIPPING[kind]
    one = LoneLayer(
        f'name: "layer" bottom: "x" top: "y" {text}',
        [shape],
        backend=CPU,
        dtype="float32",
        phase=TEST,
        wanted_bottoms=[False],
        wanted_params=None if "Pooling" in text else [False, False],
    )
    if "Pooling" in text and not one.kernel.skips:  # type: ignore[attr-defined]
        pytest.skip("no kernel for these windows with vectors of 4")
    x = numbers(shape, 1)
    x[1, 2, 3, 4] = np.inf if kind in ("maximum", "average") else 9
    params = [numbers(param.shape, 2 + i) for i, param in enumerate(one.bound.params)]
    want = one.forward([x], params)[0]
    images, channels, *plane = want.shape
    around = CPU.zeros((images, channels + 5, *plane), "float32")
    around[...] = np.nan
    kernel: Any = one.kernel
    part = around[:, 2 : 2 + channels]
    CPU.runner(redirected(kernel, part, kernel.forward_calls))()
    np.testing.assert_array_equal(part, want)
    assert np.isnan(np.delete(around, range(2, 2 + channels), 1)).all()
    CPU.check_fences()


INPUT = (
    'layer {{ name: "x" type: "Input" top: "x" '
    "input_param {{ shape {{ dim: {} dim: 6 dim: 9 dim: 8 }} }} }}\n"
)
FIRE = (
    layer("Convolution", "s", ["x"], "s", conv(5, "kernel_size: 1"))
    + layer("ReLU", "rs", ["s"], "s")
    + layer("Convolution", "a", ["s"], "a", conv(7, "kernel_size: 1"))
    + layer("ReLU", "ra", ["a"], "a")
    + layer("Convolution", "b", ["s"], "b", conv(11))
    + layer("ReLU", "rb", ["b"], "b")
    + layer("Concat", "ab", ["a", "b"], "ab")
)
END = layer("Pooling", "end", ["ab"], "end", "pooling_param { kernel_size: 3 }")


@pytest.mark.parametrize("images", [1, 3])
def test_nothing_of_a_fire_module_is_copied(images: int) -> None:
    text = INPUT.format(images) + FIRE + END
    net, portable = filled(text, keep=("s",)), filled(text, backend="portable")
    assert (inside(net), copies(net)) == (2, 0)
    for one in (net, portable):
        one.forward()
    close(net.blobs["end"].data, portable.blobs["end"].data, "end")
    for one in (net, portable):
        one.forward(x=np.ones((images, 6, 9, 8)), end="rs")
        one.forward(start="a")  # layer by layer
    close(net.blobs["end"].data, portable.blobs["end"].data, "end")
    asked = filled(text, keep=("a",))
    assert (inside(asked), copies(asked)) == (1, 1)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (layer("Convolution", "o", ["a"], "o", conv(3)), (1, 1)),  # read beside
        (layer("ReLU", "o", ["ab"], "ab"), (2, 0)),  # in place on the top
        ("", (2, 0)),  # the top is an output
        (layer("Concat", "o", ["ab", "s"], "o"), (3, 1)),  # joined again
        (layer("Concat", "o", ["ab", "ab"], "o"), (2, 2)),  # twice
    ],
    ids=["read", "in place", "output", "nested", "twice"],
)
def test_what_else_a_bottom_or_a_top_may_be(more: str, found: tuple[int, int]) -> None:
    text = INPUT.format(2) + FIRE + more
    net, portable = filled(text, keep=()), filled(text, backend="portable")
    assert (inside(net), copies(net)) == found
    for shape in (net.blobs["x"].shape, (1, 6, 9, 8), (3, 6, 5, 11)):
        x = numbers(shape, 5)
        for one in (net, portable):
            one.blobs["x"].reshape(*shape)
            one.forward(x=x)
        for name in net.outputs:
            close(net.blobs[name].data, portable.blobs[name].data, name)


def test_a_net_that_keeps_all_blobs_has_them_when_asked() -> None:
    text = INPUT.format(2) + FIRE + layer("Concat", "o", ["ab", "s"], "o")
    net, portable = filled(text), filled(text, backend="portable")
    for one in (net, portable):
        one.forward()
    assert (inside(net), copies(net)) == (3, 1)
    for name in ("a", "ab", "b"):
        close(net.blobs[name].data, portable.blobs[name].data, name)
    assert inside(net) == 0
    for one in (net, portable):
        one.forward(x=np.ones((2, 6, 9, 8)))
    for name in ("a", "ab", "b", "o"):
        close(net.blobs[name].data, portable.blobs[name].data, name)


def test_bottoms_in_place_take_no_memory_and_summary_knows() -> None:
    text = INPUT.format(2) + FIRE + layer("ReLU", "o", ["ab"], "o")
    net, kept = filled(text, keep=()), filled(text, keep=("a", "b"))
    absent = {net.graph.edges[edge].blob for edge in net.plan.absent}
    assert absent == {"a", "b"}
    assert not kept.plan.absent
    memory = net.plan.memory
    assert memory["blob_bytes"] < kept.plan.memory["blob_bytes"]
    arena = memory["arena_bytes"] - memory["scratch_bytes"]
    assert forecast(net.graph, training=False)["arena"] == arena


def test_the_forecast_is_near_what_most_random_towers_take() -> None:
    near = 0
    for seed in range(90, 110):
        net = filled(Towers(seed).text, keep=())
        arena = net.plan.memory["arena_bytes"] - net.plan.memory["scratch_bytes"]
        near += forecast(net.graph, training=False)["arena"] == pytest.approx(
            arena, 0.1
        )
    assert near >= 18  # it does not know all that cannot be folded


def test_layer_by_layer_nothing_is_missing() -> None:
    text = INPUT.format(3) + FIRE + layer("Concat", "o", ["ab", "ab"], "o") + END
    net, portable = filled(text, keep=("s", "ab")), filled(text, backend="portable")
    assert len(net.plan.absent) == 4
    x = numbers((3, 6, 9, 8), 5)
    for one in (net, portable):
        one.forward(x=x, end="rs")
        one.forward(start="a", end="ab")
        one.forward(start="o")
    for name in net.outputs:
        close(net.blobs[name].data, portable.blobs[name].data, name)


def test_a_layer_amid_whose_shapes_change_is_in_the_way() -> None:
    inputs = INPUT.format(2) + INPUT.format(2).replace('"x"', '"keep"').replace(
        "dim: 6 dim: 9 dim: 8", ""
    )
    before, after = FIRE.split('layer { name: "b"')
    amid = layer("Filter", "f", ["x", "keep"], "f")
    for text, found in (
        (inputs + amid + FIRE, {"a", "b"}),
        (inputs + before + amid + 'layer { name: "b"' + after, {"b"}),
    ):
        net = runtime.Net(text, TEST, seed=2)
        fusion = Fusion(net.graph, net.plan.kernels, ())
        inside = fusion._concatenated.bottoms.inside
        assert {net.graph.edges[edge].blob for edge in inside} == found
