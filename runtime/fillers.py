"""Fillers: the values that parameters start with, as in Caffe.

The numbers come from a NumPy generator that the caller seeds, on the host, so that
every backend starts a net with the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.ops.base import Shape, count
from netspec.schema import FillerParameter

Filler: TypeAlias = Callable[[Shape, FillerParameter, np.random.Generator], np.ndarray]


def fill(
    shape: Sequence[int],
    filler: FillerParameter,
    rng: np.random.Generator,
    what: str,
) -> np.ndarray:
    """Return a float32 array of `shape` filled as `filler` says.

    what: how errors name the array, such as "layer 'conv1' (Convolution), parameter 0".

    Raises `SpecError` for an unknown type or a value that cannot be, `ShapeError` for a
    shape that the filler does not fit.
    """
    function = _FILLERS.get(filler.type)
    if function is None:
        raise SpecError(
            f"{what}: unknown filler type {filler.type!r}"
            f"{did_you_mean(filler.type, _FILLERS)} (one of {', '.join(_FILLERS)})"
        )
    if filler.sparse != -1 and filler.type != "gaussian":
        raise SpecError(
            f"{what}: sparse is for gaussian fillers, not {filler.type!r}; remove it"
        )
    if count(shape) == 0:
        return np.empty(shape, np.float32)
    try:
        values = function(tuple(shape), filler, rng)
    except SpecError as error:
        raise type(error)(f"{what}: {error}") from None
    return values.astype(np.float32, copy=False)


def _constant(
    shape: Shape, filler: FillerParameter, rng: np.random.Generator
) -> np.ndarray:
    return np.full(shape, filler.value, np.float32)


def _uniform(
    shape: Shape, filler: FillerParameter, rng: np.random.Generator
) -> np.ndarray:
    if filler.min > filler.max:
        raise SpecError(f"uniform filler with min {filler.min} above max {filler.max}")
    return _between(shape, filler.min, filler.max, rng)


def _gaussian(
    shape: Shape, filler: FillerParameter, rng: np.random.Generator
) -> np.ndarray:
    """Draw normal values; with `sparse` keep each with probability sparse / n.

    n is the size of axis 0.
    """
    if filler.std < 0:
        raise SpecError(f"gaussian filler with std {filler.std}; expected 0 or more")
    values = rng.standard_normal(shape, np.float32) * np.float32(filler.std)
    values += np.float32(filler.mean)
    if filler.sparse >= 0:
        outputs = shape[0] if shape else 1
        values *= rng.random(shape, np.float32) < filler.sparse / outputs
    return np.asarray(values)


def _positive_unitball(
    shape: Shape, filler: FillerParameter, rng: np.random.Generator
) -> np.ndarray:
    """Draw uniformly from [0, 1) and divide each row by its sum."""
    values = rng.random(shape, np.float32)
    rows = values.reshape(shape[0] if shape else 1, -1)
    rows /= rows.sum(1, keepdims=True)
    return values


def _xavier(
    shape: Shape, filler: FillerParameter, rng: np.random.Generator
) -> np.ndarray:
    """Draw uniformly from +-sqrt(3 / n). Glorot and Bengio (2010)."""
    bound = math.sqrt(3 / _fan(shape, filler))
    return _between(shape, -bound, bound, rng)


def _msra(
    shape: Shape, filler: FillerParameter, rng: np.random.Generator
) -> np.ndarray:
    """Draw normal values of std sqrt(2 / n). He, Zhang, Ren and Sun (2015)."""
    std = np.float32(math.sqrt(2 / _fan(shape, filler)))
    return np.asarray(rng.standard_normal(shape, np.float32) * std)


def _bilinear(
    shape: Shape, filler: FillerParameter, rng: np.random.Generator
) -> np.ndarray:
    """Compute the weights of bilinear upsampling, equal for all channels.

    w[y, x] = (1 - |x / f - c|) (1 - |y / f - c|), f = ceil(k / 2), c = (k - 1) / (2 f).
    """
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ShapeError(
            f"bilinear filler needs 4 axes and a square kernel, got shape {shape}"
        )
    size = shape[3]
    factor = math.ceil(size / 2)
    center = (size - 1) / (2 * factor)
    line = 1 - np.abs(np.arange(size) / factor - center)
    values = np.empty(shape, np.float32)
    values[...] = np.outer(line, line)
    return values


def _between(
    shape: Shape, low: float, high: float, rng: np.random.Generator
) -> np.ndarray:
    values = rng.random(shape, np.float32) * np.float32(high - low)
    return np.asarray(values + np.float32(low))


def _fan(shape: Shape, filler: FillerParameter) -> float:
    """Return what xavier and msra divide by, from the shape alone as Caffe does.

    fan_in is the count over axis 0, fan_out the count over axis 1, whatever the axes
    mean; Deconvolution, `transpose` and groups are not treated specially.
    """
    total = count(shape)
    fan_in = total / shape[0] if shape else 1
    fan_out = total / shape[1] if len(shape) > 1 else total
    if filler.variance_norm == FillerParameter.FAN_OUT:
        return fan_out
    if filler.variance_norm == FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_in


_FILLERS: dict[str, Filler] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
