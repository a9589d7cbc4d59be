"""Layers write over private blobs as if they had been in place in the file."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

import runtime
from netspec.graph import Graph, share_private
from netspec.schema import TEST, TRAIN
from tests.example_nets import graph

INPUT = """
layer { name: "x" type: "Input" top: "x" top: "t"
        input_param { shape { dim: 4 dim: 6 dim: 5 dim: 7 } shape { dim: 4 } } }
"""
LOSS = """
layer { name: "ip" type: "InnerProduct" bottom: "LAST" top: "ip" inner_product_param {
        num_output: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "loss" }
"""
OPTIONS = {
    "Convolution": "convolution_param { num_output: 6 kernel_size: 3 pad: 1 "
    'weight_filler { type: "xavier" } }',
    "Scale": "scale_param { bias_term: true }",
    "Power": "power_param { scale: 0.5 shift: 0.25 }",
    "Pooling": "pooling_param { kernel_size: 3 stride: 1 pad: 1 }",
    "ReLU": "relu_param { negative_slope: 0.1 }",
}
KINDS = (
    *("Convolution", "BatchNorm", "Scale", "Bias", "ReLU", "Sigmoid", "TanH", "ELU"),
    *("Dropout", "PReLU", "Power", "AbsVal", "Split", "Flatten", "Pooling"),
)

IN_PLACE = ("BatchNorm", "Scale", "Bias", "ReLU", "Dropout", "PReLU", "Power")


def layer(kind: str, name: str, bottoms: Sequence[str], *tops: str) -> str:
    """Return a layer with top `name`, or others."""
    ends = "".join(f' bottom: "{one}"' for one in bottoms)
    ends += "".join(f' top: "{one}"' for one in tops or (name,))
    options = OPTIONS.get(kind, "")
    return f'layer {{ name: "{name}" type: "{kind}"{ends} {options} }}\n'


def chain(kinds: Sequence[str], *, in_place: bool = False, end: str = LOSS) -> str:
    """Return layers one above the other, of which some may be in place."""
    text, below = INPUT, "x"
    for number, kind in enumerate(kinds):
        top = below if in_place and number and kind != "Convolution" else f"b{number}"
        text += layer(kind, f"l{number}", [below], top)
        below = top
    return text + end.replace("LAST", below)


def buffers(built: Graph) -> list[tuple[int, int]]:
    return [(edge.buffer, edge.gradient) for edge in built.edges]


@pytest.mark.parametrize("phase", [TEST, TRAIN])
def test_own_names_share_as_layers_in_place_do(phase: int) -> None:
    kinds = ("Convolution", "BatchNorm", "Scale", "ReLU", "Convolution", "ReLU")
    end = LOSS if phase == TRAIN else LOSS.partition('layer { name: "loss"')[0]
    own = share_private(graph(chain(kinds, end=end), phase), ())
    in_place = graph(chain(kinds, end=end, in_place=True), phase)
    assert buffers(share_private(in_place, ())) == buffers(in_place)
    data = [edge.buffer for edge in in_place.edges]
    assert [edge.buffer for edge in own.edges] == data
    if phase == TRAIN:
        assert buffers(own) == buffers(in_place)


def test_kept_blobs_and_their_gradients_stay_apart() -> None:
    kinds = ("Convolution", "BatchNorm", "Scale", "ReLU")
    built = graph(chain(kinds), TRAIN)
    assert share_private(built, None) is built
    shared = share_private(built, ("b1", "b2"))
    edges = {edge.blob: edge for edge in shared.edges}
    assert edges["b0"].buffer == edges["b1"].buffer != edges["b2"].buffer
    assert edges["b0"].gradient != edges["b1"].gradient
    assert edges["b2"].buffer != edges["b3"].buffer
    assert edges["x"].buffer != edges["b0"].buffer


def test_what_several_read_or_a_gradient_needs_stays() -> None:
    text = (
        INPUT
        + layer("Convolution", "a", ["x"])
        + layer("ReLU", "b", ["a"])
        + layer("Sigmoid", "c", ["a"])
        + layer("TanH", "d", ["c"])
        + layer("Eltwise", "sum", ["b", "d"])
    )
    for phase, end in ((TEST, ""), (TRAIN, LOSS.replace("LAST", "sum"))):
        edges = {e.blob: e for e in share_private(graph(text + end, phase), ()).edges}
        assert edges["a"].buffer not in (edges["b"].buffer, edges["c"].buffer)
        # The gradient of Sigmoid reads what it wrote.
        shares = edges["c"].buffer == edges["d"].buffer
        assert shares == (phase == TEST)


def test_a_scale_alone_keeps_its_bottom_in_training() -> None:
    built = share_private(graph(chain(("Convolution", "Scale")), TRAIN), ())
    edges = {edge.blob: edge for edge in built.edges}
    assert edges["b0"].buffer != edges["b1"].buffer


def test_no_sign_is_lost_in_what_is_in_place_above() -> None:
    """Dropout keeps the sign that ReLU's gradient reads; the Scale on it does not."""
    text = INPUT + layer("Convolution", "a", ["x"]) + layer("Plain", "b", ["a"])
    text = text.replace("Plain", "ReLU")  # without a slope
    text += layer("Dropout", "c", ["b"]) + layer("Scale", "d", ["c"], "c")
    edges = share_private(graph(text + LOSS.replace("LAST", "c"), TRAIN), ()).edges
    after = {edge.blob: edge for edge in edges}
    assert after["a"].buffer == after["b"].buffer != after["c"].buffer


def random_net(rng: random.Random) -> str:
    """Return a net of random layers in which some blobs have several readers."""
    text, there, last = INPUT, ["x"], "x"
    read = {"x"}  # what has a reader, so that nothing may be in place on it
    images = {"x"}  # blobs with four axes; the others are flattened
    for number in range(rng.randint(3, 12)):
        kind, bottom = rng.choice(KINDS), rng.choice([last, last, rng.choice(there)])
        if bottom not in images and kind in ("Convolution", "Pooling"):
            continue
        tops = [f"b{number}"] if kind != "Split" else [f"b{number}", f"s{number}"]
        if kind in IN_PLACE and bottom not in read and rng.random() < 0.3:
            tops = [bottom]
        else:
            read.add(bottom)
        text += layer(kind, f"l{number}", [bottom], *tops)
        if bottom in images and kind != "Flatten":
            images.update(tops)
        there += tops
        last = tops[0]
    return text + LOSS.replace("LAST", last)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("backend", ["portable", "numpy"])
def test_random_nets_compute_the_same(seed: int, backend: str) -> None:
    rng = random.Random(seed)
    text = random_net(rng)
    names = [f"b{number}" for number in range(12) if f'top: "b{number}"' in text]
    some = rng.sample(names, len(names) // 3)
    results = []
    for keep in (None, (), some):
        net = runtime.Net(text, TRAIN, seed=1, keep=keep, backend=backend)
        values = np.random.default_rng(seed)
        net.blobs["x"].data[...] = values.standard_normal(net.blobs["x"].shape)
        for _ in range(2):
            net.forward_backward()
        kept = [net.blobs[name].data.copy() for name in some if keep != ()]
        kept += [net.blobs[name].diff.copy() for name in some if keep != ()]
        results.append((net.loss(), net.flat.diff.copy(), kept))
    (loss, gradient, blobs), few, kept_some = results
    size = 1e-6 + np.abs(gradient).max()
    for other_loss, other, others in (few, kept_some):
        np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
        np.testing.assert_allclose(other, gradient, atol=2e-5 * size)
        for got, want in zip(others, blobs, strict=False):
            np.testing.assert_allclose(got, want, atol=2e-5 * (1 + np.abs(want).max()))
