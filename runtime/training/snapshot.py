"""Snapshots of a training run, in Caffe's files.

A snapshot is two files: the net with its weights, `<prefix>_iter_<N>.caffemodel`, and
the solver's state, `<prefix>_iter_<N>.solverstate`, which names the first one. With
`snapshot_format: HDF5` both names end in `.h5`. Either file appears whole or not at
all, and the state only once its model is in place.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError, NetspecError, SpecError
from netspec.files import is_file, replacing
from netspec.ops.base import Shape, count
from netspec.schema import BlobProto, SolverState
from netspec.schema.wire import varint
from netspec.text import read_message
from netspec.weights.hdf5_file import Hdf5File, reading
from netspec.weights.reading import open_weights
from runtime.execution import weights
from runtime.execution.net import Net
from runtime.training.callback_state import States, unpacked
from runtime.training.progress import Progress
from runtime.training.snapshot_files import (
    HASH_BYTES,
    Snapshot,
    file_hash,
    snapshot_paths,
)
from runtime.update_rules import Update

HISTORY_FIELD = SolverState.DESCRIPTOR.fields_by_name["history"].number
DATA_FIELD = BlobProto.DESCRIPTOR.fields_by_name["data"].number
HDF5_FIELDS: dict[str, Any] = {
    "iter": np.int32,
    "current_step": np.int32,
    "minimum_loss": np.float32,
    "iter_last_event": np.int32,
    "recent_losses": np.float64,
    "best_accuracy": np.float64,
    "tests_without_gain": np.int32,
    "last_test": np.int32,
}
HDF5_ALWAYS = ("iter", "current_step")  # what Caffe writes and needs
LENGTH_DELIMITED = 2  # protobuf's wire type of messages, strings and packed numbers


@dataclass(frozen=True)
class SavedState:
    """What a state file holds.

    `history` has an array for each parameter in the net's order, once for each array
    that the update rule keeps. `progress` is what the policy of the rate remembers.
    `learned_net_hash` tells the model that was written with it, "" in files of Caffe.
    `packed` are the states of callbacks as they stand in the file, `states` what they
    say.
    """

    iteration: int
    learned_net: str
    history: tuple[np.ndarray, ...]
    progress: Progress
    learned_net_hash: str = ""
    packed: tuple[bytes, ...] = ()
    states: States = field(default_factory=dict)


def write_snapshot(
    net: Net,
    update: Update,
    prefix: str,
    *,
    iteration: int,
    progress: Progress,
    states: Sequence[bytes] = (),
    hdf5: bool = False,
) -> Snapshot:
    """Write both files of a snapshot.

    The state is on the disk under a temporary name before the model is touched, and
    takes its own name after it, so that a full disk leaves older files as they are. A
    folder that is not there is made. states: those of callbacks, `packed`.

    Raises `FileError`.
    """
    paths = snapshot_paths(prefix, iteration, hdf5=hdf5)
    # The hash of the model takes the place of this once the model is there.
    token = secrets.token_hex(HASH_BYTES)
    history = tuple(_history(net, update))
    name = str(paths.model)
    saved = SavedState(iteration, name, history, progress, token, tuple(states))
    content = _to_hdf5(saved) if hdf5 else b"".join(_to_binary(saved))
    try:
        paths.state.parent.mkdir(parents=True, exist_ok=True)
        with replacing(paths.state) as file:
            file.write(content)
            file.flush()
            weights.save(net.graph, net.params, paths.model)
            file.seek(content.index(token.encode()))
            file.write(file_hash(paths.model).encode())
    except OSError as error:
        raise FileError(f"snapshot of iteration {iteration}: {error}") from error
    return paths


def read_state(path: str | Path) -> SavedState:
    """Read a `.solverstate` or `.solverstate.h5` file, ours or Caffe's.

    Raises `FileError` for a file that is missing, broken, or something else.
    """
    path = Path(path)
    try:
        saved = _from_hdf5(path) if path.suffix == ".h5" else _from_binary(path)
    except SpecError as error:
        _refuse_weights(path)
        raise FileError(f"{path}: is not a solver state: {error}") from error
    except FileError:
        _refuse_weights(path)
        raise
    return replace(saved, packed=(), states=unpacked(saved.packed, path))


def _refuse_weights(path: Path) -> None:
    try:
        with open_weights(path) as layers:
            holds_weights = any(layer.blobs for layer in layers)
    except NetspecError:
        return
    if holds_weights:
        raise FileError(
            f"{path}: holds weights, not the state of a solver; to go on from a "
            f"snapshot give its .solverstate file, or start from weights alone with "
            f"solver.copy_from, of the command line with --weights"
        )


def _from_binary(path: Path) -> SavedState:
    message = read_message(path, SolverState)
    if not message.HasField("iter"):
        raise FileError(f"{path}: is not a solver state: it names no iteration")
    name: str | bytes = message.learned_net
    return SavedState(
        message.iter,
        _text(name, path),
        tuple(
            np.array(blob.double_data or blob.data, np.float32).reshape(_shape(blob))
            for blob in message.history
        ),
        _progress_in(message),
        _text(message.learned_net_hash, path),
        tuple(message.callback_state),
    )


def _progress_in(message: SolverState) -> Progress:
    return Progress(
        steps=message.current_step,
        minimum_loss=message.minimum_loss,
        last_event=message.iter_last_event,
        recent=tuple(message.recent_losses),
        best=message.best_accuracy if message.HasField("best_accuracy") else None,
        without_gain=message.tests_without_gain,
        last_test=message.last_test,
    )


def _head(saved: SavedState) -> SolverState:
    """Return the message of a state without its history; defaults are left out."""
    progress, usual = saved.progress, Progress()
    head = SolverState(
        iter=saved.iteration,
        learned_net=saved.learned_net,
        current_step=progress.steps,
        recent_losses=progress.recent,
        best_accuracy=progress.best,
        learned_net_hash=saved.learned_net_hash or None,
        callback_state=saved.packed,
    )
    if progress.minimum_loss != usual.minimum_loss:
        head.minimum_loss = progress.minimum_loss
    if progress.last_event != usual.last_event:
        head.iter_last_event = progress.last_event
    if progress.last_test != usual.last_test:
        head.tests_without_gain = progress.without_gain
        head.last_test = progress.last_test
    return head


def _text(value: str | bytes, path: Path) -> str:
    """Return a string that protobuf or h5py may hand out as bytes."""
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise FileError(
            f"{path}: the name of its model (learned_net) is not UTF-8; the file is "
            f"broken, so take another snapshot"
        ) from None


def restore_snapshot(net: Net, update: Update, path: str | Path) -> SavedState:
    """Give `net` and `update` the contents of a snapshot, named by its state file.

    The model file is looked for under the name that the state gives, from the current
    folder and then from the state's own.

    Raises `FileError` for files, and `SpecError` for a state of another kind of solver
    or of another net; then nothing has changed.
    """
    path = Path(path)
    saved = read_state(path)
    parameters = _parameters(net)
    wanted = len(parameters) * update.moments
    if len(saved.history) != wanted:
        raise SpecError(
            f"{path}: holds {len(saved.history)} history blobs, but solver type "
            f"{update.type!r} keeps {wanted} for the {len(parameters)} parameters of "
            f"this net; it was written by another type of solver or for another net"
        )
    for index, values in enumerate(saved.history):
        what, shape, _ = parameters[index % len(parameters)]
        if values.size != count(shape):
            raise SpecError(
                f"{path}: history blob {index} has shape {values.shape}, but {what} "
                f"has shape {shape}; the state is of another net"
            )
    if saved.learned_net:
        net.copy_from(_find_model(path, saved))
    arrays = iter(saved.history)
    for history in update.history:
        for _, _, place in parameters:
            values = next(arrays).reshape(-1)
            values = values.astype(history.dtype, copy=False)
            net.backend.upload(values, out=history[place])
    return saved


def _parameters(net: Net) -> list[tuple[str, Shape, slice]]:
    """Return what, which shape and where the net's own parameters are, in order."""
    found = []
    for parameter in net.graph.parameters:
        if parameter.index in net.flat.slices:
            node = net.graph.nodes[parameter.owner.node]
            what = f"parameter {parameter.owner.slot} of layer {node.name!r}"
            found.append((what, parameter.shape, net.flat.slices[parameter.index]))
    return found


