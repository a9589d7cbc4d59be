"""A line of a summary: one layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netspec.ops.base import Shape


@dataclass(frozen=True)
class Row:
    """One layer; None stands for what is not known.

    num_params: its parameters, also those that another layer owns; own_params: those
    that no layer before it has; of these frozen are not changed as lr_mult is 0, and
    statistics are not learned, 0 where that is not known. shared: whether it has some
    of another layer. activation_bytes: what its tops take, 0 where they are its
    bottoms. path: of the module it is in, "" for none.
    """

    name: str
    type: str
    tops: Mapping[str, Shape | None]
    params: tuple[Shape, ...]
    num_params: int | None
    own_params: int | None
    shared: bool
    macs: int | None
    activation_bytes: int | None
    path: str = ""
    frozen: int = 0
    statistics: int = 0
