"""Layers of a file under the names of a net: by a mapping, a function, or patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from netspec.errors import SpecError, did_you_mean
from netspec.weights.keyed import split_key
from netspec.weights.stored import LayerWeights

# The name that each layer of a file has in a net: {"theirs": "ours"}, a function, or
# patterns of the whole name with what takes its place. None leaves a layer out.
Names: TypeAlias = (
    Mapping[str, str | None]
    | Callable[[str], str | None]
    | Sequence[tuple[str, str | None]]
)


@dataclass(frozen=True)
class Named:
    """A layer of a net, with the arrays of one or several layers of a file.

    theirs: what the file calls these.
    """

    layer: LayerWeights
    theirs: tuple[str, ...]


def named(
    layers: Sequence[LayerWeights],
    names: Names | None,
    ours: Collection[str],
    path: str | Path,
) -> tuple[list[Named], list[str]]:
    """Return the layers of a file by the names of a net, and the names left out.

    ours: the names of the net. Layers of which `names` says nothing keep theirs, unless
    it gives that name to another. The name `LAYER/INDEX`, where no layer has it, is
    that of one array of a layer; so arrays with keys of their own become those of one.

    Raises `SpecError` for names that the file or the net does not have, patterns that
    fit nothing, and two layers with one name.
    """
    if names is None:
        return [Named(layer, (layer.name,)) for layer in layers], []
    given = _given([layer.name for layer in layers], names, ours, path)
    claims: dict[str, list[tuple[int | None, LayerWeights]]] = {}
    for layer in layers:
        place = given.get(layer.name)
        if place is not None:
            name, slot = _place(place, layer, ours)
            claims.setdefault(name, []).append((slot, layer))
    found, left = [_joined(name, held, path) for name, held in claims.items()], []
    for layer in layers:
        if layer.name not in given and layer.name not in claims:
            found.append(Named(layer, (layer.name,)))
        elif given.get(layer.name) is None:
            left.append(layer.name)
    return found, left


def _given(
    theirs: Sequence[str], names: Names, ours: Collection[str], path: str | Path
) -> dict[str, str | None]:
    """Return what is said of the names of a file."""
    if callable(names):
        answers = {name: names(name) for name in theirs}
        return {name: own for name, own in answers.items() if own != name}
    if not isinstance(names, Mapping):
        return _by_pattern(theirs, names, path)
    for name, own in names.items():
        if name not in theirs:
            raise SpecError(
                f"{path}: names gives {name!r} another name, which the file does not "
                f"have{did_you_mean(name, theirs)}"
            )
        if own is not None and not {own, split_key(own)[0]} & set(ours):
            raise SpecError(
                f"{path}: names calls {name!r} of the file {own!r}, which the net does "
                f"not have{did_you_mean(own, ours)}"
            )
    return dict(names)


def _by_pattern(
    theirs: Sequence[str], patterns: Sequence[tuple[str, str | None]], path: str | Path
) -> dict[str, str | None]:
    """Return what the first pattern that fits makes of each name."""
    given: dict[str, str | None] = {}
    for pattern, own in patterns:
        try:
            fits = [match for name in theirs if (match := re.fullmatch(pattern, name))]
            if not fits:
                raise SpecError(f"{path}: no layer of the file fits {pattern!r}")
            for match in fits:
                new = None if own is None else match.expand(own)
                given.setdefault(match.string, new)
        except (re.error, IndexError) as error:
            raise SpecError(f"names: {pattern!r} and {own!r}: {error}") from None
    return given


def _place(
    place: str, layer: LayerWeights, ours: Collection[str]
) -> tuple[str, int | None]:
    """Return the layer of the net that a name means, and the array, if only one."""
    name, slot = split_key(place)
    if place in ours or name not in ours or len(layer.blobs) != 1:
        return place, None
    return name, slot


def _joined(
    name: str, held: Sequence[tuple[int | None, LayerWeights]], path: str | Path
) -> Named:
    """Return the layer that one layer of the file makes, or several arrays."""
    theirs = tuple(layer.name for _, layer in held)
    slots = [slot for slot, _ in held]
    whole = None in slots
    if (whole and len(held) > 1) or len(set(slots)) < len(slots):
        raise SpecError(
            f"{path}: {' and '.join(map(repr, theirs))} of the file are all to become "
            f"{name!r}; give each a layer or an array of its own"
        )
    if whole:
        return Named(LayerWeights(name, held[0][1].blobs), theirs)
    blobs = {slot: layer.blobs[0] for slot, layer in held if slot is not None}
    return Named(
        LayerWeights(name, tuple(map(blobs.get, range(max(blobs) + 1)))), theirs
    )
