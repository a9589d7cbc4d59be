"""What a module holds, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from netspec.drawing.boxes import Picture
from netspec.drawing.modules import Module
from netspec.ops.base import count


@dataclass(frozen=True)
class Totals:
    """Numbers of layers, of parameters and of multiply-adds, and what stands out.

    A parameter that several layers share counts once. `shared` are those that layers
    elsewhere have too. `phase` is that of all layers, or "". `families` are in the
    order of the net, with the number of their layers.
    """

    layers: int
    num_params: int
    macs: int
    families: tuple[tuple[str, int], ...]
    phase: str
    shared: tuple[str, ...]
    mistakes: tuple[str, ...]


def totals(picture: Picture, module: Module) -> Totals:
    """Add up the layers of a module."""
    own = module.boxes()
    rows = [row for box in own for row in picture.boxes[box].rows]
    sizes: dict[tuple[str, int], int] = {}
    for number, row in enumerate(rows):
        names = [param.name for param in row.layer.param]
        for slot, definition in enumerate(row.fact.op.params if row.fact.op else ()):
            name = names[slot] if slot < len(names) else ""
            key = (name, 0) if name else (f"{number} {slot}", 1)
            sizes[key] = count(definition.shape)
    phases = {row.phase for row in rows}
    return Totals(
        layers=len(rows),
        num_params=sum(sizes.values()),
        macs=sum(row.fact.op.macs for row in rows if row.fact.op),
        families=tuple(Counter(row.family for row in rows).items()),
        phase=phases.pop() if len(phases) == 1 else "",
        shared=_shared(picture, set(own)),
        mistakes=tuple(row.fact.mistake for row in rows if row.fact.mistake),
    )


def _shared(picture: Picture, own: set[int]) -> tuple[str, ...]:
    """Return the names of parameters that are used here and elsewhere."""
    here: dict[str, None] = {}
    elsewhere: set[str] = set()
    for index, box in enumerate(picture.boxes):
        for row in box.rows:
            names = [name for name in row.shared.split(", ") if name]
            if index in own:
                here.update(dict.fromkeys(names))
            else:
                elsewhere.update(names)
    return tuple(name for name in here if name in elsewhere)