def _history(net: Net, update: Update) -> Iterator[np.ndarray]:
    for history in update.history:
        for _, shape, place in _parameters(net):
            values = np.empty((count(shape),), str(history.dtype))
            net.backend.download(history[place], out=values)
            yield values.reshape(shape)


def _find_model(state: Path, saved: SavedState) -> Path:
    """Return the model of a state: the one that was written with it."""
    name, beside = saved.learned_net, state.parent
    candidates = (Path(name), beside / name, beside / Path(name).name)
    there = [path for path in candidates if is_file(path)]
    if not there:
        raise FileError(
            f"{state}: its model file {name!r} is neither there nor in "
            f"{beside.absolute()}; put it beside the state file"
        )
    for path in there:
        if not saved.learned_net_hash or file_hash(path) == saved.learned_net_hash:
            return path
    raise FileError(
        f"{state}: {there[0]} is not the model that was written with it; another run "
        f"wrote over it, or it was changed since. Take another snapshot, or start from "
        f"the weights alone"
    )


# ---------------------------------------------------------------- binary


def _to_binary(saved: SavedState) -> Iterator[bytes]:
    """Yield a serialized SolverState. Numbers go as they lie in memory."""
    yield _head(saved).SerializeToString()
    for values in saved.history:
        blob = BlobProto()
        blob.shape.dim.extend(values.shape)
        shape = blob.SerializeToString()
        data = values.astype("<f4", copy=False).tobytes()
        key = _key(DATA_FIELD, len(data))
        yield _key(HISTORY_FIELD, len(shape) + len(key) + len(data)) + shape + key
        yield data


