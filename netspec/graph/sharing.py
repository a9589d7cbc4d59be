"""Which parameter every slot of every layer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.errors import SpecError, joined
from netspec.graph.types import Use
from netspec.ops.base import Op, Shape, count, label
from netspec.ops.opaque import Opaque, blob_shape
from netspec.schema import BlobProto, FillerParameter, LayerParameter, ParamSpec


@dataclass
class Shared:
    """A parameter while its users are collected."""

    name: str
    shape: Shape
    filler: FillerParameter
    blob: BlobProto | None
    users: list[Use]
    lr_mult: float
    decay_mult: float
    has_lr_mult: bool
    has_decay_mult: bool


def share(ops: Sequence[Op]) -> tuple[list[Shared], list[tuple[int, ...]]]:
    """Return the distinct parameters, and the parameter of every slot of every op.

    The first layer that names a parameter owns it. Later ones must have the same shape,
    or with `share_mode: PERMISSIVE` the same count. Explicit multipliers must agree; an
    explicit one in a later layer replaces a default.
    """
    parameters: list[Shared] = []
    slots: list[tuple[int, ...]] = []
    by_name: dict[str, int] = {}
    mistakes: list[SpecError] = []
    for index, op in enumerate(ops):
        opaque = isinstance(op, Opaque)  # nobody knows how many it has
        if len(op.layer.param) > len(op.params) and not opaque:
            mistakes.append(
                SpecError(
                    f"{len(op.layer.param)} param blocks are given, but the layer has "
                    f"{len(op.params)} parameters; remove the others",
                    layer=label(op.layer),
                )
            )
            slots.append(())
            continue
        blobs = _initial(op, mistakes)
        mine = []
        for slot in range(len(op.params)):
            spec = _spec(op, slot, mistakes)
            if spec.name and spec.name in by_name:
                number = by_name[spec.name]
                owner = parameters[number]
                _check_shape(op, slot, spec, owner, ops, mistakes)
                _merge(op.layer, spec, owner, ops[owner.users[0].node], mistakes)
                owner.users.append(Use(index, slot))
            else:
                number = len(parameters)
                parameters.append(_new(op, slot, spec, blobs[slot], index))
                if spec.name:
                    by_name[spec.name] = number
            mine.append(number)
        slots.append(tuple(mine))
    if mistakes:
        raise joined(mistakes)
    return parameters, slots


def _spec(op: Op, slot: int, mistakes: list[SpecError]) -> ParamSpec:
    given = slot < len(op.layer.param)
    spec: ParamSpec = op.layer.param[slot] if given else ParamSpec()
    if op.learned_params is None or slot in op.learned_params:
        return spec
    if given and spec.lr_mult != 0:
        mistakes.append(
            SpecError(
                f"parameter {slot} is a statistic and is not learned, so its lr_mult "
                f"must be 0; got {spec.lr_mult:g}",
                layer=label(op.layer),
            )
        )
    still = ParamSpec()
    still.CopyFrom(spec)
    still.lr_mult = 0
    return still


def _new(
    op: Op, slot: int, spec: ParamSpec, blob: BlobProto | None, node: int
) -> Shared:
    definition = op.params[slot]
    return Shared(
        name=spec.name,
        shape=definition.shape,
        filler=definition.filler,
        blob=blob,
        users=[Use(node, slot)],
        lr_mult=spec.lr_mult,
        decay_mult=spec.decay_mult,
        has_lr_mult=spec.HasField("lr_mult"),
        has_decay_mult=spec.HasField("decay_mult"),
    )


def _check_shape(
    op: Op,
    slot: int,
    spec: ParamSpec,
    owner: Shared,
    ops: Sequence[Op],
    mistakes: list[SpecError],
) -> None:
    shape = op.params[slot].shape
    permissive = spec.share_mode == ParamSpec.PERMISSIVE
    if permissive and count(shape) == count(owner.shape):
        return
    if not permissive and shape == owner.shape:
        return
    first = label(ops[owner.users[0].node].layer)
    if permissive:
        fix = "PERMISSIVE sharing needs the same number of values"
    else:
        fix = "make them equal, or allow the same count with share_mode: PERMISSIVE"
    mistakes.append(
        SpecError(
            f"parameter {slot} shares {spec.name!r} with {first}, but has shape "
            f"{shape} instead of {owner.shape}; {fix}",
            layer=label(op.layer),
        )
    )


def _merge(
    layer: LayerParameter,
    spec: ParamSpec,
    owner: Shared,
    first: Op,
    mistakes: list[SpecError],
) -> None:
    if spec.HasField("lr_mult"):
        if owner.has_lr_mult and owner.lr_mult != spec.lr_mult:
            mistakes.append(
                _mismatch(
                    layer, first, spec.name, "lr_mult", spec.lr_mult, owner.lr_mult
                )
            )
        owner.has_lr_mult, owner.lr_mult = True, spec.lr_mult
    if spec.HasField("decay_mult"):
        if owner.has_decay_mult and owner.decay_mult != spec.decay_mult:
            mistakes.append(
                _mismatch(
                    layer,
                    first,
                    spec.name,
                    "decay_mult",
                    spec.decay_mult,
                    owner.decay_mult,
                )
            )
        owner.has_decay_mult, owner.decay_mult = True, spec.decay_mult


def _mismatch(
    layer: LayerParameter, first: Op, name: str, field: str, got: float, want: float
) -> SpecError:
    return SpecError(
        f"{field} of the shared parameter {name!r} is {got:g}, but "
        f"{label(first.layer)} says {want:g}; give the same value, or give it once",
        layer=label(layer),
    )


def _initial(op: Op, mistakes: list[SpecError]) -> list[BlobProto | None]:
    """Return the values that the layer's `blobs` give for each parameter."""
    blobs = op.layer.blobs
    if not len(blobs):
        return [None] * len(op.params)
    if len(blobs) != len(op.params):
        mistakes.append(
            SpecError(
                f"{len(blobs)} blobs are given for {len(op.params)} parameters; give "
                f"one for each",
                layer=label(op.layer),
            )
        )
        return [None] * len(op.params)
    for slot, (blob, definition) in enumerate(zip(blobs, op.params, strict=True)):
        if not blob_fits(blob, definition.shape):
            mistakes.append(
                SpecError(
                    f"blob {slot} has shape {blob_shape(blob)}; expected "
                    f"{definition.shape}, the shape of the parameter",
                    layer=label(op.layer),
                )
            )
    return list(blobs)


def blob_fits(blob: BlobProto, shape: Shape) -> bool:
    """Tell whether a BlobProto has `shape`; the old form may have 1s in front."""
    stated = blob_shape(blob)
    if blob.HasField("shape"):
        return stated == shape
    return len(shape) <= 4 and stated == (1,) * (4 - len(shape)) + shape
