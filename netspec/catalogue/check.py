"""Checks of one layer against its row in the catalogue."""

from __future__ import annotations

from google.protobuf.message import Message

from netspec.catalogue import LAYER_TYPES, LayerType
from netspec.errors import SpecError, layer_label
from netspec.schema import LayerParameter


def check_arity(layer: LayerParameter) -> None:
    """Refuse a layer with the wrong number of bottoms or tops.

    A loss may leave its top out, as in Caffe. Types outside the catalogue pass.
    """
    row = LAYER_TYPES.get(layer.type)
    if row is None:
        return
    who = layer_label(layer.name, layer.type)
    bottoms, tops = len(layer.bottom), len(layer.top)
    problem = bottom_problem(row, bottoms, tuple(layer.bottom))
    if problem is not None:
        raise SpecError(problem, layer=who)
    wrong = top_problem(row, bottoms, tops)
    if wrong is not None and not (row.auto_top and tops == 0):
        raise SpecError(f"{wrong[0]}; name {wrong[1] or 'none'}", layer=who)


def bottom_problem(row: LayerType, count: int, names: tuple[str, ...]) -> str | None:
    """Return what is wrong with this number of bottoms, or None."""
    low, high = row.bottoms
    if low <= count and (high is None or count <= high):
        return None
    wanted = _number(low, high, "bottom")
    roles = f" ({', '.join(row.bottom_names)})" if row.bottom_names else ""
    given = f" {names}" if names else ""
    more = "give" if count < low else "remove"
    missing = row.bottom_names[count:low]
    fix = f"{more} {' and '.join(missing)}" if missing else f"{more} bottoms"
    return f"takes {wanted}{roles}; got {count}{given}; {fix}"


def top_problem(row: LayerType, bottoms: int, tops: int) -> tuple[str, int] | None:
    """Return what is wrong with this number of tops and the right number, or None."""
    low, high = row.tops
    if row.same_count and tops != bottoms:
        return f"makes as many tops as it has bottoms, {bottoms}; got {tops}", bottoms
    if low <= tops and (high is None or tops <= high):
        return None
    right = low if high is None or tops < low else high
    return f"makes {_number(low, high, 'top')}; got {tops}", right


def missing_fields(row: LayerType, layer: LayerParameter) -> tuple[str, ...]:
    """Return the required fields that `layer` leaves out."""
    if row.param is None:
        return ()
    message = getattr(layer, row.param)
    missing = []
    for field in row.required:
        ways = ((field,), *row.instead.get(field, ()))
        if not any(all(_given(message, name) for name in way) for way in ways):
            missing.append(field)
    return tuple(missing)


def _given(message: Message, field: str) -> bool:
    value = getattr(message, field)
    if hasattr(value, "__len__") and not isinstance(value, str):
        return len(value) > 0  # a repeated field
    return bool(message.HasField(field))


def _number(low: int, high: int | None, noun: str) -> str:
    if high is None:
        return f"at least {low} {noun}{'s' if low != 1 else ''}"
    if low == high:
        return f"{low or 'no'} {noun}{'s' if low != 1 else ''}"
    return f"{low} to {high} {noun}s"
