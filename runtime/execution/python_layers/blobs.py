"""Blobs as a layer written in Python sees them."""

from __future__ import annotations

import numpy as np

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import MAX_COUNT, Shape, count
from runtime.execution.blob import Blob
from runtime.execution.mirror import HostView


class LayerBlob(Blob):
    """A bottom, a top or a learned array of a layer written in Python.

    It stays the same object as long as the net lives. `data` and `diff` are NumPy
    arrays on every backend; `blob.data = x` writes into the array as
    `blob.data[...] = x` does. Until the net has its memory, and while the layer has
    given it another shape than the net knows of, the blob has arrays of its own.

    fixed: why its shape cannot be set, or "". is_shaped: whether the layer has given
    it a shape.
    """

    def __init__(self, name: str, dtype: str, shape: Shape = (0,)) -> None:
        super().__init__(name, shape, None, None)
        self.fixed = ""
        self.is_shaped = False
        self._dtype = dtype
        self._staged = np.zeros(shape, dtype)
        self._staged_diff: np.ndarray | None = None
        self._held: tuple[np.ndarray | None, np.ndarray | None] | None = None

    @property
    def data(self) -> np.ndarray:
        """The values."""
        if self._staged is not None or self._data is None:
            return self._own()
        return self._data.read()

    @data.setter
    def data(self, values: object) -> None:
        self.data[...] = values

    @property
    def diff(self) -> np.ndarray:
        """The gradient; an array of zeros where none is computed, to write into."""
        if self._staged is None:
            if self._diff is not None:
                return self._diff.read()
            if self._zeros is None:
                self._zeros = np.zeros(self._shape, self._dtype)
            return self._zeros
        if self._staged_diff is None:
            self._staged_diff = np.zeros(self.shape, self._dtype)
        return self._staged_diff

    @diff.setter
    def diff(self, values: object) -> None:
        self.diff[...] = values

    @property
    def has_own_shape(self) -> bool:
        """Whether its shape is not the one that the net knows of."""
        return self._staged is not None

    def reshape(self, *shape: int) -> None:
        """Give the blob another shape; without sizes it holds one value, without axes.

        Values keep their places in the flat array, as in Caffe; new ones are 0.

        Raises `SpecError` for what is no size, `ShapeError` for a blob whose shape is
        not the layer's to set.
        """
        sizes = self._sizes(shape)
        self.is_shaped = True
        if sizes == self.shape:
            return
        if self.fixed:
            raise ShapeError(
                f"blob {self.name!r}: cannot be given shape {sizes} in place of "
                f"{self.shape}: {self.fixed}"
            )
        before = self.data.reshape(-1)
        self.stage(sizes)
        size = min(before.size, self.count)
        self.data.reshape(-1)[:size] = before[:size]

    def stage(self, shape: Shape) -> None:
        """Take a shape without being asked; the values are zeros or what was there."""
        if shape == self.shape:
            return
        known = self._data is not None and shape == self._shape
        self._staged = None if known else np.zeros(shape, self._dtype)
        self._staged_diff = None

    def forget(self) -> None:
        """Go back to the shape that the net knows of."""
        if self._data is not None:
            self._staged = self._staged_diff = None

    def hold(self, *, data: bool = False, diff: bool = False) -> None:
        """Copy what `bind` is to keep, ahead of a change of the memory."""
        if self._held is not None:
            return  # for a layer that has been left out meanwhile
        gradient = self._known_diff() if diff else None
        self._held = (
            self.data.copy() if data else None,
            None if gradient is None else gradient.copy(),
        )

    def bind(
        self,
        data: HostView,
        diff: HostView | None,
        *,
        keep_data: bool = False,
        keep_diff: bool = False,
    ) -> None:
        """Take arrays of the net; what is kept is copied if the shapes are equal."""
        same = self.shape == data.shape
        held, self._held = self._held, None
        if held is not None:
            values, gradient = (
                one if one is not None and one.shape == data.shape else None
                for one in held
            )
        else:
            values = self.data if keep_data and same else None
            gradient = self._known_diff() if keep_diff and same else None
        self._staged = self._staged_diff = None
        self.rebind(data.shape, data, diff)
        if values is not None and not data.shows(values):
            self.data[...] = values
        if gradient is not None and not (diff and diff.shows(gradient)):
            self.diff[...] = gradient
        elif keep_diff and gradient is None and diff is not None:
            self.diff[...] = 0  # where others worked; the layer may leave it as it is

    def lend_diff(self, diff: HostView | None) -> HostView | None:
        """Show another gradient, and return the one that was shown."""
        before, self._diff = self._diff, diff
        return before

    def _known_diff(self) -> np.ndarray | None:
        """Return the gradient if somebody can have written into it."""
        if self._staged is not None:
            return self._staged_diff
        return self._zeros if self._diff is None else self._diff.read()

    def _own(self) -> np.ndarray:
        if self._staged is None:
            self._staged = np.zeros(self._shape, self._dtype)
        return self._staged

    def _legacy(self, axis: int) -> int:
        # Which of more axes is the height nobody can tell; the first two are clear.
        if axis < 2:
            return self.shape[axis] if axis < len(self.shape) else 1
        return super()._legacy(axis)

    def _sizes(self, shape: tuple[int, ...]) -> Shape:
        try:
            sizes = tuple(int(size) for size in shape)
            right = all(
                one == size >= 0 for one, size in zip(shape, sizes, strict=True)
            )
        except (TypeError, ValueError):
            sizes, right = (), False
        if not right or count(sizes) > MAX_COUNT:
            raise SpecError(
                f"blob {self.name!r}: cannot have shape {shape}; give a whole number "
                f"from 0 for each axis, as in reshape(2, 3) or reshape(*shape), at "
                f"most {MAX_COUNT} values in all"
            )
        return sizes


class LayerBlobs(list[LayerBlob]):
    """The learned arrays of a layer: a list that `setup` may add to."""

    def __init__(self, owner: str, dtype: str) -> None:
        super().__init__()
        self.fixed = False
        self._owner = owner
        self._dtype = dtype

    def add_blob(self, *shape: int) -> None:
        """Add a learned array of zeros; without sizes it is one value without axes.

        Raises `SpecError` after `setup`, when the net has its parameters.
        """
        if self.fixed:
            raise SpecError(
                f"{self._owner}: add_blob was called after the net was made; add what "
                f"is learned in setup"
            )
        blob = LayerBlob(f"{self._owner}[{len(self)}]", self._dtype)
        blob.reshape(*shape)
        self.append(blob)
