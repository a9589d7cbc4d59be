"""Layers that bring data into a net, take it out, or hold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError
from netspec.ops import data as ops
from netspec.ops.base import Shape, label
from runtime.counter_random import stream_keys
from runtime.data.feeding import FedSource
from runtime.data.opening import DATA_LAYERS, changed_shapes
from runtime.data.source import Source
from runtime.fillers import fill
from runtime.layers.base import Kernel, TopsChanged, register


class _Source(Kernel[ops.Input]):
    """A layer without bottoms."""

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: nothing can receive a gradient."""


class _Batches(_Source):
    """A layer that takes a batch of a source in each forward pass."""

    def forward(self) -> None:
        """Take the next batch to the device."""
        self._take(self.context.sources[self.op.name])

    def _take(self, source: Source) -> None:
        shapes = changed_shapes(source, [y.shape for y in self.tops])
        if shapes is not None:
            raise TopsChanged(self.node.index, shapes)
        if isinstance(source, FedSource) and source.into(self.tops):
            return
        batch = source.next()
        for values, y in zip(batch, self.tops, strict=True):
            self.backend.feed(values.reshape(y.shape), out=y)


@register
class Input(_Batches):
    """Blobs that the caller fills, or a source where the net is fed.

    Shapes: -> y_i as `input_param` says.
    """

    types = ("Input",)

    def forward(self) -> None:
        """Take the next batch, or do nothing: the values are there."""
        source = self.context.sources.get(self.op.name)
        if source is not None:
            self._take(source)


@register
class FileSource(_Batches):
    """Batches from a file, from a database or from arrays.

    The net opens a source for every such layer; each forward pass takes one batch. A
    batch of other shapes than the last one gives the net its own.

    Shapes: -> y_i as the source says.
    """

    types = tuple(DATA_LAYERS)


@register
class DummyData(Kernel[ops.DummyData]):
    """Blobs filled by fillers: once if constant, else anew in every forward pass.

    What is drawn is a function of the seed, the layer's name and the number of the
    forward pass. It is drawn on the host, so this layer is for trying things out.

    Shapes: -> y_i as `dummy_data_param` says.
    """

    types = ("DummyData",)
    _filled = False

    def refill(self) -> None:
        """Fill what stays."""
        self._filled = True
        for index, filler in enumerate(self.op.data_filler):
            if filler.type == "constant":
                self.backend.fill(self.tops[index], filler.value)

    def forward(self) -> None:
        """Draw what does not stay."""
        if not self._filled:
            self.refill()
        context = self.context
        for index, filler in enumerate(self.op.data_filler):
            if filler.type == "constant":
                continue
            y, name = self.tops[index], self.op.name
            keys = stream_keys(context.seed, name, context.clock.value, index)
            what = f"{label(self.op.layer)}, top {index}"
            values = fill(y.shape, filler, np.random.default_rng(keys), what)
            self.backend.upload(values, out=y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: nothing can receive a gradient."""


@register
class Parameter(Kernel[ops.Parameter]):
    """A learned array as a blob.

        y = w;  dw = dy

    Caffe lets the top and the parameter share memory, so that its gradient is
    overwritten in every pass; here gradients add up as for every other parameter.

    Shapes: -> y (like w).
    """

    types = ("Parameter",)

    def forward(self) -> None:
        """Copy the parameter."""
        self.xp.copyto(self.y, self.params[0])

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Copy or add the gradient."""
        dw = self.dparams[0]
        if dw is None:
            return
        if accumulate[0]:
            self.xp.add(dw, self.dy, out=dw)
        else:
            self.xp.copyto(dw, self.dy)


@register
class HDF5Output(Kernel[ops.HDF5Output]):
    """Write two blobs to a file, as the data sets `data` and `label`.

    The first forward pass of a net replaces the file; each later one adds its batch at
    the end, where Caffe stops with an error. Both sets always have 4 axes.

    Shapes: data (N, ...), label (N, ...), 4 axes at most -> nothing.
    """

    types = ("HDF5Output",)

    def setup(self) -> None:
        """Find h5py and make room on the host."""
        try:
            import h5py
        except ImportError as error:
            raise MachineError(
                f"{label(self.op.layer)}: writing HDF5 needs the package h5py; install "
                f"it with: pip install h5py"
            ) from error
        self._open = h5py.File
        self._hosts = [np.empty(x.shape, str(x.dtype)) for x in self.bottoms]
        self.mode = "w"

    def go_on_from(self, other: Kernel[ops.HDF5Output]) -> None:
        """Add to the file that this net has begun."""
        if isinstance(other, HDF5Output):
            self.mode = other.mode

    def forward(self) -> None:
        """Write the batch."""
        name = self.op.file_name
        try:
            with self._open(name, self.mode) as file:
                pairs = zip(("data", "label"), self.bottoms, self._hosts, strict=True)
                for key, x, host in pairs:
                    self.backend.download(x, host)
                    self._append(file, key, host.reshape(_four_axes(x.shape)))
        except OSError as error:
            raise FileError(
                f"{label(self.op.layer)}: cannot write hdf5_output_param.file_name "
                f"{name!r}: {error}"
            ) from error
        self.mode = "a"

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: there is no gradient."""

    def _append(self, file: Any, key: str, values: np.ndarray) -> None:
        """Add `values` at the end of the data set `key`, made where it is missing."""
        if key not in file:
            limits = (None, *values.shape[1:])
            file.create_dataset(key, data=values.astype(np.float32), maxshape=limits)
            return
        old, *item = file[key].shape
        if tuple(item) != values.shape[1:]:
            raise FileError(
                f"{label(self.op.layer)}: {self.op.file_name!r} has items of shape "
                f"{tuple(item)} in {key!r}, this batch {values.shape[1:]}; a data set "
                f"has items of one shape, so give the images one size"
            )
        file[key].resize(old + values.shape[0], axis=0)
        file[key][old:] = values


def _four_axes(shape: Shape) -> Shape:
    return shape + (1,) * (4 - len(shape))
