"""Array primitives: all that a kernel may ask of a backend beside its module `xp`.

Everything here is plain array code over `xp`, the array module (NumPy, or one with its
interface), writes into arrays that it is given, and is the oracle for faster versions:
a backend may override any of it.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from netspec import room
from runtime.arrays import Array, ArraySpec
from runtime.compilation import Compilation
from runtime.counter_random import hash_bits


class Primitives:
    """Arrays and primitives over the module `xp`."""

    name: ClassVar[str]
    # Elements that a kernel takes at a time so that they stay in the cache.
    block_elements: ClassVar[int] = 1 << 17

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        self.compilation = Compilation()
        self.on_host = xp is np  # else the device may run behind the program
        # Elements hashed at a time: few for the cache of a CPU, many for few launches.
        self.random_block = 1 << (15 if self.on_host else 22)
        # Positions of a map from which products of one image at a time are fast. On a
        # device each is a launch, and several images are taken together at any size.
        self.enough_positions = 512 if self.on_host else sys.maxsize
        self._counter: Array | None = None  # 0, 1, 2, ... for random_bits
        # NumPy buffers the output unless it is told to clip; CuPy has no such choice.
        modes = inspect.signature(xp.take).parameters
        self._take = partial(xp.take, mode="clip") if "mode" in modes else xp.take

    def __repr__(self) -> str:
        return f"<backend {self.name!r}>"

    def runner(self, calls: Sequence[Any]) -> Callable[[], None]:
        """Return a function that runs calls made by this backend's kernels in order."""
        raise NotImplementedError(f"backend {self.name!r} has no calls")

    def prepare(self, calls: Sequence[Any]) -> None:
        """Do once what running these calls will need, such as compiling."""

    def ran_out(self, error: MemoryError) -> bool:
        """Say whether an error means that a device has no more memory."""
        return False

    def room_bytes(self) -> int | None:
        """Return how many bytes can be had now, or None where nobody tells."""
        return room.room_bytes() if self.on_host else None

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        """Return a new array of zeros on the device."""
        return self.xp.zeros(tuple(shape), dtype)

    def upload(self, host: np.ndarray, out: Array) -> None:
        """Copy a host array into a device array of the same shape."""
        out[...] = host

    def feed(self, host: np.ndarray, out: Array) -> None:
        """Copy a batch of data to the device, beside its other work if it can."""
        self.upload(host, out)

    def download(self, array: Array, out: np.ndarray) -> None:
        """Copy a device array into a host array of the same shape."""
        out[...] = array

    def cut(
        self, memory: Array, offset: int, shape: Sequence[int], dtype: str
    ) -> Array:
        """Return the array that starts at a byte of `memory`, an array of bytes."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        return memory[offset : offset + nbytes].view(dtype).reshape(shape)

    def copy(self, source: Array, out: Array) -> None:
        """Copy a blob to another one of equal shape."""
        self.xp.copyto(out, source)

    def same_memory(self, one: Array, other: Array) -> bool:
        """Say whether two arrays of one kernel in two plans are known to be one."""
        if one is other:
            return True
        if not self.on_host or one.shape != other.shape:
            return False
        return bool(one.ctypes.data == other.ctypes.data)

    def fill(self, out: Array, value: float) -> None:
        """Set all values of a blob."""
        out.fill(value)

    def total(self, array: Array) -> float:
        """Return the sum of a blob's values; waits for the device."""
        if array.size == 1:  # as losses are; a sum takes several times as long
            return float(array.item())
        return float(array.sum())

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done."""

    def gemm(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        accumulate: bool = False,
        scratch: Array | None = None,
    ) -> None:
        """Matrix product: out = a @ b, or out += a @ b through `scratch` (out's shape).

        Shapes: a (..., m, k), b (..., k, n) -> out (..., m, n).
        """
        if not accumulate:
            self.xp.matmul(a, b, out=out)
            return
        self.xp.matmul(a, b, out=scratch)
        self.xp.add(out, scratch, out=out)

    def sigmoid(self, x: Array, out: Array) -> None:
        """Compute out = 1 / (1 + exp(-x)).

        It is done as tanh(x / 2) / 2 + 1 / 2, which cannot overflow.

        Shapes: x, out (any, equal); they may be the same array.
        """
        self.xp.multiply(x, 0.5, out=out)
        self.xp.tanh(out, out=out)
        self.xp.multiply(out, 0.5, out=out)
        self.xp.add(out, 0.5, out=out)

    def softplus(self, x: Array, out: Array, scratch: Array) -> None:
        """Compute out = log(1 + exp(x)).

        It is done as max(x, 0) + log(1 + exp(-|x|)), which cannot overflow.

        Shapes: x, out, scratch (any, equal); x and out may be the same array.
        """
        self.xp.absolute(x, out=scratch)
        self.xp.negative(scratch, out=scratch)
        self.xp.exp(scratch, out=scratch)
        self.xp.log1p(scratch, out=scratch)
        self.xp.maximum(x, 0, out=out)
        self.xp.add(out, scratch, out=out)

    def gather(self, values: Array, index: Array, out: Array) -> None:
        """Pick rows by number: out[i] = values[index[i]].

        The caller has checked the numbers; what one out of range picks is undefined.
        Shapes: values (n, ...), index (m) int64 -> out (m, ...).
        """
        self._take(values, index, axis=0, out=out)

    def scatter(self, values: Array, index: Array, out: Array) -> None:
        """Put values by number, no number twice: out[index[i]] = values[i].

        Shapes: values (m), index (m) int64 -> out (n).
        """
        out[index] = values

    def anywhere(self, mask: Array) -> bool:
        """Say whether an element of `mask` is true, where looking costs no waiting.

        A device that runs behind the program is not waited for: False.
        """
        return self.on_host and bool(mask.any())

    def power(self, x: Array, exponent: float, out: Array, scratch: Array) -> None:
        """Compute out = x ** exponent for x > 0; quarters are made of square roots.

        Shapes: x, out, scratch (any, equal); x and out may be the same array.
        """
        quarters = exponent * 4
        if quarters not in (1, 2, 3):
            self.xp.power(x, exponent, out=out)
            return
        # Several times faster than a general power where that has no vector code.
        self.xp.sqrt(x, out=out)
        if quarters == 3:
            self.xp.sqrt(out, out=scratch)
            self.xp.multiply(out, scratch, out=out)
        elif quarters == 1:
            self.xp.sqrt(out, out=out)

    def channel_scratch(self, shape: Sequence[int]) -> ArraySpec:
        """Return the scratch array of `channel_sum` for `shape`."""
        return ArraySpec((shape[0] + 1, shape[1]))

    def dot_scratch(self, shape: Sequence[int]) -> ArraySpec:
        """Return the scratch array of `channel_dot`, which does for `channel_sum` too.

        On the host it has a value for each row and channel, on a device one for each
        element: many small products cost more there than to write the elements out.
        """
        rows = shape[0] if self.on_host else shape[0] * shape[2]
        return ArraySpec((rows + 1, shape[1]))

    def channel_sum(
        self, x: Array, out: Array, scratch: Array, *, accumulate: bool = False
    ) -> None:
        """Sum over all but the middle axis: out, or added to out.

        Shapes: x (o, c, i) -> out (c), scratch as `channel_scratch` says.
        """
        if not accumulate:
            self.xp.sum(x, axis=(0, 2), out=out)
            return
        self.xp.sum(x, axis=(0, 2), out=scratch[-1])
        self.xp.add(out, scratch[-1], out=out)

    def channel_dot(
        self,
        a: Array,
        b: Array,
        out: Array,
        scratch: Array,
        *,
        accumulate: bool = False,
    ) -> None:
        """Sum a * b over all but the middle axis: out, or added to out.

        Shapes: a, b (o, c, i) -> out (c), scratch as `dot_scratch` says.
        """
        part, total = scratch[:-1], scratch[-1]
        if not self.on_host:
            product = part.reshape(a.shape)
            self.xp.multiply(a, b, out=product)
            self.channel_sum(product, out, scratch, accumulate=accumulate)
            return
        if a.shape[2] == 1:
            self.xp.multiply(a[:, :, 0], b[:, :, 0], out=part)
        else:
            # A product of a row and a column for each (o, c): the inner axis is read
            # once and nothing of the size of a is written.
            self.xp.matmul(
                a[:, :, None, :], b[:, :, :, None], out=part[:, :, None, None]
            )
        self.xp.sum(part, axis=0, out=total if accumulate else out)
        if accumulate:
            self.xp.add(out, total, out=out)

    def random_scratch(self, size: int) -> ArraySpec:
        """Return the scratch array that `random_bits` needs for `size` elements."""
        return ArraySpec((min(size, self.random_block),), "uint32")

    def random_bits(self, out: Array, keys: tuple[int, int], scratch: Array) -> None:
        """Fill `out` with 32 random bits an element, a function of `keys` and place.

        `keys` are from `runtime.counter_random.stream_keys`. Every backend gives the
        same bits. Shapes: out (n) uint32, scratch as `random_scratch` says.
        """
        if self._counter is None:
            self._counter = self.xp.arange(self.random_block, dtype="uint32")
        for start in range(0, out.size, self.random_block):
            block = out[start : start + self.random_block]
            self.xp.add(self._counter[: block.size], start, out=block)
            hash_bits(self.xp, block, keys, scratch[: block.size])
