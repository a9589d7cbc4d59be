"""Blobs: named arrays with a gradient, as pycaffe shows them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, layer_label
from netspec.ops.base import Shape, count
from netspec.schema import TRAIN
from runtime.arrays import Array
from runtime.primitives import Primitives


class HostView:
    """A host array that follows a device array.

    On a backend whose arrays are host arrays it is the array itself, or, of parameters,
    a view that the mirror knows of. Elsewhere `read` copies from the device if a step
    has run since the last copy, and what was handed out is copied back before the next
    step, as the caller may have written into it.
    """

    def __init__(
        self, mirror: Mirror, array: Array, *, parameter: bool = False
    ) -> None:
        self._mirror = mirror
        self._parameter = parameter
        self.array = array
        self._host: np.ndarray | None = None
        self._version = -1

    def read(self) -> np.ndarray:
        """Return the current contents as a NumPy array that may be written to."""
        if self._parameter:
            self._mirror.parameters_changed()
        if self._mirror.backend.on_host:
            return self._mirror.lend(self.array) if self._parameter else self.array
        if self._host is None:
            self._host = np.empty(self.array.shape, self.array.dtype)
        if self._version != self._mirror.version:
            self._mirror.backend.download(self.array, out=self._host)
            self._version = self._mirror.version
            self._mirror.handed_out.append(self)
        return self._host

    def write_back(self) -> None:
        """Copy the host array to the device."""
        if self._host is not None:
            self._mirror.backend.upload(self._host, out=self.array)


class _Loan:
    """The base of a view of an array; NumPy keeps it alive for views of the view."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


class Mirror:
    """Keeps the host views of one group of nets in step with the device."""

    def __init__(self, backend: Primitives) -> None:
        self.backend = backend
        self.version = 0
        self.handed_out: list[HostView] = []
        self.exposed = False  # whether others have the arrays themselves
        self._changes = 0
        self._loans: weakref.WeakSet[_Loan] = weakref.WeakSet()
        self._views: weakref.WeakValueDictionary[int, HostView] = (
            weakref.WeakValueDictionary()
        )

    def view(self, array: Array) -> HostView:
        """Return the view of an array of blobs, the same one for everybody.

        Of two host copies one would overwrite what was written into the other.
        """
        found = self._views.get(id(array))
        if found is None:
            found = self._views[id(array)] = HostView(self, array)
        return found

    def parameters_changed(self) -> None:
        """Note that parameters may have been written to."""
        self._changes += 1

    def parameters_version(self) -> int:
        """Return a number that is another one if parameters may have changed."""
        if self.exposed or len(self._loans) > 0:
            self._changes += 1  # whoever has an array may write into it at any time
        return self._changes

    def lend(self, array: np.ndarray) -> np.ndarray:
        """Return a view of parameters; as long as it or a view of it lives is known."""
        loan = _Loan(array)
        self._loans.add(loan)
        return np.asarray(loan)

    def before_steps(self, phase: int = TRAIN) -> None:
        """Bring to the device what was handed out, and expect it to change.

        Steps of the phase TRAIN may also change parameters.
        """
        if phase == TRAIN:
            self.parameters_changed()
        for view in self.handed_out:
            view.write_back()
        self.handed_out.clear()
        self.version += 1


class Blob:
    """A named array and its gradient; `data` and `diff` are live NumPy arrays."""

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
            self._zeros = np.zeros(self._shape, self._data.array.dtype)
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


def assign(target: np.ndarray, value: Any, what: str) -> None:
    """Write values of equal shape into an array; `what` names it in the error."""
    array = np.asarray(value)
    if array.shape != target.shape:
        raise ShapeError(
            f"{what} has shape {target.shape}, got {array.shape}; reshape the blob or "
            f"the array first"
        )
    target[...] = array
