"""`State`: phase, level and stages, by which rules keep layers or drop them."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.errors import SpecError, did_you_mean, shown
from netspec.schema import TEST, TRAIN

PHASES = {"TRAIN": TRAIN, "TEST": TEST}


def phase_number(phase: str | int, *others: str) -> int:
    """Return `TRAIN` or `TEST` for a phase that is given by number, or by name.

    The case of a name does not matter, here and wherever a phase is given in Python.
    others: further words that the caller knows, for the message.

    Raises `SpecError` for anything else.
    """
    if isinstance(phase, str) and phase.upper() in PHASES:
        return PHASES[phase.upper()]
    if type(phase) is int and phase in PHASES.values():
        return phase
    *known, last = (repr(word) for word in (*PHASES, *others))
    hint = did_you_mean(phase, PHASES) if isinstance(phase, str) else ""
    raise SpecError(
        f"phase is {shown(phase)}; expected {', '.join(known)} or {last}{hint}"
    )


@dataclass(frozen=True)
class State:
    """What a net is built for; the rules `include` and `exclude` look at it."""

    phase: int = TEST
    level: int = 0
    stages: tuple[str, ...] = ()
