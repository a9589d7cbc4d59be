"""Kept text of fields of forks as keywords: `bn_param=dict(frozen=True)`.

Only where a call with the keyword keeps the very same text; all else stays text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netspec import schema
from netspec.language.options import LAYER_FIELDS, own_param
from netspec.language.python_to_proto import assign_unknown
from netspec.schema import LayerParameter
from netspec.schema.kept import UNKNOWN_FIELDS


def with_keywords(layer_type: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a layer with its kept fields as keywords."""
    own = own_param(layer_type)
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name == own and isinstance(value, Mapping) and [*value] == [UNKNOWN_FIELDS]:
            inner = _with_keywords(LAYER_FIELDS[name].message_type, value)
            taken = {*options, *LAYER_FIELDS}  # what a keyword alone would mean
            if UNKNOWN_FIELDS in inner or not inner.keys().isdisjoint(taken):
                found[name] = inner
            else:
                found |= inner
        elif name in LAYER_FIELDS:
            found[name] = _converted(LAYER_FIELDS[name], value)
        else:
            found[name] = value
    kept = found.pop(UNKNOWN_FIELDS, None)
    if kept is None:
        return found
    values = _with_keywords(LayerParameter.DESCRIPTOR, {UNKNOWN_FIELDS: kept})
    return {**found, **_flat(layer_type, values)}


def _converted(field: Any, value: Any) -> Any:
    kind = field.message_type
    if kind is None:
        return value
    if isinstance(value, list):
        return [_converted(field, each) for each in value]
    return _with_keywords(kind, value) if isinstance(value, Mapping) else value


def _with_keywords(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    fields = kind.fields_by_name
    found = {
        name: _converted(fields[name], value) if name in fields else value
        for name, value in values.items()
        if name != UNKNOWN_FIELDS
    }
    texts = values.get(UNKNOWN_FIELDS)
    if texts is None:
        return found
    texts = [texts] if isinstance(texts, str) else list(texts)
    keywords = _keywords(kind.name, texts)
    if keywords is None or not keywords.keys().isdisjoint(found):
        return {**found, UNKNOWN_FIELDS: texts}
    return {**found, **keywords}


def _keywords(message: str, texts: list[str]) -> dict[str, Any] | None:
    """Return texts as keywords that keep the same texts, None where none do."""
    from netspec.forks.keywords import as_keywords  # which most nets do not need

    keywords, rest = as_keywords(message, texts)
    again = getattr(schema, message)()
    problems = [
        problem
        for name, value in keywords.items()
        for problem in assign_unknown(again, name, value)
    ]
    same = not rest and not problems and list(again.unknown_fields) == texts
    return keywords if same else None


def _flat(layer_type: str, values: dict[str, Any]) -> dict[str, Any]:
    """Let the fields of a type's own parameter stand by themselves."""
    from netspec.forks.keywords import param_with, params_of

    if len(values) != 1 or own_param(layer_type) is not None:
        return values
    ((param, inner),) = values.items()
    if param not in params_of(layer_type) or not isinstance(inner, Mapping):
        return values
    alone = inner and all(
        name not in LAYER_FIELDS and param_with(layer_type, name) == param
        for name in inner
    )
    return dict(inner) if alone else values
