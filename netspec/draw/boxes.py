"""Layers as boxes, blobs as lines; in-place layers are rows of the box they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from netspec.draw.captions import family_of, options
from netspec.draw.grid import Net
from netspec.errors import SpecError
from netspec.graph.looking import opaque_reason
from netspec.nets.module_paths import module_paths
from netspec.nets.phases import PHASE_NAMES
from netspec.nets.rules import has_more_than_phase
from netspec.ops.base import Op
from netspec.schema import LayerParameter

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fact:
    """What is known of a layer: shapes, parameters and costs if it could be read.

    tops: the shapes of its tops, as far as they are known, also if it could not.
    """

    op: Op | None = None
    mistake: SpecError | None = None
    tops: tuple[Shape | None, ...] = ()


@dataclass(frozen=True)
class Row:
    """One layer, as a box shows it."""

    name: str
    type: str
    options: str
    family: str
    phase: str  # "TRAIN" or "TEST" where the layer is in one phase only, else ""
    shared: tuple[str, ...]  # names of the parameters it shares with other layers
    layer: LayerParameter
    fact: Fact
    path: str  # of the module it is in, "" for none


@dataclass
class Box:
    """A layer and the in-place layers that follow it.

    reads, makes: blobs by number, in the order of the layer's bottoms and tops.
    """

    rows: list[Row] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    makes: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the layer that is not in place."""
        return self.rows[0].name

    @property
    def path(self) -> str:
        """The path of the module that the box is in, "" for none."""
        return self.rows[0].path

    @property
    def mistake(self) -> SpecError | None:
        """What is wrong with one of the layers, or ""."""
        return next((row.fact.mistake for row in self.rows if row.fact.mistake), None)


@dataclass(frozen=True)
class Blob:
    """What a box gives to others: the line's start, and its shape where known.

    label: its name, where a box gives several that it tells apart, else "".
    """

    name: str
    net: Net
    shape: Shape | None
    label: str = ""


@dataclass(frozen=True)
class Picture:
    """Everything to draw, before anything has a place."""

    title: str
    boxes: list[Box]
    blobs: list[Blob]

    @cached_property
    def users(self) -> dict[str, set[int]]:
        """The boxes that use each of the shared parameters, by its name."""
        users: dict[str, set[int]] = {}
        for index, box in enumerate(self.boxes):
            for name in (name for row in box.rows for name in row.shared):
                users.setdefault(name, set()).add(index)
        return users


@dataclass
class _Maker:
    """One version of a blob: the box that holds it, the phases it exists in."""

    name: str
    number: int
    box: int
    phases: frozenset[int]
    shape: Shape | None
    readers: list[int] = field(default_factory=list)


def make_picture(
    title: str,
    layers: Sequence[LayerParameter],
    facts: Sequence[Fact],
    *,
    rates: bool = False,
    paths: Mapping[str, str] | None = None,
) -> Picture:
    """Stack layers into boxes and connect them; `facts` has one for every layer.

    rates: whether boxes say the `lr_mult` of parameters. paths: those of modules that a
    spec tells, by the names of layers.

    Layers of both phases may be mixed; one phase's blob does not hide that of the
    other.
    """
    pairs = _without_splits(layers, facts)
    shared = _shared_params(layer for layer, _ in pairs)
    modules = module_paths([layer for layer, _ in pairs], paths)
    boxes: list[Box] = []
    makers: list[_Maker] = []
    current: dict[str, list[_Maker]] = {}  # blob -> its versions, one a phase at most
    for layer, fact in pairs:
        phases = _phases(layer)
        sources = [_find(current.get(name, ()), phases) for name in layer.bottom]
        row = _row(layer, fact, phases, shared, rates, modules[layer.name])
        box = _box_in_place(layer, sources, phases)
        if box is not None:
            boxes[box].rows.append(row)
            continue
        box = len(boxes)
        boxes.append(Box([row]))
        for maker in (maker for found in sources for maker in found):
            boxes[box].reads.append(maker.number)
            if maker.readers[-1:] != [box]:
                maker.readers.append(box)
        for index, name in enumerate(layer.top):
            maker = _Maker(name, len(makers), box, phases, _shape(fact, index))
            makers.append(maker)
            boxes[box].makes.append(maker.number)
            kept = [m for m in current.get(name, []) if not m.phases & phases]
            current[name] = [*kept, maker]
    blobs = [
        Blob(
            maker.name,
            Net(maker.box, tuple(maker.readers)),
            maker.shape,
            _label(boxes[maker.box], maker.name),
        )
        for maker in makers
    ]
    return Picture(title, boxes, blobs)


