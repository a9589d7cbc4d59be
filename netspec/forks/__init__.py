"""Forks of Caffe: their schemas, telling them apart, and messages to ours and back."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

# The tables are large, and most nets need none: who reads them is imported in calls.

M = TypeVar("M", bound=Message)


def owners(message: str, field: str) -> tuple[str, ...]:
    """Return the names of the forks that add `field` to `message`, well-known first.

    message: as `netspec.schema` calls it, `PoolingParameter` for example, or a message
    of forks. Nothing for fields of Caffe's own.
    """
    from netspec.forks.catalogue import catalogue
    from netspec.forks.chosen import given_owners

    tables = catalogue()
    names = (fork.name for fork in tables.in_mask(tables.owners(message, field)))
    return (*given_owners(message, field), *names)


def type_owners(layer_type: str) -> tuple[str, ...]:
    """Return the names of the forks that add a layer type, well-known first."""
    from netspec.forks.catalogue import catalogue

    tables = catalogue()
    return tuple(f.name for f in tables.in_mask(tables.type_owners(layer_type)))


def use(fork: str | None) -> AbstractContextManager[None]:
    """Take the schema of a fork for what is read, written and called from now on.

    fork: its word, as `python -m netspec.forks` lists them, or its name; None for none,
    so that files tell. As a context manager, until the end of the block.

        with netspec.forks.use("pspnet"):
            net = netspec.load("pspnet50.caffemodel")

    Raises `SpecError` for a fork that is not known.
    """
    from netspec.forks.chosen import use as use_fork

    return use_fork(fork)


def from_binary(data: bytes, kind: type[M], path: str | Path) -> M:
    """Return a binary message, by the names of its fields where it is of a fork.

    path: what messages call it, and under what its fork is remembered.

    Raises protobuf's `DecodeError` for bytes that are no message, and `FileError` where
    the fork in force has other fields. Warns where the fork cannot be told.
    """
    from netspec.forks.files import find_fork, read_as_ours

    fork = find_fork(data, kind, path)
    return kind.FromString(data) if fork is None else read_as_ours(data, kind, fork)


def to_binary(message: Message, source: str | Path | None = None) -> bytes:
    """Return a message in binary, with the numbers of its fork where it has one.

    That is the fork in force, the one that the file `source` was read as, or else the
    one that has all its fields. Raises `SpecError` for what that fork cannot hold.
    """
    from netspec.forks.files import binary, fork_for

    return binary(message, fork_for(message, source))
