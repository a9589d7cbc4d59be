"""Shapes that a caller gives for tops of data layers, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec.errors import SpecError, did_you_mean


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
