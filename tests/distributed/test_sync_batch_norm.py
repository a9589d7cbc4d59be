"""Nets whose BatchNorm meets other ranks equal one net with all batches."""

from __future__ import annotations

import re

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from netspec.schema import TRAIN
from tests.ranks import together

ITEMS = (2, 3)  # of each rank

NORMS = {
    "caffe": ("BatchNorm", "batch_norm_param { moving_average_fraction: 0.8 }"),
    "nvcaffe": ("BatchNorm", "batch_norm_param { scale_bias: true }"),
    "pspnet": ("BN", "bn_param { momentum: 0.7 }"),
}


def text(items: int, norm: str, *, in_place: bool) -> str:
    """A net with three norms: with Scale and ReLU, below a sum, and on vectors."""
    kind, param = NORMS[norm]

    def top(name: str) -> str:
        return "conv1" if in_place else name

    scale = f"""
    layer {{ name: "scale1" type: "Scale" bottom: "{top("n1")}" top: "{top("s1")}"
      scale_param {{ bias_term: true filler {{ type: "gaussian" std: 1 }}
        bias_filler {{ type: "gaussian" std: 1 }} }} }}"""
    if norm != "caffe":
        scale = f"""
    layer {{ name: "scale1" type: "Power" bottom: "{top("n1")}" top: "{top("s1")}"
      power_param {{ scale: 0.5 shift: 0.1 }} }}"""
    weights = 'weight_filler { type: "gaussian" std: 0.3 }'
    return f"""
    name: "norms"
    layer {{ name: "data" type: "Input" top: "data" top: "label"
      input_param {{ shape {{ dim: {items} dim: 3 dim: 9 dim: 8 }}
        shape {{ dim: {items} dim: 10 }} }} }}
    layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
      convolution_param {{ num_output: 5 kernel_size: 3 {weights} }} }}
    layer {{ name: "norm1" type: "{kind}" bottom: "conv1" top: "{top("n1")}" {param} }}
    {scale}
    layer {{ name: "relu1" type: "ReLU" bottom: "{top("s1")}" top: "{top("r1")}" }}
    layer {{ name: "conv2" type: "Convolution" bottom: "{top("r1")}" top: "conv2"
      convolution_param {{ num_output: 5 kernel_size: 3 pad: 1 {weights} }} }}
    layer {{ name: "norm2" type: "{kind}" bottom: "conv2" top: "conv2" {param} }}
    layer {{ name: "sum" type: "Eltwise" bottom: "{top("r1")}" bottom: "conv2"
      top: "sum" }}
    layer {{ name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "sum" top: "ip"
      inner_product_param {{ num_output: 10 {weights} }} }}
    layer {{ name: "norm3" type: "{kind}" bottom: "ip" top: "ip" {param} }}
    layer {{ name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label"
      top: "loss" }}
    """


def ran(net: runtime.Net, data: np.ndarray, label: np.ndarray, weight: float) -> dict:
    """Return what two passes leave, with a loss that is the sum over items / 2."""
    for _ in range(2):
        net.forward(data=data, label=label)
        net.backward(loss=np.float32(weight))
    return {
        "ip": net.blobs["ip"].data.copy(),
        "gradients": net.flat.diff.copy(),
        "parameters": net.flat.data.copy(),
    }


def close(got: np.ndarray, wanted: np.ndarray, rtol: float = 3e-5) -> None:
    atol = rtol * np.abs(wanted).max()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=atol)


def batches() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    items = sum(ITEMS)
    data = rng.normal(1, 2, (items, 3, 9, 8)).astype("float32")
    return data, rng.normal(size=(items, 10)).astype("float32")


