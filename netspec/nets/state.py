"""`State`: phase, level and stages, by which rules keep layers or drop them."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.schema import TEST


@dataclass(frozen=True)
class State:
    """What a net is built for; the rules `include` and `exclude` look at it."""

    phase: int = TEST
    level: int = 0
    stages: tuple[str, ...] = ()
