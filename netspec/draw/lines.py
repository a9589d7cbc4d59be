"""Lines inside modules: the blobs of a picture, with equal modules in a row as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.draw.boxes import Picture
from netspec.draw.modules import Line, Module


@dataclass(frozen=True)
class Wire:
    """One blob as it is drawn; it stands for those of the modules that are not.

    source, targets: boxes that are drawn.
    """

    blob: int
    source: int
    targets: tuple[int, ...]


def drawn_boxes(root: Module, picture: Picture) -> list[int]:
    """Return which box is drawn for each: in a fold, its equal in the first module."""
    drawn = list(range(len(picture.boxes)))
    for module in root.seen():
        for other in module.children[1:] if module.is_fold else ():
            if isinstance(other, Module):
                pairs = zip(other.boxes(), module.shown.boxes(), strict=True)
                for box, equal in pairs:
                    drawn[box] = equal
    for box in range(len(drawn)):
        while drawn[box] != drawn[drawn[box]]:  # folds in folds
            drawn[box] = drawn[drawn[box]]
    return drawn


def wires(root: Module, picture: Picture) -> list[Wire]:
    """Return the blobs as they are drawn, without those from step to step of a fold."""
    drawn = drawn_boxes(root, picture)
    folds = [module for module in root.seen() if module.is_fold]
    equal: dict[int, int] = {}
    steps: dict[int, list[tuple[int, int]]] = {}  # box -> the folds and steps it is in
    for number, fold in enumerate(folds):
        for blob, other in fold.equal.items():
            equal.setdefault(blob, other)
        for step, child in enumerate(fold.children):
            for box in child.boxes() if isinstance(child, Module) else ():
                steps.setdefault(box, []).append((number, step))
    found: dict[int, tuple[int, dict[int, None]]] = {}
    for number, each in enumerate(picture.blobs):
        source, readers = each.net.source, each.net.targets
        shown = _shown(number, picture, drawn, equal)
        own = drawn[picture.blobs[shown].net.source]
        targets = found.setdefault(shown, (own, {}))[1]
        around = steps.get(source, ())
        for box in readers:
            if not (around and _is_unseen(around, steps.get(box, ()))):
                targets[drawn[box]] = None
    return [Wire(blob, own, tuple(ends)) for blob, (own, ends) in found.items()]


def _shown(
    blob: int, picture: Picture, drawn: Sequence[int], equal: dict[int, int]
) -> int:
    """Return the blob that is drawn for one."""
    while True:
        source = picture.blobs[blob].net.source
        if blob in equal:
            blob = equal[blob]
        elif drawn[source] != source:
            place = picture.boxes[source].makes.index(blob)
            blob = picture.boxes[drawn[source]].makes[place]
        else:
            return blob


def _is_unseen(
    source: Sequence[tuple[int, int]], target: Sequence[tuple[int, int]]
) -> bool:
    """Tell whether a line lies in a fold, but not in the first of its modules."""
    return any(
        fold == other and (step, reached) != (0, 0)
        for fold, step in source
        for other, reached in target
    )


def settle(root: Module, picture: Picture) -> None:
    """Fill in, in every module that is seen, what comes in, goes out, and the lines."""
    for module in [root, *root.modules()]:
        for child in module.children:
            if isinstance(child, Module):
                child.parent = module
    modules = [root, *root.seen()]
    chain: dict[int, list[int]] = {}  # box -> the modules around it, outermost first
    places = []
    for index, module in enumerate(modules):
        module.entries, module.exits = [], []
        places.append(module.places())
        for box in places[-1]:
            chain.setdefault(box, []).append(index)
    found: list[list[tuple[int, int | None, list[int], bool]]] = [[] for _ in modules]
    for wire in wires(root, picture):
        around = {index for box in (wire.source, *wire.targets) for index in chain[box]}
        for index in sorted(around):
            place = places[index]
            own = place.get(wire.source)
            targets = dict.fromkeys(place[box] for box in wire.targets if box in place)
            leaves = own is not None and any(box not in place for box in wire.targets)
            if own is None:
                modules[index].entries.append(wire.blob)
            else:
                targets.pop(own, None)
                if leaves:
                    modules[index].exits.append(wire.blob)
                child = modules[index].children[own]
                if isinstance(child, Module) and not targets and not leaves:
                    continue
            found[index].append((wire.blob, own, list(targets), leaves))
    for module, lines in zip(modules, found, strict=True):
        module.set_lines(_numbered(module, lines))


def _numbered(
    module: Module, found: Sequence[tuple[int, int | None, list[int], bool]]
) -> list[Line]:
    """Turn places among the children into places among entries, children, exits."""
    start = len(module.entries)
    end = start + len(module.children)
    entry = {blob: place for place, blob in enumerate(module.entries)}
    leaving = {blob: end + place for place, blob in enumerate(module.exits)}
    lines = []
    for blob, source, targets, leaves in found:
        ends = [start + target for target in targets]
        if leaves:
            ends.append(leaving[blob])
        begin = entry[blob] if source is None else start + source
        lines.append(Line(blob, begin, tuple(ends)))
    return lines
