"""Writing weights, in the format that the suffix of a file says."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from netspec.errors import SpecError, SpecWarning, did_you_mean
from netspec.files import is_file, replacing
from netspec.forks.files import binary, fork_for
from netspec.notebooks import warn_user
from netspec.ops.base import label
from netspec.room import in_words
from netspec.schema import LayerParameter, NetParameter
from netspec.schema.wire import Buffer, encode_layer
from netspec.text.messages import MESSAGE_BYTES, TEXT_SUFFIXES
from netspec.weights.hdf5_file import import_h5py, reading
from netspec.weights.hdf5_weights import fill_hdf5
from netspec.weights.npz_file import write_npz
from netspec.weights.safetensors_file import write_tensors
from netspec.weights.stored import LayerArrays

_OTHERS = {*TEXT_SUFFIXES, ".npy", ".onnx", ".pth", ".solverstate"}


def save_weights(
    path: str | Path,
    weights: Mapping[str, Sequence[np.ndarray | None]],
    net: NetParameter | None = None,
    *,
    source: str | Path | None = None,
) -> None:
    """Write arrays by layer name to a file of the format that its suffix says.

    weights: the arrays of each layer, in the order of its parameters; None for one that
    a layer shares with another, which a `.caffemodel` cannot leave out.
    net: what a `.caffemodel` holds beside them; without it that has the names of the
    layers only, which suffices to load weights from it. source: the file that the net
    is from, whose fork a `.caffemodel` is for then; see `netspec.text.write_message`.

    `.h5` and `.hdf5` are Caffe's layout in HDF5; `.safetensors` and `.npz` have the
    keys `LAYER/INDEX`; every other suffix is a `.caffemodel`. Values are float32. The
    file appears whole or not at all.

    Raises `FileError`, and `SpecError` for layers that the net does not have, a name
    that the format cannot store, and a suffix of something else than weights. Warns of
    a `.caffemodel` that only netspec reads, as it has 2 GiB or more.
    """
    message = NetParameter()
    message.layer.extend(LayerParameter(name=name) for name in weights)
    rest, layers = layers_of(message if net is None else net, weights)
    write_layers(path, rest, layers, source=source)


def layers_of(
    net: NetParameter, weights: Mapping[str, Sequence[np.ndarray | None]]
) -> tuple[NetParameter, list[LayerArrays]]:
    """Return a net without its layers, and these with their arrays.

    Raises `SpecError` for arrays of a layer that the net does not have.
    """
    gone = [name for name in weights if name not in {each.name for each in net.layer}]
    if gone:
        raise SpecError(
            f"the net has no layer {gone[0]!r}, for which there are arrays"
            f"{did_you_mean(gone[0], [each.name for each in net.layer])}"
        )
    layers = []
    for each in net.layer:
        layer = LayerParameter()
        layer.CopyFrom(each)
        layer.ClearField("blobs")
        held = [
            None if array is None else np.asarray(array)
            for array in weights.get(each.name, ())
        ]
        layers.append(LayerArrays(layer, held))
    rest = NetParameter()
    rest.CopyFrom(net)
    del rest.layer[:]
    return rest, layers


def write_layers(
    path: str | Path,
    rest: NetParameter,
    layers: Sequence[LayerArrays],
    suffix: str | None = None,
    *,
    source: str | Path | None = None,
) -> None:
    """Write a net with its arrays; see `save_weights`.

    rest: the net without its layers. suffix: what tells the format, if not the path.
    In HDF5 files an array that is shared stands at its owner only, as in Caffe's;
    elsewhere in every layer, as other readers do not know of sharing.
    """
    suffix = suffix or Path(path).suffix.lower()
    if suffix in _OTHERS:
        raise SpecError(
            f"{path}: {suffix} files do not hold weights here; name it .caffemodel, "
            f"{', '.join(_WRITERS)}"
        )
    if suffix in _WRITERS:
        with replacing(path) as file:
            _WRITERS[suffix](file, layers, path)
        return
    nbytes = sum(4 * each.size for layer in layers for each in _present(layer))
    if nbytes >= MESSAGE_BYTES:
        warn_user(
            f"{path}: the parameters have {in_words(nbytes)}; Caffe, OpenCV and all "
            f"others that read it by protobuf refuse a file of 2 GiB or more, only "
            f"netspec and its runtime read it. Save as .h5 or .safetensors for others",
            SpecWarning,
        )
    fork = _fork_of(rest, layers, source)
    with replacing(path) as file:
        for piece in pieces(rest, layers, fork):
            file.write(piece)


def _fork_of(
    rest: NetParameter, layers: Iterable[LayerArrays], source: str | Path | None
) -> str | None:
    """Return the fork in whose numbers a net is written, None for our own."""
    net = NetParameter()
    net.CopyFrom(rest)
    net.layer.extend(each.layer for each in layers)
    return fork_for(net, source)


def pieces(
    rest: NetParameter, layers: Iterable[LayerArrays], fork: str | None = None
) -> Iterator[Buffer]:
    """Yield the serialized net, with views of the arrays in between.

    fork: whose numbers its fields have, None for our own.
    """
    yield binary(rest, fork)
    for each in layers:
        blobs = [(array.shape, _plain(array)) for array in _present(each)]
        yield from encode_layer(binary(each.layer, fork), blobs)


def _present(layer: LayerArrays) -> list[np.ndarray]:
    """Return all arrays of a layer."""
    found = [array for array in layer.arrays if array is not None]
    if len(found) < len(layer.arrays):
        raise SpecError(
            f"{label(layer.layer)} leaves an array to a layer that shares it, which "
            f"this format cannot; netspec.weights.complete fills it in, and so does "
            f"--net of the command",
        )
    return found


def _plain(array: np.ndarray) -> memoryview:
    """Return the values of an array as float32, one after the other."""
    return np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8).data


def _by_key(layers: Sequence[LayerArrays]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the key and the values of all arrays, also of shared ones."""
    for each in layers:
        for slot, array in enumerate(each.arrays):
            if array is not None:
                yield f"{each.layer.name}/{slot}", array


def _write_keyed(
    write: Callable[[IO[bytes], dict[str, np.ndarray]], None],
) -> Callable[[IO[bytes], Sequence[LayerArrays], str | Path], None]:
    """Return the writer of a format with keys."""

    def write_file(
        file: IO[bytes], layers: Sequence[LayerArrays], path: str | Path
    ) -> None:
        arrays: dict[str, np.ndarray] = {}
        for key, array in _by_key(layers):
            if key in arrays:
                raise SpecError(
                    f"{path}: two layers are called {key.rpartition('/')[0]!r}; "
                    f"rename one, or save as .caffemodel"
                )
            arrays[key] = array
        write(file, arrays)

    return write_file


def _write_hdf5(
    file: IO[bytes], layers: Sequence[LayerArrays], path: str | Path
) -> None:
    h5py = import_h5py(path)
    with reading(f"{path}: cannot be written"):
        if is_file(file.name):
            # The temporary file is locked already, by us.
            with h5py.File(file.name, "w", locking=False) as written:
                fill_hdf5(written, layers)
        else:  # a pipe, in which one cannot go back
            buffer = io.BytesIO()
            with h5py.File(buffer, "w") as written:
                fill_hdf5(written, layers)
            file.write(buffer.getbuffer())


_WRITERS = {
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".safetensors": _write_keyed(write_tensors),
    ".npz": _write_keyed(write_npz),
}