def _without_splits(
    layers: Sequence[LayerParameter], facts: Sequence[Fact]
) -> list[tuple[LayerParameter, Fact]]:
    """Drop the Split layers that only fork a blob; lines fork by themselves."""
    forked: dict[str, str] = {}
    kept: list[tuple[LayerParameter, Fact]] = []
    for layer, fact in zip(layers, facts, strict=True):
        bottoms = [forked.get(name, name) for name in layer.bottom]
        if layer.type == "Split" and layer.name.endswith("_split"):
            forked |= dict.fromkeys(layer.top, bottoms[0])
            continue
        if bottoms != list(layer.bottom):
            plain = LayerParameter()
            plain.CopyFrom(layer)
            plain.bottom[:] = bottoms
            layer = plain
        for name in layer.top:
            forked.pop(name, None)
        kept.append((layer, fact))
    return kept


def _phases(layer: LayerParameter) -> frozenset[int]:
    """Return the phases whose nets contain `layer`, by its rules on the phase alone."""
    phases = set(PHASE_NAMES)
    if layer.include:
        phases &= {
            phase
            for phase in PHASE_NAMES
            for rule in layer.include
            if not rule.HasField("phase") or rule.phase == phase
        }
    for rule in layer.exclude:
        if rule.HasField("phase") and not has_more_than_phase(rule):
            phases.discard(rule.phase)
    return frozenset(phases)


def _shared_params(layers: Iterable[LayerParameter]) -> set[str]:
    """Return the names of parameters that more than one layer uses."""
    users: dict[str, set[str]] = {}
    for layer in layers:
        for param in layer.param:
            if param.name:
                users.setdefault(param.name, set()).add(layer.name)
    return {name for name, layers_ in users.items() if len(layers_) > 1}


def _row(
    layer: LayerParameter,
    fact: Fact,
    phases: frozenset[int],
    shared: set[str],
    rates: bool,
    path: str,
) -> Row:
    words = [options(layer)]
    if rates:
        words.append(_rates(layer, fact))
    return Row(
        name=layer.name,
        type=layer.type,
        options=", ".join(word for word in words if word),
        family="unknown" if opaque_reason(layer) else family_of(layer),
        phase=PHASE_NAMES[next(iter(phases))] if len(phases) == 1 else "",
        shared=tuple(p.name for p in layer.param if p.name in shared),
        layer=layer,
        fact=fact,
        path=path,
    )


def _rates(layer: LayerParameter, fact: Fact) -> str:
    """Return lr_mult of every parameter, once where they are equal."""
    count = len(fact.op.params) if fact.op is not None else len(layer.param)
    rates = [spec.lr_mult for spec in layer.param[:count]]
    rates += [1.0] * (count - len(rates))
    if len(set(rates)) == 1:
        rates = rates[:1]
    return f"lr_mult {', '.join(f'{rate:g}' for rate in rates)}" if rates else ""


def _find(versions: Iterable[_Maker], phases: frozenset[int]) -> list[_Maker]:
    """Return the versions of a blob that a layer of these phases reads."""
    return [maker for maker in versions if maker.phases & phases]


def _box_in_place(
    layer: LayerParameter, sources: Sequence[list[_Maker]], phases: frozenset[int]
) -> int | None:
    """Return the box that `layer` stacks onto, or None if it gets its own."""
    if len(layer.bottom) != 1 or list(layer.top) != list(layer.bottom):
        return None
    makers = sources[0]
    if len(makers) != 1 or makers[0].readers or not makers[0].phases <= phases:
        return None
    return makers[0].box


def _label(box: Box, name: str) -> str:
    """Return the name of a blob if its box makes others, of another kind."""
    of_a_kind = box.rows[0].family == "joining"  # parts, copies
    return name if len(box.makes) > 1 and not of_a_kind else ""


def _shape(fact: Fact, index: int) -> Shape | None:
    """Look up the shape of one top."""
    return fact.tops[index] if index < len(fact.tops) else None
