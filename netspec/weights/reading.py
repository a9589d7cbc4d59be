"""Reading weight files of every format, which their contents tell and no suffix."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from netspec.errors import FileError, SpecError
from netspec.files import HDF5_SIGNATURE, FileBytes
from netspec.ops.base import count
from netspec.room import check_room
from netspec.schema.wire import Bytes, Held, WireBlob, scan
from netspec.text.checks import BINARY_BYTE
from netspec.text.messages import HEAD_BYTES
from netspec.weights import keyed, torch_file
from netspec.weights.hdf5_weights import hdf5_layers, no_weights
from netspec.weights.names import Names, named
from netspec.weights.npz_file import ZIP_SIGNATURE, npz_arrays
from netspec.weights.safetensors_file import is_safetensors, tensors
from netspec.weights.stored import WIRE_TYPES, LayerWeights, StoredBlob, of_bytes

# Arrays by layer name; None where a file leaves one to a layer that shares it.
Weights: TypeAlias = dict[str, list[Any]]

MAX_LAYERS = 100_000
# Field 1 of a net is its name, a string; of a solver's state it is a number.
_STATE_START = b"\x08"
_HEAD_BYTES = 16


@contextmanager
def open_weights(path: str | Path) -> Iterator[list[LayerWeights]]:
    """Open a weight file for this block; yields its layers, whose values are not read.

    The format is told by the contents: `.caffemodel` of every generation, Caffe's
    HDF5, safetensors, npz, and what PyTorch saves.

    Raises `FileError` for a file that cannot be read or is none.
    """
    with ExitStack() as stack:
        data = stack.enter_context(FileBytes(path))
        if not data.size:
            raise FileError(f"{path}: is empty; copy or save it again")
        head = bytes(data.read(0, min(data.size, _HEAD_BYTES)))
        yield _open(path, data, head, stack.enter_context)


def _open(
    path: str | Path, data: FileBytes, head: bytes, enter: Callable[[Any], Any]
) -> list[LayerWeights]:
    if head.startswith(HDF5_SIGNATURE):
        return enter(hdf5_layers(path))
    if torch_file.is_torch(path, head):
        return keyed.layers(torch_file.arrays(path))
    if head.startswith(ZIP_SIGNATURE):
        return keyed.layers(enter(npz_arrays(path)))
    if is_safetensors(head):
        return keyed.layers(tensors(data))
    if head.startswith(_STATE_START):
        if Path(path).suffix.lower() == ".onnx":
            raise FileError(
                f"{path}: is an ONNX file, a net with its values; give it as the net"
            )
        raise no_weights(path)
    try:
        return wire_layers(data)
    except SpecError as error:
        if Path(path).suffix.lower() == ".safetensors":
            raise FileError(
                f"{path}: is no safetensors file: its header, of "
                f"{int.from_bytes(head[:8], 'little'):,} bytes, is none, or is broken"
            ) from None
        start = bytes(data.read(0, min(data.size, HEAD_BYTES)))
        why = error if BINARY_BYTE.search(start) else "it is text; give it as the net"
        raise FileError(f"{path}: is no weight file: {why}") from None


def wire_layers(data: bytes | Bytes) -> list[LayerWeights]:
    """Return the layers of a serialized net, of any generation.

    Raises `SpecError` for bytes that are no such message.
    """
    held = data if not isinstance(data, bytes) else Held(data)
    layers: list[LayerWeights] = []
    for layer in scan(held):
        if len(layers) == MAX_LAYERS:
            raise SpecError(f"it has more than {MAX_LAYERS:,} layers; is it broken?")
        blobs = tuple(_stored(held, blob) for blob in layer.blobs)
        layers.append(LayerWeights(layer.name, blobs))
    return layers


def read_weights(
    path: str | Path, names: Names | None = None, ours: Collection[str] = ()
) -> Weights:
    """Return the arrays of a weight file by layer name, as float32.

    None stands for an array that the file leaves to a layer that shares it.

    names: what layers of the file are called in a net with the layers `ours`.

    Raises `FileError` for a file that cannot be read or is none, `MachineError` for one
    that holds more than fits into memory.
    """
    with open_weights(path) as stored:
        layers = [each.layer for each in named(stored, names, ours, path)[0]]
        _check_room(layers, path)
        with _named(path):
            return by_name(layers, str(path))


def _check_room(layers: Sequence[LayerWeights], path: str | Path) -> None:
    """Refuse more arrays than fit into memory."""
    sizes = [
        (count(blob.shape), blob.shape, each.name)
        for each in layers
        for blob in each.blobs
        if blob is not None
    ]
    if sizes:
        _, shape, name = max(sizes)
        said = (
            f"{path}: what it holds, the largest in layer {name!r}, of shape {shape},"
        )
        check_room(4 * sum(values for values, _, _ in sizes), said)


def by_name(layers: Sequence[LayerWeights], source: str) -> Weights:
    """Read the values of layers that have some; source: where they come from."""
    return {
        layer.name: [
            blob and blob.read(f"{source}: array {slot} of layer {layer.name!r}")
            for slot, blob in enumerate(layer.blobs)
        ]
        for layer in layers
        if layer.blobs
    }


def _stored(data: Bytes, blob: WireBlob) -> StoredBlob:
    dtype = WIRE_TYPES[blob.dtype]
    return of_bytes(data, blob.pieces, dtype, blob.shape, legacy=blob.legacy)


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Let what is wrong with a file name it."""
    try:
        yield
    except SpecError as error:
        raise FileError(f"{path}: is no weight file: {error}") from None
