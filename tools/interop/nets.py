"""Nets with random values, and what `runtime` computes of them."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import runtime
from netspec.errors import SpecWarning
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST, NetParameter
from netspec.text import as_net
from netspec.weights import Model, as_model
from runtime.checking.values import random_input

SEED = 1
BACKEND = "portable"  # its convolutions are sums of products, not Winograd's
# Types whose top is in proportion to all of their parameters together.
LINEAR = ("Convolution", "Deconvolution", "InnerProduct", "Scale", "Embed")


@dataclass(frozen=True)
class Computed:
    """A net with its values, its inputs, and its outputs as `runtime` computes them."""

    model: Model
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def computed(
    net: NetParameter | str,
    values: Mapping[str, Any] | None = None,
) -> Computed:
    """Fill a net with random values that follow from names, and run it.

    Weights are scaled so that what a layer computes of these inputs varies by 1: no
    output is all zeros or saturated. Inputs are what their readers ask for: words for
    an Embed, 0 and 1 for indicators, normal numbers otherwise. values: others, by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        draft = runtime.Net(net, TEST, backend=BACKEND)
        inputs = {
            name: _input(draft, name, (values or {}).get(name)) for name in draft.inputs
        }
        _fill_parameters(draft, inputs)
        weights = _weights(draft)
        # A net of its own, as recurrent layers keep what they computed.
        del draft
        ran = runtime.Net(as_model(net, weights), TEST, backend=BACKEND)
    for name, value in inputs.items():
        ran.blobs[name].data[...] = value
    outputs = {name: np.array(value) for name, value in ran.forward().items()}
    return Computed(as_model(net, weights), inputs, outputs)


def with_ones(net: NetParameter | str) -> Model:
    """Return a net whose parameters are all 1, for what needs values but not which."""
    message = as_net(net)
    weights = {
        node.name: [np.ones(each.shape, np.float32) for each in node.op.params]
        for node in build(message, State(TEST)).nodes
        if node.op.params
    }
    return as_model(message, weights)


def _weights(net: runtime.Net) -> dict[str, list[np.ndarray]]:
    shapes = {
        node.name: [net.graph.parameters[index].shape for index in node.params]
        for node in net.graph.nodes
    }
    return {
        name: [
            np.array(blob.data).reshape(shape)
            for blob, shape in zip(blobs, shapes[name], strict=True)
        ]
        for name, blobs in net.params.items()
    }


def _input(net: runtime.Net, name: str, value: Any) -> np.ndarray:
    if value is None:
        value = random_input(net.graph, name, SEED)
    return np.array(np.broadcast_to(np.float32(value), net.blobs[name].data.shape))


def _fill_parameters(net: runtime.Net, inputs: Mapping[str, np.ndarray]) -> None:
    for name, value in inputs.items():
        net.blobs[name].data[...] = value
    scaled = set()  # parameters, which several layers may share
    for node in net.graph.nodes:
        blobs = net.params.get(node.name, ())
        own = [index for index in node.params if index not in scaled]
        for slot, blob in enumerate(blobs):
            if node.params[slot] in own:
                blob.data[...] = _parameter(node.name, node.type, slot, blob.data.shape)
        net.forward(start=node.name, end=node.name)
        tops = [net.blobs[top].data for top in net.top_names[node.name]]
        spread = max((top.std() for top in tops if top.size), default=0)
        alone = len(node.bottoms) == 1 and len(own) == len(node.params)
        if node.type in LINEAR and alone and spread:
            for blob in blobs:
                blob.data[...] /= spread
            net.forward(start=node.name, end=node.name)
        scaled.update(own)


def _parameter(name: str, kind: str, slot: int, shape: tuple[int, ...]) -> Any:
    random = np.random.default_rng([SEED, slot, zlib.crc32(name.encode())])
    if kind == "BatchNorm":
        # Statistics as they are behind a layer that was scaled, and their divisor.
        low, high = (*((-0.5, 0.5), (0.5, 2), (0.5, 2)), (0.5, 1.5), (-0.5, 0.5))[slot]
        return random.uniform(low, high, size=shape)
    if kind == "BN":
        low, high = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2))[slot]
        return random.uniform(low, high, size=shape)
    if kind in ("Scale", "PReLU") and slot == 0:
        return random.uniform(0.5, 1.5, size=shape)
    if len(shape) < 2:
        return random.normal(scale=0.1, size=shape)
    return random.normal(scale=1 / math.sqrt(math.prod(shape[1:])), size=shape)


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """Return the largest difference as a part of the largest value.

    Shapes may differ by axes of 1. Infinite where they differ otherwise.
    """
    if got.size != want.size or _wide(got) != _wide(want):
        return math.inf
    scale = max(1e-3, float(np.max(np.abs(want), initial=0)))
    off = got.astype(np.float64).reshape(want.shape) - want
    largest = float(np.max(np.abs(off), initial=0)) / scale
    return largest if math.isfinite(largest) else math.inf


def _wide(array: np.ndarray) -> list[int]:
    return [size for size in array.shape if size != 1]
