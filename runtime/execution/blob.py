"""Blobs: named arrays with a gradient, as pycaffe shows them."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, layer_label
from netspec.ops.base import Shape, count
from runtime.execution.arguments import integer, refuse_copy
from runtime.execution.assigning import assign
from runtime.execution.mirror import HostView


class Blob:
    """A named array and its gradient; `data` and `diff` are live NumPy arrays.

    Live: they show what passes compute and take what is written into them, also if
    they are kept for later. On a device `Mirror` sees to that, and says what it costs.
    An array that is kept while the net has other shapes stays as it was, and is no part
    of the net.
    """

    ask: Callable[[str], None] | None = None  # called before the array is handed out
    ask_diff: Callable[[str], None] | None = None  # and before that of the gradient

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
        if self.ask is not None:
            self.ask(self.name)
        return self._data.read()

    @data.setter
    def data(self, values: Any) -> None:
        _set(self.data, values, f"blob {self.name!r}")

    @property
    def diff(self) -> np.ndarray:
        """The gradient; zeros where none is computed."""
        if self.ask_diff is not None:
            self.ask_diff(self.name)
        if self._diff is not None:
            return self._diff.read()
        if self._data is None:
            raise self._not_kept("diff")
        if self._zeros is None:
            self._zeros = np.zeros(self._shape, self._data.dtype)
        return self._zeros

    @diff.setter
    def diff(self, values: Any) -> None:
        if self.ask_diff is not None:
            self.ask_diff(self.name)
        if self._diff is None:
            raise SpecError(
                f"blob {self.name!r}: no gradient of it is computed, so none can be "
                f"set; force_backward: true in the net computes those of inputs"
            )
        _set(self.diff, values, f"gradient of blob {self.name!r}")

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> np.ndarray:  # what NumPy makes of a blob
        values = np.asarray(self.data, dtype)
        shares = values.base is not None or values is self.data
        return values.copy() if copy and shares else values

    def __getitem__(self, place: Any) -> Any:
        raise NoSuchPart(f"a blob has no parts; its values are blob.data[{place!r}]")

    def __setitem__(self, place: Any, values: Any) -> None:
        at = "..." if place is ... else repr(place)
        raise NoSuchPart(f"a blob has no parts; write blob.data[{at}] = values")

    def __float__(self) -> float:
        if self.data.size != 1:
            raise ShapeError(
                f"blob {self.name!r} of shape {self.shape} is not one number; take one "
                f"of blob.data"
            )
        return float(self.data.reshape(-1)[0])

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise refuse_copy("Blob", "blob.data.copy() is an array of its own")

    @property
    def count(self) -> int:
        """The number of elements."""
        return count(self.shape)

    num = property(lambda self: self._legacy(0), doc="Axis 0 of four, 1 if absent.")
    channels = property(lambda self: self._legacy(1), doc="Axis 1 of four.")
    height = property(lambda self: self._legacy(2), doc="Axis 2 of four.")
    width = property(lambda self: self._legacy(3), doc="Axis 3 of four.")

    def reshape(self, *shape: Any) -> None:
        """Give an input blob another shape: its sizes, or one tuple of them.

        The net follows at its `reshape` or at the next `forward`; values written in
        between are kept.
        """
        given = (
            shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        )
        if isinstance(given, str):
            raise SpecError(f"blob {self.name!r}: the shape is {given!r}; give sizes")
        what = f"blob {self.name!r}: a size"
        sizes = tuple(integer(size, what) for size in given)
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


def _set(target: np.ndarray, values: Any, what: str) -> None:
    """Copy an array of the same shape, or one number to all places."""
    if isinstance(values, numbers.Real):
        target.fill(values)
    else:
        assign(target, values, what)


class NoSuchPart(SpecError, LookupError, AttributeError, TypeError):
    """A part of a blob, or a parameter of a layer, that is not there."""


class BlobVec(list[Blob]):
    """The parameters of a layer: a list, with the name that its type has in pycaffe."""

    def __getitem__(self, place: Any) -> Any:
        try:
            return super().__getitem__(place)
        except (IndexError, TypeError):
            raise NoSuchPart(
                f"no parameter {place!r}: {self._held()}, by number from 0"
            ) from None

    def __setitem__(self, place: Any, values: Any) -> None:
        raise SpecError(
            f"a parameter is a blob of the net; write .data, as in "
            f"net.params[...][{place!r}].data = values"
        )

    def __getattr__(self, name: str) -> Any:
        if name in {"data", "diff", "shape", "reshape"}:
            raise NoSuchPart(
                f"this is a list of the parameters of a layer: {self._held()}; "
                f"[0].{name} is that of the first"
            )
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def _held(self) -> str:
        shapes = ", ".join(str(one.shape) for one in self)
        return f"{len(self)} of shape {shapes}" if len(self) else "there are none"


class LayerInfo:
    """One layer of a built net, as pycaffe's `net.layers[i]`: `type` and `blobs`."""

    def __init__(self, name: str, layer_type: str, blobs: list[Blob]) -> None:
        self.name = name
        self.type = layer_type
        self.blobs = blobs

    def __repr__(self) -> str:
        return f"<{layer_label(self.name, self.type)}, {len(self.blobs)} parameters>"
