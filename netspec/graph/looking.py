"""Layers that are looked at: read if that can be done, or opaque."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec.catalogue.check import check_arity
from netspec.catalogue.parameters import parameter_roles
from netspec.errors import ShapeError, SpecError
from netspec.forks import owners, type_owners
from netspec.nets.own_types import as_own
from netspec.ops import is_known_type, known_types, op_class
from netspec.ops.base import Op, Shape, label
from netspec.ops.data import infer_with
from netspec.ops.opaque import (
    Opaque,
    blob_shape,
    is_over,
    opaque_op,
    unread_options,
)
from netspec.schema import LayerParameter
from netspec.text.near import near_miss

MAX_OWNERS = 3  # forks that are named


def may_be_given(layer: LayerParameter) -> bool:
    """Tell whether only a file or code tells the shapes that a layer makes."""
    if not is_known_type(layer.type):
        return False
    kind = op_class(layer.type)
    return kind.is_source or kind.learns_shapes


def look_at(
    layer: LayerParameter,
    bottoms: Sequence[Shape],
    given: Mapping[str, Sequence[int]],
) -> Op:
    """Read a layer, with shapes `given` for any top.

    Raises `UnknownShape` where a shape is not known, `ShapeError` where the layer makes
    another one than is given.
    """
    layer = as_own(layer)
    unread = unreadable(layer)
    if unread is None or (is_known_type(layer.type) and op_class(layer.type).is_source):
        op = infer_with(layer, bottoms, given)
    else:
        op = opaque_op(layer, bottoms, given, _why(layer, unread))
    if not may_be_given(layer):
        check_agrees(layer, op.tops, given)
    return op


def unreadable(layer: LayerParameter) -> list[tuple[str, str]] | None:
    """Return the unknown fields for which a layer cannot be read, None if it can.

    They are pairs of a message and a field as text; none where it is the type that is
    not known. Options count, and any field of a layer whose numbers of bottoms
    and tops are not those of its type: something says what the others are for.
    """
    if not is_known_type(layer.type):
        return []
    unread = unread_options(layer)
    if not unread and len(layer.unknown_fields):
        try:
            check_arity(layer)
        except SpecError:
            unread = [("LayerParameter", text) for text in layer.unknown_fields]
    return unread or None


def _why(layer: LayerParameter, unread: list[tuple[str, str]]) -> str:
    if not unread:
        return f"type {kind_of(layer)!r} is not known here"
    texts = ", ".join(repr(" ".join(text.split())) for _, text in unread)
    return f"what {texts} does is not known here"


def check_agrees(
    layer: LayerParameter,
    tops: Sequence[Shape | None],
    given: Mapping[str, Sequence[int]],
) -> None:
    """Refuse a shape that is given for a top which has another one.

    What is given holds for the first layer that makes the blob, not for those in place.
    """
    for place, (top, shape) in enumerate(zip(layer.top, tops, strict=False)):
        wanted = tuple(given[top]) if top in given else shape
        if shape in (None, wanted) or is_over(layer, place, place):
            continue
        raise ShapeError(
            f"shape {wanted} is given for top {top!r}, but the layer makes {shape}; "
            f"leave it away, or correct it",
            layer=label(layer),
        )


def learned(layer: LayerParameter, op: Op | None) -> tuple[Shape, ...] | None:
    """Return the shapes of what a layer learns, or None where they are not known.

    A layer that holds the values tells them, as in a caffemodel.
    """
    if op is not None and (op.params or not isinstance(op, Opaque)):
        return tuple(definition.shape for definition in op.params)
    if len(layer.blobs):
        return tuple(map(blob_shape, layer.blobs))
    sure = op is None and unreadable(layer) is None
    return () if sure and parameter_roles(layer, len(layer.bottom)) == () else None


def computed(layer: LayerParameter, op: Op | None) -> int | None:
    """Return how many multiply-adds a layer has, or None where that is not known."""
    if op is not None and not isinstance(op, Opaque):
        return op.macs
    sure = op is None and unreadable(layer) is None
    return 0 if sure and parameter_roles(layer, len(layer.bottom)) == () else None


def taken_in_place(layer: LayerParameter) -> bool:
    """Tell whether an opaque layer is taken to keep a shape, as it is in place."""
    places = range(len(layer.top))
    return unreadable(layer) is not None and any(
        is_over(layer, at, at) for at in places
    )


def near_type(kind: str) -> str | None:
    """Return the known type of which `kind` is a slip; no type of a fork is."""
    return None if type_owners(kind) else near_miss(kind, known_types())


def whose(names: Sequence[str]) -> str:
    """Return the forks of `names` in words: `of SSD, NVCaffe and 9 more`; "" if none.

    names: of all, the best known first.
    """
    if not names:
        return ""
    told = list(names[:MAX_OWNERS])
    more = len(names) - len(told)
    if more:
        return f"of {', '.join(told)} and {more} more"
    return f"of {' and '.join([', '.join(told[:-1]), told[-1]] if told[1:] else told)}"


def opaque_reason(layer: LayerParameter) -> str:
    """Return in few words why a layer cannot be read, or "" if it can.

    `unknown type, of SSD, NVCaffe and 9 more`, `unknown option kernel_d, of C3D`.
    """
    if as_own(layer) is not layer:
        return ""  # as a class in Python
    if not is_known_type(layer.type):
        kind = kind_of(layer)
        near = near_type(kind)
        rest = f"did you mean {near!r}?" if near else whose(type_owners(kind))
        return f"unknown type{', ' * bool(rest)}{rest}"
    unread = unreadable(layer)
    if unread is None:
        return ""
    fields = [(message, _field_name(text)) for message, text in unread]
    owned = [name for message, field in fields for name in owners(message, field)]
    rest = whose(list(dict.fromkeys(owned)))
    names = ", ".join(field for _, field in fields)
    return f"unknown option {names}{', ' * bool(rest)}{rest}"


def kind_of(layer: LayerParameter) -> str:
    """Return the type of a layer; an old file may have one that has no new name."""
    if layer.type:
        return str(layer.type)
    kept = (text for text in layer.unknown_fields if _field_name(text) == "type")
    return next((text.partition(":")[2].strip() for text in kept), "")


def told_type(layer: LayerParameter) -> str:
    """Return what is said where a net with a layer of an unknown type is to be run."""
    kind = kind_of(layer)
    if not kind:
        return "unknown layer type ''; give one, as in type: \"ReLU\""
    near = near_type(kind)
    if near:
        return f"unknown layer type {kind!r}; did you mean {near!r}?"
    names = whose(type_owners(kind))
    return (
        f"unknown layer type {kind!r}{', ' * bool(names)}{names}; to run it, write it "
        f"in Python as a class {kind!r} with @netspec.layer; drawings and summaries "
        f"need shapes only, as in --shape TOP=N,C,H,W"
    )


def _field_name(text: str) -> str:
    return text.partition("{")[0].partition(":")[0].strip()
