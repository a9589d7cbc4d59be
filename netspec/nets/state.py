"""For what a net is built: the phase, the level and the stages that rules look at."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.schema import TEST


@dataclass(frozen=True)
class State:
    """For what a net is built: rules (`include`, `exclude`) look at these."""

    phase: int = TEST
    level: int = 0
    stages: tuple[str, ...] = ()
