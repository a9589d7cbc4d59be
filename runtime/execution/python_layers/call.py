"""`Call`: what the methods of a layer of `netspec.layer` are given beside arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace

from netspec.ops.base import Shape, count
from runtime.arrays import Array
from runtime.counter_random import stream_keys
from runtime.layers.base import Context

_STEPS = 24  # random bits of a number: as many as a float32 holds


class Call:
    """The argument `c` of `forward` and `backward`: one pass through a layer.

    xp: NumPy, or CuPy on a device; the arrays are its.
    bottoms, tops: arrays of the blobs. `forward` may write into a top and return it.
    dbottoms, dtops: their gradients in `backward`; None where none is computed.
    wanted: for every bottom, whether its gradient is computed.
    learned, gradients: the learned arrays by name, `c.learned.w`, and in `backward`
        zeros to put their gradients into, `c.gradients.w += ...`.
    saved: empty at each `forward`; what is put there, `c.saved.mask = mask`, is there
        in `backward`.
    train: whether the layer's phase is TRAIN. dtype: of the net.
    iteration: how many forward passes came before; a batch of data, or anything else
        that shall be the same after a resume, follows from it.
    """

    xp: ModuleType
    bottoms: tuple[Array, ...]
    tops: tuple[Array, ...]
    dbottoms: tuple[Array | None, ...]
    dtops: tuple[Array, ...]
    wanted: tuple[bool, ...]

    def __init__(self, name: str, context: Context, *, train: bool) -> None:
        self.xp = context.backend.xp
        self.train = train
        self.dtype = context.dtype
        self.iteration = 0
        self.saved = SimpleNamespace()
        self.learned = SimpleNamespace()
        self.gradients = SimpleNamespace()
        self._name = name
        self._context = context
        self._draws = 0

    def go_on_from(self, other: Call) -> None:
        """Take what another call knows of its pass."""
        self.saved, self.iteration = other.saved, other.iteration
        self._draws = other._draws

    def begin(self) -> None:
        """Start a forward pass."""
        self.iteration = self._context.clock.value
        self.saved = SimpleNamespace()
        self._draws = 0

    def uniform(self, shape: int | Sequence[int] = ()) -> Array:
        """Draw numbers from [0, 1), by seed, layer, iteration and number of the draw.

        So a run that goes on from a snapshot draws what it would have drawn, on every
        backend.
        """
        sizes: Shape = (shape,) if isinstance(shape, int) else tuple(shape)
        backend, size = self._context.backend, count(sizes)
        keys = stream_keys(self._context.seed, self._name, self.iteration, self._draws)
        self._draws += 1
        bits = self.xp.empty((size,), "uint32")
        scratch = self.xp.empty(backend.random_scratch(size).shape, "uint32")
        backend.random_bits(bits, keys, scratch)
        self.xp.right_shift(bits, 32 - _STEPS, out=bits)
        values = bits.astype(self.dtype)
        self.xp.multiply(values, 2.0**-_STEPS, out=values)
        return values.reshape(sizes)

    def normal(self, shape: int | Sequence[int] = ()) -> Array:
        """Draw from the normal distribution of mean 0 and variance 1.

            sqrt(-2 log(1 - u)) cos(2 pi v), u and v uniform

        Source: Box and Muller, 1958.
        """
        u, v = self.uniform(shape), self.uniform(shape)
        radius = self.xp.sqrt(-2 * self.xp.log1p(-u))
        return radius * self.xp.cos(2 * math.pi * v)
