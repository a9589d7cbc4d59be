"""Shapes that a caller gives for tops of data layers, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from netspec.errors import SpecError, did_you_mean, shown


def check_given_blobs(given: Mapping[str, Sequence[int]], tops: Sequence[str]) -> None:
    """Refuse shapes for blobs that are not among `tops`, those of all layers."""
    known = set(tops)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, dict.fromkeys(tops))
            raise SpecError(
                f"a shape is given for {name!r}, which is no blob of this net"
                f"{hint or '; it has none' if not tops else hint}"
            )


def check_given(given: Mapping[str, Sequence[int]], tops: Sequence[str]) -> None:
    """Refuse shapes for blobs that are not among `tops`, those of data layers."""
    for name in given:
        if name not in tops:
            raise SpecError(
                f"a shape is given for {name!r}, which is not the top of a data layer"
                f"{did_you_mean(name, tops) or '; these are ' + ', '.join(tops)}"
            )


def check_given_sizes(shapes: Any, batch_size: Any) -> None:
    """Refuse what cannot be shapes by name, or the size of a batch."""
    whole = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
    if batch_size is not None and (not whole or batch_size < 1):
        raise SpecError(f"batch_size is {shown(batch_size)}; expected a number above 0")
    if shapes is not None and not isinstance(shapes, Mapping):
        raise SpecError(
            f"shapes is {shown(shapes)}; expected them by name: "
            f"shapes={{'data': (1, 3, 224, 224)}}"
        )
