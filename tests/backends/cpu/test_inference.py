"""Layers that run as one where nothing runs backward, against the portable kernels."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import runtime
from netspec.schema import TEST
from runtime.backends.cpu import CpuBackend

OPTIONS = {
    "Scale": "scale_param { bias_term: true }",
    "NoBias": "",
    "Bias": "",
    "BatchNorm": "",
    "ReLU": "",
    "Leaky": "relu_param { negative_slope: 0.1 }",
}
TYPES = {"NoBias": "Scale", "Leaky": "ReLU"}


def layer(kind: str, name: str, bottoms: list[str], top: str, options: str = "") -> str:
    ends = "".join(f' bottom: "{one}"' for one in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}"{ends} top: "{top}" {options} }}\n'


class Drawn:
    """A random net of convolutions, what is folded into them, sums and ReLUs.

    in_place: whether layers that can have the name of their bottom sometimes do.
    """

    def __init__(self, seed: int, *, in_place: bool = True) -> None:
        self.rng = random.Random(seed)
        self.in_place = in_place
        rng = self.rng
        self.channels = rng.choice([3, 8, 16, 19])
        self.count = 0
        sizes = rng.randint(1, 3), self.channels, rng.randint(3, 15), rng.randint(3, 15)
        dims = " ".join(f"dim: {size}" for size in sizes)
        self.text = (
            'layer { name: "x" type: "Input" top: "x" '
            f"input_param {{ shape {{ {dims} }} }} }}\n"
        )
        last = "x"
        for _ in range(rng.randint(2, 4)):
            last = self.block(last)
        self.add("Pooling", [last], "pooling_param { kernel_size: 1 }")

    def add(self, kind: str, bottoms: list[str], options: str = "") -> str:
        self.count += 1
        can = kind not in ("Convolution", "Deconvolution", "Eltwise", "Pooling")
        over = can and self.in_place and self.rng.random() < 0.4
        top = bottoms[0] if over else f"b{self.count}"
        self.text += layer(
            TYPES.get(kind, kind), f"l{self.count}", bottoms, top, options
        )
        return top

    def convolution(self, below: str) -> str:
        rng, channels = self.rng, self.channels
        kernel = rng.choice([1, 3, 3, 5])
        bias = rng.choice(["true", "false"])
        group = rng.choice([1, 1, 1, channels])
        options = (
            f"convolution_param {{ num_output: {channels} kernel_size: {kernel} "
            f"pad: {kernel // 2} group: {group} bias_term: {bias} "
            'weight_filler { type: "gaussian" std: 0.2 } }'
        )
        kind = rng.choice(["Convolution", "Convolution", "Deconvolution"])
        top = self.add(kind, [below], options)
        kinds = ["BatchNorm", "Scale", "NoBias", "Bias"]
        for one in [one for one in kinds if rng.random() < 0.5]:
            top = self.add(one, [top], OPTIONS[one])
        return top

    def block(self, below: str) -> str:
        rng = self.rng
        a = self.convolution(below)
        b = self.convolution(below) if rng.random() < 0.4 else below
        if rng.random() < 0.7:
            pair = rng.sample([a, b], 2)
            options = "eltwise_param { coeff: 1 coeff: -0.5 }"
            a = self.add("Eltwise", pair, options if rng.random() < 0.2 else "")
        elif rng.random() < 0.5:
            a = self.add("BatchNorm", [a])  # ahead of a ReLU and a convolution
        if rng.random() < 0.8:
            kind = rng.choice(["ReLU", "ReLU", "ReLU", "Leaky"])
            a = self.add(kind, [a], OPTIONS[kind])
        return a

    @property
    def blobs(self) -> list[str]:
        names = [f"b{number}" for number in range(1, self.count + 1)]
        return [name for name in names if f'top: "{name}"' in self.text]


def filled(text: str, **how: object) -> runtime.Net:
    net = runtime.Net(text, TEST, seed=2, **how)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    for blobs in net.params.values():
        for blob in blobs:
            if len(blob.shape) == 1:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    return net


def _given(backend: CpuBackend, *_: object, **__: object) -> CpuBackend:
    return backend


def close(got: np.ndarray, want: np.ndarray, name: str) -> None:
    size = 1 + np.abs(want).max()
    np.testing.assert_allclose(got, want, atol=1e-4 * size, err_msg=name)


@pytest.mark.parametrize("seed", range(40))
def test_groups_compute_what_their_layers_do(seed: int) -> None:
    drawn = Drawn(seed)
    some = drawn.rng.sample(drawn.blobs, len(drawn.blobs) // 4)
    portable = filled(drawn.text, backend="portable")
    portable.forward()
    for keep in (None, (), some):
        net = filled(drawn.text, keep=keep)
        for _ in range(2):
            net.forward()
        for name in [*(drawn.blobs if keep is None else keep), drawn.blobs[-1]]:
            close(net.blobs[name].data, portable.blobs[name].data, name)


@pytest.mark.parametrize("seed", range(40, 60))
def test_any_number_of_threads_gives_the_same_bits(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, results = Drawn(seed), []
    for threads in (1, 2, 3):
        backend = CpuBackend(threads)
        made = partial(_given, backend)
        monkeypatch.setattr("runtime.execution.net.get_backend", made)
        net = filled(drawn.text, keep=())
        net.forward()
        results.append(net.blobs[drawn.blobs[-1]].data.copy())
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_not_a_number_and_infinity_pass_through_a_sum() -> None:
    text = (
        'layer { name: "x" type: "Input" top: "x" '
        "input_param { shape { dim: 1 dim: 16 dim: 9 dim: 9 } } }\n"
        + layer(
            *("Convolution", "c", ["x"], "c"),
            "convolution_param { num_output: 16 kernel_size: 1 "
            'weight_filler { type: "gaussian" std: 0.2 } }',
        )
        + layer("Eltwise", "s", ["c", "x"], "s")
        + layer("ReLU", "r", ["s"], "r")
    )
    net, portable = (filled(text, keep=(), backend=b) for b in ("numpy", "portable"))
    for one in (net, portable):
        x = one.blobs["x"].data
        x[0, :, 2, 3], x[0, 5, 4, 4], x[0, 7, 5, 5] = np.nan, np.inf, -np.inf
        one.forward()
    got, want = net.blobs["r"].data, portable.blobs["r"].data
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert len(net.plan.fusion.forward()) == 3  # type: ignore[union-attr]
