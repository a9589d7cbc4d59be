"""Products and convolutions of the host device, by NumPy, at addresses as in C."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.products import Product, operands, product_on_host
from runtime.backends.cuda.storage import from_bits, to_bits
from runtime.backends.cuda.tensor import CARRIERS

Do = Callable[[str, Callable[[], None]], None]


class _Place:
    """Memory that somebody else owns, as NumPy reads it."""

    def __init__(self, address: int, elements: int, dtype: str) -> None:
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (elements,),
            "typestr": np.dtype(dtype).str,
            "version": 3,
        }


def at_address(
    address: int, elements: int, dtype: str, alignment: int = 16
) -> np.ndarray:
    """Return the elements that start at an address as an array."""
    assert address, "a null pointer"
    assert address % alignment == 0, f"an operand is not aligned to {alignment} bytes"
    return np.asarray(_Place(address, elements, dtype))


class HostProduct:
    """A product as `product_on_host` computes it."""

    def __init__(self, product: Product, do: Do) -> None:
        self.product, self._do = product, do
        self.workspace_bytes = 64

    def run(self, addresses: Mapping[str, int], workspace: int, stream: int) -> None:
        assert workspace % 256 == 0 < workspace
        arrays = {
            name: at_address(
                addresses[name],
                one.elements,
                CARRIERS[one.storage],
                self.product.aligned(one.storage),
            )
            for name, one in operands(self.product).items()
        }
        a, b, out = arrays["a"], arrays["b"], arrays["out"]
        bias = arrays.get("bias")
        self._do("products", lambda: product_on_host(self.product, a, b, out, bias))


class HostConvolution:
    """A convolution by products of unfolded images, all in float32."""

    def __init__(self, convolution: Convolution, do: Do) -> None:
        self.convolution, self._do = convolution, do
        self.workspace_bytes = 64

    def run(self, addresses: Mapping[str, int], workspace: int, stream: int) -> None:
        assert workspace % 256 == 0 < workspace
        self._do("convolutions", lambda: self._compute(addresses))

    def _compute(self, addresses: Mapping[str, int]) -> None:
        c = self.convolution
        result, output = self._result(addresses), c.output
        if c.kind == "forward" and c.bias:
            bias = self._read(addresses, "bias", (1, c.y[1]), c.bias_storage)
            result = result + bias.reshape(-1, *(1,) * len(c.stride))
        if c.add:
            result = result + self._read(addresses, "add", getattr(c, output))
        if c.relu and c.kind == "forward":
            result = np.maximum(result, 0)
        elif c.relu:
            mask = self._read(addresses, "mask", c.x)
            result = np.where(mask > 0, result, 0)
        memory = self._memory(addresses, output, getattr(c, output))
        flat = np.moveaxis(result, 1, -1).reshape(-1)
        memory[:] = flat if c.storage == "float32" else to_bits(flat, c.storage)

    def _memory(
        self, addresses: Any, name: str, shape: tuple[int, ...], storage: str = ""
    ) -> np.ndarray:
        dtype = CARRIERS[storage or self.convolution.storage]
        return at_address(addresses[name], math.prod(shape), dtype)

    def _read(
        self, addresses: Any, name: str, shape: tuple[int, ...], storage: str = ""
    ) -> np.ndarray:
        storage = storage or self.convolution.storage
        values = self._memory(addresses, name, shape, storage)
        if storage != "float32":
            values = from_bits(values, storage)
        return np.moveaxis(values.reshape(shape[0], *shape[2:], shape[1]), -1, 1)

    def _result(self, addresses: Any) -> np.ndarray:
        c = self.convolution
        parts = {
            name: np.split(
                self._read(addresses, name, getattr(c, name)),
                c.groups,
                axis=0 if name == "w" else 1,
            )
            for name in ("x", "w", "y")
            if name != c.output
        }
        compute = {
            "forward": self._forward,
            "input_gradient": self._input_gradient,
            "weight_gradient": self._weight_gradient,
        }[c.kind]
        groups = [
            compute(*(many[g] for many in parts.values())) for g in range(c.groups)
        ]
        return np.concatenate(groups, axis=0 if c.kind == "weight_gradient" else 1)

    def _windows(self, x: np.ndarray) -> np.ndarray:
        """Return (N, C, places..., kernel...) of x, padded."""
        c, spatial = self.convolution, len(self.convolution.stride)
        x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in c.pad)])
        extent = [d * (k - 1) + 1 for k, d in zip(c.w[2:], c.dilation, strict=True)]
        windows = sliding_window_view(x, extent, axis=tuple(range(2, 2 + spatial)))
        steps = [slice(None, None, s) for s in c.stride]
        inner = [slice(None, None, d) for d in c.dilation]
        return windows[(slice(None), slice(None), *steps, *inner)]

    def _forward(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        spatial = len(self.convolution.stride)
        axes = [1, *range(2 + spatial, 2 + 2 * spatial)]
        result = np.tensordot(self._windows(x), w, (axes, range(1, w.ndim)))
        return np.moveaxis(result, -1, 1)

    def _weight_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        spatial = len(self.convolution.stride)
        axes = [0, *range(2, 2 + spatial)]
        return np.tensordot(y, self._windows(x), (axes, axes))

    def _input_gradient(self, w: np.ndarray, y: np.ndarray) -> np.ndarray:
        c = self.convolution
        columns = np.tensordot(y, w, (1, 0))  # N places... C kernel...
        columns = np.moveaxis(columns, 1 + len(c.stride), 1)
        padded = [n + 2 * p for n, p in zip(c.x[2:], c.pad, strict=True)]
        out = np.zeros((c.x[0], w.shape[1], *padded), np.float32)
        for place in np.ndindex(*c.w[2:]):
            into = tuple(
                slice(d * k, d * k + s * n, s)
                for k, d, s, n in zip(
                    place, c.dilation, c.stride, y.shape[2:], strict=True
                )
            )
            out[(slice(None), slice(None), *into)] += columns[(..., *place)]
        inner = tuple(slice(p, p + n) for p, n in zip(c.pad, c.x[2:], strict=True))
        return out[(slice(None), slice(None), *inner)]
