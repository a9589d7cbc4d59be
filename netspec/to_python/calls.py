"""Layers as calls of layer functions, written as shortly as they can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netspec.language.calls import Function
from netspec.language.options import LAYER_FIELDS, own_param
from netspec.language.python_to_proto import is_repeated
from netspec.nets.module_paths import module_paths
from netspec.nets.rules import may_meet
from netspec.reading.load import load
from netspec.reading.loaded import LoadedFolder, calls_in_order, names_in
from netspec.schema import LayerParameter, NetParameter
from netspec.to_python.fork_fields import with_keywords
from netspec.to_python.program import Statement


def statements(net: NetParameter) -> list[Statement]:
    """Return the layers as calls; tops are counted from 0."""
    spec = load(net, LoadedFolder)
    names = names_in(spec)
    numbers: dict[Any, int] = {}
    first: dict[str, int] = {}  # the place of the first call that made a name
    counts: dict[str, int] = {}  # how far names like a name are counted
    found: list[Statement] = []
    calls = calls_in_order(spec)
    modules = module_paths(net.layer)
    blobs: dict[str, int] = {}
    made = {
        b for fn, layer in zip(calls, net.layer, strict=True) for b in _new(fn, layer)
    }
    for place, fn in enumerate(calls):
        layer = net.layer[place]
        keys = [names[v] for v in (fn.tops or (fn,))]
        options = with_keywords(fn.type_name, fn.params)
        ntop = fn.ntop
        hides = keys[0] in made and not _new(fn, layer)
        if hides or not _can_follow(keys, first, place, net, calls):
            keys, options, ntop = _detached(fn, layer, keys, first, counts)
        outs = []
        for top, key in zip(fn.tops, layer.top, strict=True):
            number = numbers.setdefault(top, len(numbers))
            if ntop < fn.ntop and not fn.in_place:
                numbers[top] = blobs[key]  # read as the one of another phase
                continue
            outs.append(number)
            blobs[key] = number
        for key in keys:
            first.setdefault(key, place)
        found.append(
            Statement(
                fn.type_name,
                [tuple(key) for key in keys],
                [numbers[top] for top in fn.inputs],
                {k: _short(fn.type_name, k, v) for k, v in options.items()},
                outs,
                ntop,
                fn.in_place,
                modules[layer.name].partition("/")[0],
            )
        )
    return found


def _new(fn: Function, layer: LayerParameter) -> list[str]:
    """Return the blobs that a layer makes, without those that it writes over."""
    return [blob for k, blob in enumerate(layer.top) if not fn.writes_over(k)]


def _can_follow(
    keys: list[str],
    first: Mapping[str, int],
    place: int,
    net: NetParameter,
    calls: list[Function],
) -> bool:
    """Tell whether names that are there already may be assigned again.

    A spec emits the layers of one name together: nothing else may stand between.
    """
    known = [first[key] for key in keys if key in first]
    if not known:
        return True
    start = min(known)
    same = all(
        set(net.layer[i].top) == set(net.layer[place].top) for i in range(start, place)
    )
    apart = all(
        not may_meet(net.layer[i], net.layer[place]) for i in range(start, place)
    )
    return same and apart and len(known) == len(keys) and len(calls[start].tops) > 0


def _detached(
    fn: Function,
    layer: LayerParameter,
    keys: list[str],
    first: Mapping[str, int],
    counts: dict[str, int],
) -> tuple[list[str], dict[str, Any], int]:
    """Return another name for a layer, and options that say its own names."""
    name = keys[0]
    count = counts.get(name, 2)
    options = {"name": layer.name, **with_keywords(fn.type_name, fn.params)}
    while f"{name} ({count})" in first:
        count += 1
    counts[name] = count
    if fn.in_place:
        rest = [f"{key} ({count})" for key in keys[1:]]
        return [f"{name} ({count})", *rest], options, fn.ntop
    return [f"{name} ({count})"], {**options, "top": list(layer.top)}, 0


def _short(kind: str, key: str, value: Any) -> Any:
    """Return `value` in the shortest form that means the same."""
    own = own_param(kind)
    fields = LAYER_FIELDS[own].message_type.fields_by_name if own else {}
    field = fields.get(key) or LAYER_FIELDS.get(key)
    return _short_value(field, value) if field is not None else value


def _short_value(field: Any, value: Any) -> Any:
    kind = field.message_type
    if kind is None:
        return value
    if isinstance(value, list):
        return [_short_value(field, item) for item in value]
    fields = kind.fields_by_name
    whole = {
        k: _short_value(fields[k], v) if k in fields else v for k, v in value.items()
    }
    names = tuple(whole)
    if kind.name == "FillerParameter":
        if names == ("type",):
            return whole["type"]
        if names == ("type", "value") and whole["type"] == "constant":
            return whole["value"]
    if kind.name == "NetStateRule" and names == ("phase",):
        return whole["phase"]
    if kind.name == "BlobShape" and names == ("dim",):
        dims = whole["dim"]
        return dims if isinstance(dims, list) else [dims]
    if kind.name == "ParamSpec" and names == ("name",) and not is_repeated(field):
        return whole["name"]
    return whole
