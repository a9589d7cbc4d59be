"""Reading and writing nets and solvers: prototxt text and binary messages."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message

from netspec import forks
from netspec.errors import FileError, SpecError, SpecWarning, shown
from netspec.files import (
    HDF5_SIGNATURE,
    FileBytes,
    is_file,
    read_bytes,
    replacing,
)
from netspec.formats import other_format
from netspec.notebooks import warn_user
from netspec.schema import NetParameter, SolverParameter, wire
from netspec.schema.unread import bad_text, unread_names
from netspec.text.checks import BINARY_BYTE, check_size, decoded
from netspec.text.holding import refuse_net, refuse_solver
from netspec.text.parsing import M, missing_fields, parse, to_text
from netspec.text.strict import is_strict, refuse_unknown

TEXT_SUFFIXES = frozenset({".prototxt", ".txt", ".pbtxt", ".pt"})
BINARY_SUFFIXES = frozenset({".caffemodel", ".binaryproto", ".pb", ".solverstate"})

MAX_LAYERS = 100_000  # of a binary net; an empty one of 3 bytes takes 600 in memory
MAX_NAMED = 5  # fields without a name, in a warning
MESSAGE_BYTES = 1 << 31  # which protobuf does not read
HEAD_BYTES = 4096  # which tell text from a binary file
# How .npz files and those of PyTorch begin, and safetensors: a length, and JSON.
_ARRAYS = re.compile(rb"PK\x03\x04|.{5}\x00{3}\{", re.DOTALL)


@dataclass(frozen=True)
class ReadNet:
    """A net as it stands, and where it comes from.

    source: what messages call it: its path, "<text>", or "<net>" for a message and what
    makes one. text: what was parsed, None for what is no text.
    """

    message: NetParameter
    source: str
    text: str | None = None


def read_message(path: str | Path, kind: type[M], *, fork: str | None = None) -> M:
    """Read a message from a text or a binary file.

    The suffix decides (`.prototxt` is text, `.caffemodel` and `.binaryproto` are
    binary), and who reads it where it is of another format (`.onnx`); with another one
    the contents do.

    Raises `FileError` for a file that cannot be read, `TextError` for bad text.
    """
    with forks.use(fork) if fork is not None else contextlib.nullcontext():
        return _read(path, kind)[0]


def _read(
    path: str | Path, kind: type[M], *, values: bool = True
) -> tuple[M, str | None]:
    """Return the message of a file, and its text if it is no binary one.

    values: whether those of a net in a binary file are read too.
    """
    read = other_format(path) if kind is NetParameter else None
    if read is not None:
        other = read(os.fspath(path))
        return other.to_proto() if values else other.net, None
    path = Path(path)
    if path.suffix == ".py" and is_file(path):
        raise SpecError(
            f"{path}: is a Python file, which is not run where a net is read; "
            f"netspec.load({str(path)!r}) runs it, and so do commands"
        )
    if path.suffix in TEXT_SUFFIXES:
        check_size(path)
    elif kind is NetParameter and is_file(path):
        _refuse_others(read_bytes(path, HEAD_BYTES), kind, path)
    if kind is NetParameter and is_binary_net(path):
        data = _without_values(path) if not values or _warn_apart(path) else None
        return _from_binary(
            read_bytes(path) if data is None else data, kind, path
        ), None
    data = read_bytes(path)
    if path.suffix in BINARY_SUFFIXES:
        return _from_binary(data, kind, path), None
    if path.suffix in TEXT_SUFFIXES or not BINARY_BYTE.search(data, 0, HEAD_BYTES):
        text = decoded(data, path)
        _refuse_other_kind(text, kind, str(path))
        return parse(text, kind, source=str(path), folder=path.parent), text
    return _from_binary(data, kind, path), None


def _refuse_other_kind(text: str, kind: type[Message], source: str) -> None:
    if kind is NetParameter:
        refuse_solver(text, source)
    elif kind is SolverParameter:
        refuse_net(text, source)


def is_binary_net(path: str | Path) -> bool:
    """Tell whether a file is read as a binary net, by its suffix or its contents.

    A string that holds a net as text, a file of arrays alone, and one that is not there
    are none.
    """
    if isinstance(path, str) and ("{" in path or "\n" in path):
        return False
    if other_format(path) is not None:
        return False
    if not is_file(path) or Path(path).suffix in TEXT_SUFFIXES:
        return False
    head = read_bytes(path, HEAD_BYTES)
    if head.startswith(HDF5_SIGNATURE) or _ARRAYS.match(head):
        return False
    return Path(path).suffix in BINARY_SUFFIXES or bool(BINARY_BYTE.search(head))


def values_apart(net: Any) -> bool:
    """Tell whether a net is a binary file whose values no message of it can hold.

    They are too many, or of another size than Caffe's.
    """
    if not isinstance(net, str | os.PathLike) or not is_binary_net(os.fspath(net)):
        return False
    return bool(_why_apart(Path(net)))


def _why_apart(path: Path) -> str:
    """Return why a message cannot hold the values of a binary net, if so."""
    try:
        with FileBytes(path) as data:
            if data.size >= MESSAGE_BYTES:
                return f"has {data.size:,} bytes, a message holds less than 2 GiB"
            blobs = (blob for layer in wire.scan(data) for blob in layer.blobs)
            if any(blob.plain for blob in blobs):
                return "has arrays as plain bytes (raw_data), as OpenCV shrinks them"
    except SpecError:
        pass  # whoever reads it says so
    return ""


def _warn_apart(path: Path) -> bool:
    """Warn of a net whose values no message can hold; tell whether it is one."""
    why = _why_apart(path)
    if why:
        warn_user(
            f"{path}: {why}, so the net is read without the values of its parameters; "
            f"they are read where the file is given as weights, and by "
            f"netspec.weights.as_model",
            SpecWarning,
        )
    return bool(why)


def _without_values(path: Path) -> bytes:
    try:
        with FileBytes(path) as data:
            _check_layers(data, path)
            return wire.without_values(data)
    except SpecError:
        raise _broken(path, NetParameter) from None


def read_net(path: str | Path, *, values: bool = True) -> NetParameter:
    """Read a net from prototxt or caffemodel, as it stands (not upgraded).

    values: whether those of the parameters in a binary file are wanted.
    """
    return _read(path, NetParameter, values=values)[0]


def as_net(net: Any, *, values: bool = True) -> NetParameter:
    """Return the net that `net` names, holds, or is.

    net: a path, prototxt text (a string with a brace or a line break), a
    `NetParameter` (also that of another `caffe_pb2`), or anything with `to_proto()`.
    values: whether those of the parameters in a binary file are wanted.

    The net is not upgraded.
    """
    return as_read_net(net, values=values).message


def as_read_net(net: Any, *, values: bool = True) -> ReadNet:
    """Return the net that `net` names, holds, or is, with its text; see `as_net`."""
    message: NetParameter | None = None
    if isinstance(net, NetParameter):
        message = net
    elif hasattr(net, "to_proto"):
        message = net.to_proto()
    elif isinstance(net, Message) and net.DESCRIPTOR.name == "NetParameter":
        message = NetParameter.FromString(net.SerializeToString())
    if message is not None:
        if is_strict():
            refuse_unknown(message, "<net>")
        return ReadNet(message, "<net>")
    if isinstance(net, str) and ("{" in net or "\n" in net):
        refuse_solver(net, "<text>")
        return ReadNet(parse(net, NetParameter), "<text>", net)
    if isinstance(net, str | os.PathLike) and net != "":
        path = os.fspath(net)
        read, text = _read(path, NetParameter, values=values)
        return ReadNet(read, path, text)
    raise SpecError(
        f"expected a net: a path, prototxt text, a NetParameter or a NetSpec; got "
        f"{shown(net)}{_trained(net)}"
    )


def _trained(net: object) -> str:
    if type(net).__module__.partition(".")[0] != "runtime":
        return ""
    return (
        ", which runs; give the spec that it was made from, and where values are "
        "wanted the file that its net.save(path) writes as weights"
    )


def write_message(
    path: str | Path, message: Message, *, source: str | Path | None = None
) -> None:
    """Write `message` as text, or in binary where the suffix says so.

    Fields whose names nobody here knows, of a binary file, cannot be written as text;
    they are left out with a warning. A binary file has them as they were.

    In binary with the numbers of the fork in force, or else of the fork that `source`,
    the file that it was read from, is from; see `netspec.forks.fork_for`.

    The file appears whole or not at all. Raises `FileError`, or `SpecError` for a
    message that lacks a required field.
    """
    if missing := missing_fields(message):
        raise SpecError(f"{path}: {', '.join(missing)} must be given")
    if is_binary(path):
        data = forks.to_binary(message, source)
    else:
        warn_unread(message, str(path))
        data = to_text(message).encode()
    with replacing(path) as file:
        file.write(data)


def warn_unread(message: Message, where: str) -> None:
    """Warn of fields that no text can have, as nobody here knows their names."""
    names = unread_names(message)
    if names:
        shown = "; ".join(names[:MAX_NAMED])
        more = len(names) - MAX_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        warn_user(
            f"{where}: text has no names for what comes from a binary file and is not "
            f"known here: {shown}{rest}; it is left out. A binary file keeps it",
            SpecWarning,
        )


def is_binary(path: str | Path) -> bool:
    """Tell whether a file of this name is written in binary."""
    return Path(path).suffix in BINARY_SUFFIXES


def _from_binary(data: bytes, kind: type[M], path: Path) -> M:
    _refuse_others(data[:HEAD_BYTES], kind, path)
    if kind is NetParameter:
        _check_layers(data, path)
    try:
        message = forks.from_binary(data, kind, path)
    except (DecodeError, RecursionError, UnicodeDecodeError):
        raise _broken(path, kind) from None
    bad = bad_text(message)
    if bad is not None:
        raise FileError(f"{path}: the text of {bad} is not UTF-8")
    if is_strict():
        refuse_unknown(message, str(path))
    return message


def _refuse_others(head: bytes, kind: type[Message], path: Path) -> None:
    """Refuse files of another format, by how they begin."""
    if head.startswith(HDF5_SIGNATURE):
        name = kind.DESCRIPTOR.name
        raise FileError(f"{path}: is an HDF5 file; expected a {name}")
    if kind is NetParameter and _ARRAYS.match(head):
        raise FileError(
            f"{path}: holds arrays and no net; give it as weights, beside a net"
        )


def _check_layers(data: bytes | wire.Bytes, path: Path) -> None:
    if wire.has_more_fields(data, MAX_LAYERS):
        raise FileError(f"{path}: has more than {MAX_LAYERS:,} layers; is it broken?")


def _broken(path: Path, kind: type[Message]) -> FileError:
    name = kind.DESCRIPTOR.name
    return FileError(f"{path}: is not a binary {name}, or was cut short")
