"""Numbers of layers and parameters in a module, for its closed box."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from netspec.draw.boxes import Picture
from netspec.draw.modules import Module
from netspec.graph.looking import learned
from netspec.ops.base import count


@dataclass(frozen=True)
class Totals:
    """Numbers of layers and of parameters, and what stands out.

    A parameter that several layers share counts once. `partly` tells whether there are
    more whose number is not known. `shared` are those that layers
    elsewhere have too. `phase` is that of all layers, or "". `families` are in the
    order of the net, with the number of their layers. `wrong` tells whether a layer has
    a mistake.
    """

    layers: int
    num_params: int
    partly: bool
    families: tuple[tuple[str, int], ...]
    phase: str
    shared: tuple[str, ...]
    wrong: bool


def totals(picture: Picture, module: Module) -> Totals:
    """Add up the layers of a module."""
    own = module.boxes()
    rows = [row for box in own for row in picture.boxes[box].rows]
    sizes: dict[tuple[str, int], int] = {}
    partly = False
    for number, row in enumerate(rows):
        names = [param.name for param in row.layer.param]
        told = None if row.fact.mistake else learned(row.layer, row.fact.op)
        partly = partly or (told is None and not row.fact.mistake)
        for slot, shape in enumerate(told or ()):
            name = names[slot] if slot < len(names) else ""
            key = (name, 0) if name else (f"{number} {slot}", 1)
            sizes[key] = count(shape)
    phases = {row.phase for row in rows}
    inside = set(own)
    shared = dict.fromkeys(name for row in rows for name in row.shared)
    return Totals(
        layers=len(rows),
        num_params=sum(sizes.values()),
        partly=partly,
        families=tuple(Counter(row.family for row in rows).items()),
        phase=phases.pop() if len(phases) == 1 else "",
        shared=tuple(name for name in shared if picture.users[name] - inside),
        wrong=any(row.fact.mistake for row in rows),
    )