def ranks_of(norm: str, *, in_place: bool, **options: object) -> list[dict]:
    data, label = batches()
    first = ITEMS[0]

    def work(rank):
        mine = slice(0, first) if rank.rank == 0 else slice(first, None)
        net = runtime.Net(
            text(ITEMS[rank.rank], norm, in_place=in_place),
            TRAIN,
            sync_batch_norm=rank,
            seed=3,
            **options,
        )
        found = ran(net, data[mine], label[mine], float(ITEMS[rank.rank]))
        return found | {"sums": rank.sums, "net": net}

    return together(2, work)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_two_ranks_are_one_net_with_both_batches(norm, in_place):
    data, label = batches()
    net = runtime.Net(text(sum(ITEMS), norm, in_place=in_place), TRAIN, seed=3)
    whole = ran(net, data, label, float(sum(ITEMS)))
    for keep in (None, ["ip"]):
        one, other = ranks_of(norm, in_place=in_place, keep=keep)
        close(np.concatenate([one["ip"], other["ip"]]), whole["ip"])
        close(one["gradients"] + other["gradients"], whole["gradients"])
        close(one["parameters"], whole["parameters"])
        np.testing.assert_array_equal(one["parameters"], other["parameters"])
        assert one["sums"] == [11, 11, 21, 20, 10, 10] * 2


def chain(items: int) -> str:
    """A net that is deep, so that a limit of memory makes most of it run again."""
    blocks = "".join(
        f"""
    layer {{ name: "conv{k}" type: "Convolution" bottom: "x{k}" top: "c{k}"
      convolution_param {{ num_output: 6 kernel_size: 1
        weight_filler {{ type: "gaussian" std: 0.5 }} }} }}
    layer {{ name: "norm{k}" type: "BatchNorm" bottom: "c{k}" top: "n{k}" }}
    layer {{ name: "squash{k}" type: "TanH" bottom: "n{k}" top: "x{k + 1}" }}"""
        for k in range(8)
    )
    return f"""
    layer {{ name: "data" type: "Input" top: "x0"
      input_param {{ shape {{ dim: {items} dim: 6 dim: 9 dim: 8 }} }} }} {blocks}
    layer {{ name: "loss" type: "Reduction" bottom: "x8" top: "loss" loss_weight: 1
      reduction_param {{ operation: SUMSQ }} }}"""


def least(items: int) -> str:
    """Return the least memory that the deep net can be trained with."""
    with pytest.raises(SpecError) as refused:
        runtime.Net(chain(items), TRAIN, memory_limit=1)
    found = re.search(r"give at least '(\w+)'", str(refused.value))
    assert found
    return found.group(1)


def test_what_is_computed_again_for_a_limit_of_memory_sends_nothing_more():
    data = np.random.default_rng(6).normal(size=(8, 6, 9, 8)).astype("float32")

    def work(limit, rank):
        options = {"seed": 3, "sync_batch_norm": rank, "memory_limit": limit}
        net = runtime.Net(chain(4), TRAIN, **options)
        for _ in range(2):
            net.forward(x0=data[4 * rank.rank :][:4])
            net.backward()
        again = net.recomputation.again if limit else ()
        names = [net.graph.nodes[index].name for index in again]
        return net.flat.diff.copy(), net.flat.data.copy(), rank.sums, names

    limit = least(4)
    limited = together(2, lambda rank: work(limit, rank))
    plain = together(2, lambda rank: work(None, rank))
    assert sum(name.startswith("norm") for name in limited[0][3]) > 1
    for one, other in zip(limited, plain, strict=True):
        assert one[2] == other[2] == [13] * 8 + [12] * 8 + [13] * 8 + [12] * 8
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_gradients_are_those_of_central_differences():
    data, label = batches()
    first = ITEMS[0]

    def work(rank):
        mine = slice(0, first) if rank.rank == 0 else slice(first, None)
        net = runtime.Net(
            text(ITEMS[rank.rank], "nvcaffe", in_place=True),
            TRAIN,
            sync_batch_norm=rank,
            seed=3,
            dtype="float64",
        )

        def loss() -> float:
            """The sum of both ranks' losses: all of it hangs on what both have."""
            net.forward(data=data[mine], label=label[mine])
            total = np.array([float(net.blobs["loss"].data)])
            rank.sum(total)
            return float(total[0])

        loss()
        net.backward()
        slope = net.flat.diff.copy()
        rank.sum(slope)
        learned = np.flatnonzero(slope)
        rng = np.random.default_rng(8)
        for index in rng.choice(learned, 12, replace=False):
            value, step = net.flat.data[index], 1e-5
            net.flat.data[index] = value + step
            above = loss()
            net.flat.data[index] = value - step
            below = loss()
            net.flat.data[index] = value
            wanted = (above - below) / (2 * step)
            assert slope[index] == pytest.approx(wanted, rel=1e-4, abs=1e-6)

    together(2, work)
