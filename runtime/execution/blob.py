"""Blobs: named arrays with a gradient, as pycaffe shows them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netspec.errors import SpecError, layer_label
from netspec.ops.base import Shape, count
from runtime.execution.mirror import HostView


class Blob:
    """A named array and its gradient; `data` and `diff` are live NumPy arrays.

    Live: they show what passes compute and take what is written into them, also if
    they are kept for later. On a device `Mirror` sees to that, and says what it costs.
    An array that is kept while the net has other shapes stays as it was, and is no part
    of the net.
    """

    def __init__(
        self,
        name: str,
        shape: Shape,
        data: HostView | None,
        diff: HostView | None,
        reshape: Callable[[Shape], None] | None = None,
    ) -> None:
        self.name = name
        self._reshape = reshape
        self._staged: np.ndarray | None = None
        self.rebind(shape, data, diff)

    def rebind(
        self, shape: Shape, data: HostView | None, diff: HostView | None
    ) -> None:
        """Point this blob at other arrays (after the net was reshaped)."""
        self._shape = shape
        self._data = data
        self._diff = diff
        self._zeros: np.ndarray | None = None
        staged, self._staged = self._staged, None
        if staged is not None and data is not None and staged.shape == shape:
            data.read()[...] = staged

    @property
    def shape(self) -> Shape:
        """The sizes of all axes; a change made by `reshape` shows at once."""
        return self._shape if self._staged is None else self._staged.shape

    @property
    def data(self) -> np.ndarray:
        """The values. Writing into the array changes the blob."""
        if self._staged is not None:
            return self._staged
        if self._data is None:
            raise self._not_kept("data")
        return self._data.read()

    @property
    def diff(self) -> np.ndarray:
        """The gradient; zeros where none is computed."""
        if self._diff is not None:
            return self._diff.read()
        if self._data is None:
            raise self._not_kept("diff")
        if self._zeros is None:
            self._zeros = np.zeros(self._shape, self._data.dtype)
        return self._zeros

    @property
    def count(self) -> int:
        """The number of elements."""
        return count(self.shape)

    num = property(lambda self: self._legacy(0), doc="Axis 0 of four, 1 if absent.")
    channels = property(lambda self: self._legacy(1), doc="Axis 1 of four.")
    height = property(lambda self: self._legacy(2), doc="Axis 2 of four.")
    width = property(lambda self: self._legacy(3), doc="Axis 3 of four.")

    def reshape(self, *shape: int) -> None:
        """Give an input blob another shape.

        The net follows at its `reshape` or at the next `forward`; values written in
        between are kept.
        """
        sizes = tuple(int(size) for size in shape)
        if sizes == self.shape:
            return
        if self._reshape is None:
            raise SpecError(
                f"blob {self.name!r} is computed from others, so its shape cannot be "
                f"set; reshape the net's inputs instead"
            )
        if any(size < 0 for size in sizes):
            raise SpecError(
                f"blob {self.name!r}: cannot have shape {sizes}; sizes must be >= 0"
            )
        self._reshape(sizes)
        self._staged = np.zeros(sizes, self.data.dtype)

    def cancel_reshape(self) -> None:
        """Forget a shape that the net could not take."""
        self._staged = None

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise SpecError(
                f"blob {self.name!r} has {len(self.shape)} axes; num, channels, height "
                f"and width exist for up to 4. Use shape."
            )
        return self.shape[axis] if axis < len(self.shape) else 1

    def _not_kept(self, what: str) -> SpecError:
        return SpecError(
            f"blob {self.name!r}: its {what} is not kept, because the net was made "
            f"with keep=...; add {self.name!r} to keep, or use keep=None"
        )

    def __repr__(self) -> str:
        return f"<Blob {self.name!r} {self.shape}>"


class BlobVec(list[Blob]):
    """The parameters of a layer: a list, with the name that its type has in pycaffe."""


class LayerInfo:
    """One layer of a built net, as pycaffe's `net.layers[i]`: `type` and `blobs`."""

    def __init__(self, name: str, layer_type: str, blobs: list[Blob]) -> None:
        self.name = name
        self.type = layer_type
        self.blobs = blobs

    def __repr__(self) -> str:
        return f"<{layer_label(self.name, self.type)}, {len(self.blobs)} parameters>"
