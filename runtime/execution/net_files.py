"""The files and arrays that a net reads and writes."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.graph import Graph
from netspec.nets.current import current
from netspec.nets.filter import KeptNet, drop_blobs
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter, NetParameter
from netspec.text import values_apart
from netspec.weights.names import Names
from runtime.data import MemorySource
from runtime.data.source import Source
from runtime.execution import weights as weight_files
from runtime.execution.blob import Blob


def given_net(net: Any) -> tuple[NetParameter, str | None]:
    """Return a net in the current form, and the file of its values.

    None stands for the file where the net itself holds them, if there are any: only
    what no message can hold is copied from the file, as weights are.
    """
    if not values_apart(net):
        return current(net), None
    return drop_blobs(current(net, values=False)), os.fspath(net)


def without_values(net: NetParameter) -> NetParameter:
    """Return a copy of a net in the current form, without the values of parameters."""
    copy = NetParameter()
    if not any(layer.blobs for layer in net.layer):
        copy.CopyFrom(net)
        return copy
    for field, value in net.ListFields():
        if field.name != "layer":
            copy.MergeFrom(NetParameter(**{field.name: value}))
    for layer in net.layer:
        fields = {f.name: held for f, held in layer.ListFields() if f.name != "blobs"}
        copy.layer.append(LayerParameter(**fields))
    return copy


class NetFiles:
    """How a `Net` reads and writes parameters, and where its data come from."""

    graph: Graph
    params: OrderedDict[str, list[Blob]]
    sources: dict[str, Source]
    _pending: dict[str, Shape]
    _kept_net: KeptNet

    @property
    def _message(self) -> NetParameter:
        """The net in the current form, with the layers that run; scripts read it."""
        return self._kept_net.message

    @property
    def text(self) -> str:
        """The net in the current form, with the layers that run, as prototxt."""
        return str(self._message)

    def copy_from(self, path: str | Path, names: Names | None = None) -> Any:
        """Copy parameters from a file, by layer name; returns what was copied.

        path: a `.caffemodel`, HDF5, safetensors or npz file, or what PyTorch saves.
        names: what layers of the file are called in this net, as `{"theirs": "ours"}`,
        as a function of their name, or as pairs of a regular expression and what takes
        the place of a name that fits it; None leaves a layer out. Others are copied by
        equal names.

        Warns of a file that gives nothing, and of layers that it leaves as they are.
        Raises `ShapeError` where shapes differ, `SpecError` for a name that the file or
        the net does not have, `FileError` for a file that cannot be read; then nothing
        is copied.
        """
        report = weight_files.copy_into([self], path, names)
        weight_files.warn_of_rest([path], [report])
        return report

    def copy_values(self, path: str) -> None:
        """Copy the parameters of the file that the net itself was read from."""
        weight_files.copy_into([self], path)

    def save(self, path: str | Path) -> None:
        """Write the net with its parameters as a `.caffemodel`.

        A name that ends in `.h5`, `.hdf5`, `.safetensors` or `.npz` gives a file of
        that kind, with the parameters alone; see `netspec.weights.save_weights`.
        """
        weight_files.save(self.graph, self.params, path)

    def save_hdf5(self, path: str | Path) -> None:
        """Write the parameters in Caffe's HDF5 layout, whatever the file is called."""
        weight_files.save(self.graph, self.params, path, suffix=".h5")

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Give the first layer, a MemoryData, the arrays to deliver batch by batch.

        Shapes: data (M, C, H, W), labels (M) or (M, 1, 1, 1), M a multiple of the
        batch.
        """
        node = self.graph.nodes[0]
        source = self.sources.get(node.name)
        if not isinstance(source, MemorySource):
            raise SpecError(
                f"set_input_arrays needs a MemoryData layer in the first place; the "
                f"net starts with {label(node.layer)}"
            )
        source.set_arrays(data, labels)
        second = self.graph.edges[node.tops[1]]
        self._pending[second.blob] = (second.shape[0], 1, 1, 1)