def _key(field: int, nbytes: int) -> bytes:
    """Return what stands before the bytes of a length-delimited field."""
    return varint(field << 3 | LENGTH_DELIMITED) + varint(nbytes)


def _shape(blob: Any) -> Shape:
    """Return the shape of a blob, old form or new, or a single axis if it lies."""
    size = len(blob.double_data) or len(blob.data)
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    else:
        shape = (blob.num, blob.channels, blob.height, blob.width)
    return shape if count(shape) == size else (size,)


# ---------------------------------------------------------------- HDF5


def _hdf5() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MachineError(
            "snapshots in HDF5 need h5py, which is not installed; install the extra "
            "netspec[data], or use snapshot_format: BINARYPROTO"
        ) from error
    return h5py


def _to_hdf5(saved: SavedState) -> bytes:
    buffer = io.BytesIO()
    with _hdf5().File(buffer, "w") as file:
        file["learned_net"] = np.bytes_(saved.learned_net)
        head = _head(saved)
        given = {each.name for each, _ in head.ListFields()}
        for name, dtype in HDF5_FIELDS.items():
            if name in given:
                file[name] = np.atleast_1d(np.array(getattr(head, name), dtype))
        if saved.learned_net_hash:
            file["learned_net_hash"] = np.bytes_(saved.learned_net_hash)
        for index, state in enumerate(saved.packed):
            file[f"callback_state/{index}"] = np.frombuffer(state, np.uint8)
        group = file.create_group("history")
        for index, values in enumerate(saved.history):
            group[str(index)] = values
    return buffer.getvalue()


def _from_hdf5(path: Path) -> SavedState:
    _hdf5()
    with Hdf5File(path, broken=": cannot be read as HDF5") as file:
        history = file.find("history")
        if not file.is_group(history):
            raise FileError(f"{path}: is not a solver state: it has no group history")
        arrays = [
            file.read(_part(file, str(index), history), f"history/{index}")
            for index in range(len(file.names(history)))
        ]
        with reading(f"{path}: is not a solver state"):
            name = _text(_part(file, "learned_net")[()], path)
            mark = file.find("learned_net_hash")
            model_hash = _text(mark[()], path) if file.is_dataset(mark) else ""
            head = SolverState(
                **{n: _number(_part(file, n)[()], n) for n in HDF5_ALWAYS}
            )
            for known in HDF5_FIELDS.keys() - HDF5_ALWAYS:
                there = file.find(known)
                if not file.is_dataset(there):
                    continue
                if known == "recent_losses":
                    head.recent_losses.extend(np.ravel(there[()]).tolist())
                else:
                    setattr(head, known, _number(there[()], known))
        group, states = file.find("callback_state"), []
        for index in range(len(file.names(group)) if file.is_group(group) else 0):
            part = _part(file, str(index), group)
            states.append(file.read(part, f"callback_state/{index}").tobytes())
    progress = _progress_in(head)
    given = head.iter, name, tuple(arrays), progress, model_hash
    return SavedState(*given, tuple(states))


def _part(file: Hdf5File, name: str, group: Any = None) -> Any:
    found = file.find(name, group)
    if not file.is_dataset(found):
        raise FileError(f"{file.path}: is not a solver state: it has no {name!r}")
    return found


def _number(values: Any, field: str) -> Any:
    first = np.ravel(values)[0]
    return int(first) if HDF5_FIELDS[field] is np.int32 else float(first)
