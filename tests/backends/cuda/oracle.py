"""Own kernels of the device against the portable kernels on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from runtime.backends.cuda import CudaBackend
from runtime.backends.cuda.converted import Converted
from runtime.backends.cuda.layer import STORAGE, CudaLayer
from runtime.backends.cuda.storage import from_bits, to_bits
from runtime.backends.cuda.tensor import Order, Place, Tensor, made
from runtime.backends.portable import PortableBackend
from tests.layers.harness import LoneLayer

PORTABLE = PortableBackend()
# Of the largest value of an array: what rounding may do under each precision.
TOLERANCE = {"float32": 2e-5, "tf32": 2e-3, "bf16": 2e-2, "fp16": 3e-3}
KEPT_BITS = 8  # of a value, by bfloat16


def rounded(values: Any, precision: str) -> np.ndarray:
    """Return values as the storage of a precision holds them."""
    values = np.asarray(values, np.float64)
    if precision == "fp16":
        return values.astype(np.float16).astype(np.float64)
    if precision != "bf16":
        return values
    mantissa, exponent = np.frexp(values)
    scale = 2.0**KEPT_BITS
    return np.ldexp(np.rint(mantissa * scale) / scale, exponent)


def check_own(
    backend: CudaBackend,
    text: str,
    bottoms: Sequence[Any],
    *,
    precision: str = "float32",
    params: Sequence[Any] | None = None,
    tolerance: float | None = None,
    runs: int = 3,
    own: type[CudaLayer] | None = None,
    order: Order | None = None,
    **options: Any,
) -> LoneLayer:
    """Compare an own kernel with the portable one, forward and backward.

    bottoms: for each bottom a shape, filled with normal values, or an array. own: the
    class that must have been taken. order: of the blobs, which then lie in it, in 16
    bits where they may; None for plain arrays.

    Runs it several times: one by one, then captured. Gradients of parameters are
    stored, then added to what is there.
    """
    rng = np.random.default_rng(5)
    values = [
        rounded(rng.normal(size=one) if isinstance(one, tuple) else one, precision)
        for one in bottoms
    ]
    shapes = [value.shape for value in values]
    settings: Any = {"backend": backend, "dtype": "float32", "precision": precision}
    if order is None:
        fast = LoneLayer(text, shapes, **settings, **options)
    else:
        fast = PlacedLayer(text, shapes, order=order, **settings, **options)
    kernel = fast.kernel
    assert isinstance(kernel, Converted)
    assert isinstance(kernel.inner, own or CudaLayer), "the portable kernel was taken"
    slow = LoneLayer(text, shapes, backend=PORTABLE, dtype="float64", **options)
    if params is None:
        params = [rng.normal(size=one.shape) for one in slow.op.params]
    limit = TOLERANCE[precision] if tolerance is None else tolerance
    dtops = [rounded(rng.normal(size=one), precision) for one in slow.op.tops]
    before = [rng.normal(size=one.shape) for one in slow.op.params]
    state = [np.array(one) for one in params]
    for run in range(runs):
        add = run % 2 == 1
        want = slow.forward(values, state)
        got = fast.forward(values, state)
        for index, (one, other) in enumerate(zip(got, want, strict=True)):
            close(one, other, limit, f"run {run}, top {index}")
        for one, other in zip(fast.params(), slow.params(), strict=True):
            close(one, other, limit, f"run {run}, parameter")
        if not slow.op.tops or not any((*slow.differentiable, *slow.learnable)):
            continue
        flags = (add,) * len(state)
        want_b = slow.backward(dtops, flags, before if add else None)
        got_b = fast.backward(dtops, flags, before if add else None)
        for what, mine, theirs in zip(
            ("bottom", "parameter"), got_b, want_b, strict=True
        ):
            for index, (one, other) in enumerate(zip(mine, theirs, strict=True)):
                if other is not None:
                    close(one, other, limit, f"run {run}, gradient of {what} {index}")
        state = slow.params()
    return fast


def close(got: Any, want: Any, limit: float, what: str) -> None:
    """Compare relative to the largest value; NaN must meet NaN."""
    finite = np.abs(want)[np.isfinite(want)]
    largest = float(finite.max(initial=0)) or 1.0
    np.testing.assert_allclose(
        got, want, rtol=0, atol=limit * largest, equal_nan=True, err_msg=what
    )


class PlacedLayer(LoneLayer):
    """A lone layer whose blobs lie in places of their own, not as Caffe has them.

    order: of all blobs. Those that may be of 16 bits are, where the precision says so.
    """

    backend: CudaBackend

    def __init__(self, *args: Any, order: Order = "last", **options: Any) -> None:
        self._order: Order = order
        super().__init__(*args, **options)

    def _allocate(self, propagate: Sequence[bool], learn: Sequence[bool]) -> None:
        kernel: Any = self.kernel
        storage: Any = STORAGE[kernel.context.precision]
        bottoms, tops = (
            [Place(self._order, storage if half else "float32") for half in one.half]
            for one in kernel.wanted
        )
        kernel.settle(bottoms, tops)
        self._specs = kernel.arrays()
        super()._allocate(propagate, learn)
        placed: dict[int, Any] = {}

        def moved(blobs: Sequence[Any], places: Sequence[Place]) -> tuple[Any, ...]:
            for blob, place in zip(blobs, places, strict=True):
                if blob is not None and id(blob) not in placed:
                    new = made(self.backend.zeros, blob.shape, place, "float32")
                    placed[id(blob)] = new
            return tuple(None if one is None else placed[id(one)] for one in blobs)

        data = moved(self.bound.bottoms, bottoms)
        shared = data[:1] * len(tops)  # of a Split
        self.bound = replace(
            self.bound,
            bottoms=data,
            tops=moved(self.bound.tops, tops) if not self.op.alias else shared,
            dbottoms=moved(self.bound.dbottoms, bottoms),
            dtops=moved(self.bound.dtops, tops),
        )

    # Values are put where they lie by NumPy: conversions by the device would have to be
    # compiled for every shape, and have tests of their own.

    def _host(self, array: Any) -> np.ndarray:
        if not isinstance(array, Tensor):
            return super()._host(array)
        memory, place, shape = array.array, array.place, array.shape
        bits = np.empty(memory.shape, str(memory.dtype))
        self.backend.device.download(memory, bits)
        values = from_bits(bits, place.storage)
        if place.order == "first" or len(shape) < 3:
            return values.reshape(shape)
        last = values.reshape((shape[0], *shape[2:], shape[1]))
        return np.ascontiguousarray(np.moveaxis(last, -1, 1))

    def _set(self, array: Any, values: Any) -> None:
        if not isinstance(array, Tensor):
            super()._set(array, values)
            return
        host = np.array(values, np.float32).reshape(array.shape)
        if array.place.order == "last" and host.ndim > 2:
            host = np.moveaxis(host, 1, -1)
        bits = to_bits(np.ascontiguousarray(host).ravel(), array.place.storage)
        self.backend.device.upload(bits, array.array)

    def _spoil(self, arrays: Sequence[Any], but: Sequence[Any]) -> None:
        for array in arrays:
            if isinstance(array, Tensor) and not any(array is kept for kept in but):
                half = array.array.dtype == np.uint16
                array.array[...] = 0x7FFF if half else np.nan  # a NaN of both halves
        plain = [array for array in arrays if not isinstance(array, Tensor)]
        super()._spoil(plain, but)
