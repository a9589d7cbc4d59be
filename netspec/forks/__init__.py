"""Forks of Caffe: their schemas, telling them apart, and messages to ours and back."""

from __future__ import annotations

from netspec.forks.catalogue import catalogue as _catalogue


def owners(message: str, field: str) -> tuple[str, ...]:
    """Return the names of the forks that add `field` to `message`, well-known first.

    message: as `netspec.schema` calls it, `PoolingParameter` for example, or a message
    of forks. Nothing for fields of Caffe's own.
    """
    tables = _catalogue()
    return tuple(f.name for f in tables.in_mask(tables.owners(message, field)))


def type_owners(layer_type: str) -> tuple[str, ...]:
    """Return the names of the forks that add a layer type, well-known first."""
    tables = _catalogue()
    return tuple(f.name for f in tables.in_mask(tables.type_owners(layer_type)))
