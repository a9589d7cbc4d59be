"""Whether two layers can be in one net, by their rules."""

from __future__ import annotations

from netspec.schema import LayerParameter, NetStateRule


def may_meet(a: LayerParameter, b: LayerParameter) -> bool:
    """Tell whether some net could hold both layers.

    Rules with stages or levels are taken to be written so as to keep layers apart.
    """
    return any(
        _overlap(first, second) and not (_excluded(first, b) or _excluded(second, a))
        for first in _includes(a)
        for second in _includes(b)
    )


def _includes(layer: LayerParameter) -> list[NetStateRule]:
    return list(layer.include) or [NetStateRule()]


def _overlap(a: NetStateRule, b: NetStateRule) -> bool:
    if a.HasField("phase") and b.HasField("phase") and a.phase != b.phase:
        return False
    return not (has_more_than_phase(a) or has_more_than_phase(b))


def _excluded(rule: NetStateRule, other: LayerParameter) -> bool:
    """Tell whether `other` is excluded wherever `rule` holds."""
    return any(
        has_more_than_phase(exclude)
        or not exclude.HasField("phase")
        or (rule.HasField("phase") and rule.phase == exclude.phase)
        for exclude in other.exclude
    )


def has_more_than_phase(rule: NetStateRule) -> bool:
    """Tell whether a rule asks for a level, a stage, or anything else but a phase."""
    return any(field.name != "phase" for field, _ in rule.ListFields())
