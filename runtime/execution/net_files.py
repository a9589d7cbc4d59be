"""The files and arrays that a net reads and writes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.graph import Graph
from netspec.ops.base import Shape, label
from runtime.data import MemorySource
from runtime.data.source import Source
from runtime.execution import weights as weight_files
from runtime.execution.blob import Blob


class NetFiles:
    """How a `Net` reads and writes parameters, and where its data come from."""

    graph: Graph
    params: OrderedDict[str, list[Blob]]
    sources: Mapping[str, Source]
    _pending: dict[str, Shape]

    def copy_from(self, path: str | Path) -> Any:
        """Copy parameters from a file, by layer name; returns what was copied.

        Warns of a file that gives nothing, and of layers that it leaves as they are.
        """
        report = weight_files.copy_into([self], path)
        weight_files.warn_of_rest([path], [report])
        return report

    def save(self, path: str | Path) -> None:
        """Write the net with its parameters as a `.caffemodel`."""
        weight_files.save(self.graph, self.params, path)

    def save_hdf5(self, path: str | Path) -> None:
        """Write the parameters in Caffe's HDF5 layout."""
        weight_files.save_hdf5(self.graph, self.params, path)

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

    def close(self) -> None:
        """Close the data sources."""
        for source in self.sources.values():
            source.close()
