"""What is said of parameters, changed for all that share them, then written at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from netspec.schema import ParamSpec
from netspec.tuning.opened import Opened, Part


class Changes:
    """Copies of what is said of parameters, until `write`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._specs: dict[int, list[ParamSpec]] = {}

    def spec(self, part: Part, slot: int) -> ParamSpec:
        """Return what is said of a parameter, to be changed."""
        place = self._opened.parts.index(part)
        if place not in self._specs:
            self._specs[place] = part.own_params()
        return self._specs[place][slot]

    def write(self) -> None:
        """Write all that was changed."""
        for place, specs in self._specs.items():
            part = self._opened.parts[place]
            if all(spec == ParamSpec() for spec in specs):
                specs = []
            for slot in part.statistics if specs else ():
                specs[slot].lr_mult = 0  # Caffe refuses the 1 that it is by default
            part.set_params(specs)

    def others(self, names: Collection[str]) -> tuple[str, ...]:
        """Return what was changed beside `names`, as it shares parameters."""
        parts = self._opened.parts
        changed = dict.fromkeys(parts[place].name for place in sorted(self._specs))
        return tuple(name for name in changed if name not in names)


def lr_mult_of(opened: Opened, part: Part, slot: int) -> float:
    """Return the `lr_mult` of a parameter, which a layer that shares it may give."""
    for other, place in opened.sharers(part, slot):
        params = other.layer.param
        if place < len(params) and params[place].HasField("lr_mult"):
            return float(params[place].lr_mult)
    return 1.0


def lr_mults(opened: Opened, parts: Iterable[Part]) -> dict[str, tuple[float, ...]]:
    """Return the `lr_mult` of each learned parameter, by layer."""
    return {
        part.name: tuple(lr_mult_of(opened, part, slot) for slot in part.learned)
        for part in parts
        if part.roles
    }


def trained(opened: Opened) -> tuple[str, ...]:
    """Return the layers of which some parameter has an `lr_mult` that is not 0."""
    found = lr_mults(opened, opened.parts)
    return tuple(name for name, held in found.items() if any(held))
