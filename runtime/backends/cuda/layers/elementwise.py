"""Layers that are a function of one value, alone or several as one launch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from netspec.graph import Node
from netspec.ops import Op
from netspec.ops.base import count
from netspec.ops.dropout import Dropout as DropoutOp
from runtime.arrays import Array
from runtime.backends.cuda.formulas import FORMULAS, Formula, dropped
from runtime.backends.cuda.layer import CudaLayer, channels_last, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.machine.words import Words
from runtime.backends.cuda.tensor import Blob, memory_of, orders_differ, place_of
from runtime.backends.layer_kernel import has_only
from runtime.counter_random import stream_keys
from runtime.layers.base import Kernel, OpT

PACK_BYTES = 16
_VALUES = CudaKernel("elementwise.cu", "values")
_GRADIENTS = CudaKernel("elementwise.cu", "gradients")


class Elementwise(CudaLayer[OpT]):
    """A layer whose arithmetic is its row of `FORMULAS`."""

    words: Words | None = None  # the keys of its random numbers

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether the table knows all options of a node."""
        row = FORMULAS.get(node.op.type)
        return row is not None and has_only(node.op, row.options)

    @property
    def formula(self) -> Formula:
        """What it computes; one without statements passes values on."""
        return FORMULAS[self.op.type].formula(self.op)

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        return chained([self])

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that computes dx."""
        return chained_gradient([self])


class Dropout(Elementwise[DropoutOp]):
    """See `runtime.layers.dropout.Dropout`.

    No mask is kept: the gradient draws the bits of the forward pass again, from its
    keys, which stay in memory until the next one.
    """

    options = ("dropout_ratio",)

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether it knows all options of a node."""
        return has_only(node.op, cls.options)

    def setup(self) -> None:
        """Make room for the keys."""
        if self._drops():
            self.words = Words(self.device, 2, self._keys)

    def _keys(self) -> tuple[int, int]:
        context = self.context
        return stream_keys(context.seed, self.op.name, context.clock.value)

    def _drops(self) -> bool:
        return self.train and self.op.dropout_ratio > 0

    @property
    def formula(self) -> Formula:
        """What it computes."""
        return dropped(self.op) if self._drops() else Formula()

    def take_over(self, other: Kernel[DropoutOp]) -> None:
        """Take the keys of the last forward pass."""
        super().take_over(other)
        words = getattr(other, "words", None)
        if self.words is not None and words is not None:
            self.words.array[...] = words.array


def may_join(layers: Sequence[Elementwise[Any]]) -> bool:
    """Whether layers, each in place on the one before, can be one launch.

    They have the same memory, so that what a gradient reads is what the last one left
    there, which every gradient but the first may read. One of them may be random.
    """
    formulas = [layer.formula for layer in layers]
    reads_x = any(_reads(formula, "x") for formula in formulas[1:])
    return not reads_x and sum(formula.random for formula in formulas) <= 1


def chained(layers: Sequence[Elementwise[Any]]) -> list[Call]:
    """Return the calls that compute the last top of a chain."""
    first, last = layers[0], layers[-1]
    x, y = first.x, last.y
    formulas, words = [layer.formula for layer in layers], _words(layers)
    if not any(one.value for one in formulas) and x is y:
        return []
    size, per = count(y.shape), _together(first, x, y)
    kernel = stored_as(_VALUES, y, PER=per, **_defines(formulas, y))
    array = words[0].array if words else None
    launch = first.strided(kernel, size, x, y, size, array, per_thread=per)
    return [*words, launch]


def chained_gradient(
    layers: Sequence[Elementwise[Any]], *, keeps_top: bool = False
) -> list[Call]:
    """Return the calls that compute the gradient of the first bottom of a chain.

    keeps_top: whether somebody keeps that of the first top, which is dy's memory.
    """
    first, last = layers[0], layers[-1]
    dy, dx = last.dy, first.dx
    formulas, words = [layer.formula for layer in layers], _words(layers)
    if dx is None or (dx is dy and not any(one.gradient for one in formulas)):
        return []
    passed = dy if keeps_top and dx is not dy and len(layers) > 1 else None
    blobs = (first.x, last.y, dy, dx)
    return [gradient_call(first, formulas, *blobs, *words, passed=passed)]


def gradient_call(
    layer: CudaLayer[Any],
    formulas: Sequence[Formula],
    x: Blob,
    y: Blob,
    dy: Blob,
    dx: Blob,
    words: Words | None = None,
    *,
    passed: Blob | None = None,
) -> Call:
    """Return the call that goes back through functions, first to last in a forward.

    x and y are not looked at where no formula reads them. dx may be dy. words: the keys
    of the random numbers, where there are any. passed: gets the gradient of the first
    function's value; may be dy.
    """
    defines = _defines(formulas, dy)
    x = x if defines["READS_X"] else None
    y = y if defines["READS_Y"] else None
    blobs = (x, y, dy, passed, dx)
    size, per = count(dy.shape), _together(layer, *blobs)
    kernel = stored_as(_GRADIENTS, dy, PER=per, **defines)
    array = None if words is None else words.array
    return layer.strided(kernel, size, *blobs, size, array, per_thread=per)


def _words(layers: Sequence[Elementwise[Any]]) -> list[Words]:
    """Return the keys of the layer that is random, if one is."""
    return [layer.words for layer in layers if layer.words is not None]


def _defines(formulas: Sequence[Formula], blob: Blob) -> dict[str, object]:
    """Return how both kernels are compiled, as one module, and elements numbered."""
    defines: dict[str, object] = {
        "VALUE": "".join(one.value for one in formulas),
        "GRADIENT": "".join(one.gradient for one in reversed(formulas[1:])),
        "FIRST_GRADIENT": formulas[0].gradient,
        "READS_X": int(any(_reads(one, "x") for one in formulas)),
        "READS_Y": int(any(_reads(one, "y") for one in formulas)),
    }
    shape = blob.shape
    if count(shape) > 2**31:
        defines["WHOLE"] = "unsigned long long"
    if any(one.random for one in formulas):
        defines["RANDOM"] = 1
        if channels_last(blob) and orders_differ(shape):
            spatial = math.prod(shape[2:])
            defines |= {"LAST": 1, "CHANNELS": shape[1], "SPATIAL": spatial}
    return defines


def _together(layer: CudaLayer[Op], *blobs: Blob | None) -> int:
    """Return how many neighbours a thread takes: those of 16 bytes, or one."""
    given: list[Array] = [memory_of(one) for one in blobs if one is not None]
    aligned = all(layer.device.address(one) % PACK_BYTES == 0 for one in given)
    place = next(place_of(one) for one in blobs if one is not None)
    return PACK_BYTES // place.itemsize if aligned else 1


def _reads(formula: Formula, name: str) -> bool:
    return re.search(rf"\b{name}\b", formula.gradient) is not None
