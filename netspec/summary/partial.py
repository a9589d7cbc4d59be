"""The summary of a net of which not all shapes are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netspec.errors import UnknownShape
from netspec.graph import Diagnosis
from netspec.graph.looking import computed, learned, opaque_reason, taken_in_place
from netspec.graph.memory import FLOAT_BYTES
from netspec.ops.base import Op, Shape, count, label
from netspec.schema import LayerParameter
from netspec.summary.row import Row
from netspec.summary.tree import known_sum

MAX_NOTES = 8  # of one kind


def partial_parts(found: Diagnosis, paths: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a summary, but for `name` and `phase`.

    paths: those of the modules of layers, by name.
    """
    rows: list[Row] = []
    blobs: dict[str, Shape | None] = {}
    owned: set[str] = set()  # names of parameters that have been counted
    read: set[str] = set()
    inputs: list[str] = []
    last: dict[str, bool] = {}  # blob -> whether nothing has read it since it was made
    for layer, op, tops in zip(found.layers, found.ops, found.tops, strict=True):
        read.update(layer.bottom)
        last.update(dict.fromkeys(layer.bottom, False))
        last.update(dict.fromkeys(layer.top, True))
        named = dict(zip(layer.top, tops, strict=True))
        blobs |= named
        if layer.type == "Input":
            inputs += layer.top
        rows.append(_row(layer, op, named, owned, paths[layer.name]))
    outputs = sorted((b for b, unread in last.items() if unread), key=str.encode)
    layers = list(zip(found.layers, found.ops, strict=True))
    return {
        "rows": tuple(rows),
        "blobs": blobs,
        "inputs": tuple(inputs),
        "outputs": tuple(outputs),
        "num_params": known_sum(row.own_params for row in rows),
        "macs": known_sum(row.macs for row in rows),
        "memory": {},
        "notes": (*_told(found.missing), *notes_of(layers)),
    }


def notes_of(layers: Iterable[tuple[LayerParameter, Op | None]]) -> tuple[str, ...]:
    """Return what is to be said of layers that cannot be read, and what they hide."""
    opaque, kept, below = [], [], 0
    for layer, op in layers:
        reason = opaque_reason(layer)
        if reason:
            opaque.append(f"{label(layer)}, {reason}")
        elif learned(layer, op) is None:
            below += 1
        if taken_in_place(layer):
            kept.append(label(layer))
    notes = [f"not counted: {_listed(opaque)}"] if opaque else []
    if below:
        what = "parameters and MACs of a layer whose" if below == 1 else ""
        what = what or f"parameters and MACs of {below:,} layers whose"
        notes.append(f"not counted: {what} input has no known shape")
    if kept:
        notes.append(f"taken to keep the shape, as it is in place: {_listed(kept)}")
    return tuple(notes)


def unlearned(
    op: Op, slots: Iterable[int], lr_mult: Sequence[float]
) -> tuple[int, int]:
    """Return how many values of these parameters are frozen, and how many statistics.

    lr_mult: of all parameters of the layer.
    """
    frozen = statistics = 0
    for slot in slots:
        size = count(op.params[slot].shape)
        if op.learned_params is not None and slot not in op.learned_params:
            statistics += size
        elif lr_mult[slot] == 0:
            frozen += size
    return frozen, statistics


def _told(missing: Iterable[UnknownShape]) -> list[str]:
    texts = [str(error) for error in missing]
    shown = [f"unknown shape: {text}" for text in texts[:MAX_NOTES]]
    more = len(texts) - len(shown)
    return [*shown, f"and {more:,} more unknown shapes"] if more else shown


def _listed(texts: list[str]) -> str:
    more = len(texts) - MAX_NOTES
    rest = f"; and {more:,} more" if more > 0 else ""
    return "; ".join(texts[:MAX_NOTES]) + rest


def _row(
    layer: LayerParameter,
    op: Op | None,
    tops: dict[str, Shape | None],
    owned: set[str],
    path: str,
) -> Row:
    told = learned(layer, op)
    shapes = told or ()
    names = [param.name for param in layer.param]
    names += [""] * (len(shapes) - len(names))
    seen = [bool(name) and name in owned for name in names[: len(shapes)]]
    owned.update(name for name in names if name)
    own = [count(s) for s, known in zip(shapes, seen, strict=True) if not known]
    frozen = statistics = 0
    if op is not None and len(op.params) == len(shapes):
        multipliers = [param.lr_mult for param in layer.param]
        multipliers += [1.0] * (len(shapes) - len(multipliers))
        mine = (slot for slot, known in enumerate(seen) if not known)
        frozen, statistics = unlearned(op, mine, multipliers)
    places = range(len(layer.top))
    over = [k for k in places if layer.top[k] in layer.bottom[k : k + 1]]
    alias = op is not None and op.alias
    made = [shape for k, shape in enumerate(tops.values()) if k not in over]
    bytes_: int | None = None
    if alias:
        bytes_ = 0
    elif None not in made:
        bytes_ = FLOAT_BYTES * sum(count(shape) for shape in made if shape is not None)
    return Row(
        name=layer.name,
        type=layer.type,
        tops=tops,
        params=shapes,
        num_params=None if told is None else sum(map(count, shapes)),
        own_params=None if told is None else sum(own),
        shared=any(seen),
        macs=computed(layer, op),
        activation_bytes=bytes_,
        path=path,
        frozen=frozen,
        statistics=statistics,
    )
