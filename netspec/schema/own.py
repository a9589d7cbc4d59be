"""Schemas of users: a caffe.proto of their own, or its compiled descriptors.

A schema is compiled with grpcio-tools, which the extra `protos` installs. What reads,
writes and calls by it is `netspec.forks`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from netspec.errors import FileError, MachineError, SpecError

LAYER = "LayerParameter"
_PARENTS = 4  # folders above a .proto in which its imports are looked for


@dataclass(frozen=True, eq=False)
class OwnSchema:
    """A schema that a user gave.

    word: what messages call it, the name of its file. messages, enums: by their names
    without the package, `LayerParameter`, or `Outer.Inner`.
    """

    word: str
    path: str
    messages: dict[str, Any] = field(default_factory=dict)
    enums: dict[str, Any] = field(default_factory=dict)


_in_use: list[OwnSchema] = []  # the last one is in force


class InUse:
    """A schema in force, until the end of a `with` block or of the program."""

    def __init__(self, own: OwnSchema) -> None:
        self.own = own
        _in_use.append(own)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _in_use.remove(self.own)


def in_use() -> tuple[OwnSchema, ...]:
    """Return the schemas that users gave, the one in force last."""
    return tuple(_in_use)


def use(path: str | Path) -> InUse:
    """Take a user's schema; see `netspec.schema.use`."""
    return InUse(read(Path(path)))


def read(path: Path) -> OwnSchema:
    """Return the schema of a .proto file, or of compiled descriptors.

    Raises `FileError` for a file that cannot be read, `SpecError` for a schema that is
    wrong or has no layers, `MachineError` where grpcio-tools is missing.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    data = path.read_bytes()
    files = _compiled(path) if path.suffix == ".proto" else _described(path, data)
    pool, main = DescriptorPool(), None
    for file in files:
        try:
            pool.Add(file)
            main = pool.FindFileByName(file.name)
        except (TypeError, ValueError, KeyError) as error:
            raise SpecError(f"{path}: {file.name}: {error}") from None
    own = OwnSchema(path.stem, str(path))
    if main is not None:
        _gather(own, main, set())
    if LAYER not in own.messages:
        has = ", ".join(sorted(own.messages)[:5]) or "none"
        raise SpecError(
            f"{path}: has no message {LAYER}, so it is no schema of nets; its messages "
            f"are {has}"
        )
    return own


def _gather(own: OwnSchema, file: Any, seen: set[str]) -> None:
    """Add what a file has, and then what it imports; the first of one name stays."""
    if file.name in seen:
        return
    seen.add(file.name)
    for name, enum in file.enum_types_by_name.items():
        own.enums.setdefault(name, enum)
    for name, message in _nested(file.message_types_by_name.values(), ""):
        own.messages.setdefault(name, message)
        for enum in message.enum_types:
            own.enums.setdefault(f"{name}.{enum.name}", enum)
    for imported in file.dependencies:
        _gather(own, imported, seen)


def _nested(messages: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for message in messages:
        yield prefix + message.name, message
        yield from _nested(message.nested_types, f"{prefix}{message.name}.")


def _described(path: Path, data: bytes) -> list[FileDescriptorProto]:
    """Return the files of a descriptor set, or the one file of a descriptor."""
    try:
        files = list(FileDescriptorSet.FromString(data).file)
        if files and all(file.name for file in files):
            return files
        one = FileDescriptorProto.FromString(data)
        if one.name and one.message_type:
            return [one]
    except DecodeError:
        pass
    raise SpecError(
        f"{path}: is no .proto and no compiled schema; protoc --include_imports "
        f"--descriptor_set_out=FILE.desc makes one of a .proto"
    )


def _compiled(path: Path) -> list[FileDescriptorProto]:
    """Compile a .proto with all that it imports."""
    if importlib.util.find_spec("grpc_tools") is None:
        raise MachineError(
            f"{path}: a .proto is compiled with grpcio-tools; install netspec[protos] "
            f"for it, or give the .desc that protoc --include_imports "
            f"--descriptor_set_out=FILE.desc makes"
        )
    path = path.resolve()
    folders = [path.parent, *path.parent.parents[:_PARENTS]]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        command = [sys.executable, "-m", "grpc_tools.protoc"]
        command += [f"--proto_path={each}" for each in folders]
        command += ["--include_imports", f"--descriptor_set_out={out}", path.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = "; ".join(done.stderr.strip().splitlines()[:3])
            raise SpecError(f"{path}: {said or 'protoc failed'}")
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)
