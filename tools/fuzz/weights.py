"""Weight files of every format: whole ones, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import netspec
import runtime
from netspec.errors import NetspecError
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.weights import as_model, read_weights
from tools.fuzz import nets


def each(*steps: Callable[[], object]) -> None:
    """Do all steps, whatever of ours the earlier ones raise; raise the first error."""
    first = None
    for step in steps:
        try:
            step()
        except NetspecError as error:
            first = first or error
    if first is not None:
        raise first


def saved(name: str) -> list[bytes]:
    """Return the files of small nets with weights, as `Net` saves them."""
    files = []
    for text in (nets.LEARNING, nets.CONVOLUTIONAL):
        net = runtime.Net(text, TRAIN, backend="portable")
        net.save(name)
        files.append(Path(name).read_bytes())
    return files


def halved() -> list[bytes]:
    """Return the files of small nets with values as OpenCV shrinks them."""
    files = []
    for data in saved("w.caffemodel"):
        net = NetParameter.FromString(data)
        for layer in net.layer:
            for blob in layer.blobs:
                half = np.array(blob.data, "<f2").tobytes()
                size = bytes([len(half) & 127 | 128, len(half) >> 7])
                blob.ClearField("data")
                # Field 10 is the type of the plain bytes in field 12.
                blob.MergeFromString(b"\x50\x02\x62" + size + half)
        files.append(net.SerializeToString())
    return files


def run_weights(name: str, data: bytes) -> None:
    """Copy weights into a net; a binary file is read as a net too."""
    Path(name).write_bytes(data)
    net = runtime.Net(nets.LEARNING, TEST, backend="portable")
    alone = not name.endswith(".caffemodel")
    each(
        lambda: net.copy_from(name),
        lambda: read_weights(name),
        lambda: alone or as_model(name),
        lambda: alone or netspec.load(name).to_proto(),
        lambda: alone or str(netspec.summarize(name)),
    )
