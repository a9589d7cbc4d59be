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
from netspec.schema import TEST, NetParameter
from netspec.weights import Model, as_model
from runtime.checking.values import random_input

SEED = 1


@dataclass(frozen=True)
class Computed:
    """A net with its values, its inputs, and its outputs as `runtime` computes them."""

    model: Model
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def computed(
    net: NetParameter | str,
    *,
    backend: str = "numpy",
    values: Mapping[str, Any] | None = None,
) -> Computed:
    """Fill a net with random values that follow from names, and run it.

    Weights keep the size of what passes through a layer, so that no output is all
    zeros or saturated. Inputs are what their readers ask for: words for an Embed, 0 and
    1 for indicators, normal numbers otherwise; values: others, by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        ran = runtime.Net(net, TEST, backend=backend)
    for name, blobs in ran.params.items():
        kind = ran.graph.node_of[name].type
        for slot, blob in enumerate(blobs):
            blob.data[...] = _parameter(name, kind, slot, blob.data.shape)
    inputs = {}
    for name in ran.inputs:
        value = (values or {}).get(name)
        if value is None:
            value = random_input(ran.graph, name, SEED)
        shape = ran.blobs[name].data.shape
        inputs[name] = np.array(np.broadcast_to(np.asarray(value, np.float32), shape))
        ran.blobs[name].data[...] = inputs[name]
    ran.forward()
    weights = {
        name: [np.array(blob.data) for blob in blobs]
        for name, blobs in ran.params.items()
    }
    outputs = {name: np.array(ran.blobs[name].data) for name in ran.outputs}
    return Computed(as_model(net, weights), inputs, outputs)


def _parameter(name: str, kind: str, slot: int, shape: tuple[int, ...]) -> Any:
    random = np.random.default_rng([SEED, slot, zlib.crc32(name.encode())])
    if kind == "BatchNorm":
        if slot == 0:
            return random.normal(scale=0.3, size=shape)
        return random.uniform(0.5, 2, size=shape)
    if kind in ("Scale", "PReLU") and slot == 0:
        return random.uniform(0.5, 1.5, size=shape)
    if len(shape) < 2:
        return random.normal(scale=0.1, size=shape)
    return random.normal(scale=math.sqrt(2 / math.prod(shape[1:])), size=shape)


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
