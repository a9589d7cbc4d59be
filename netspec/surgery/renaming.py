"""Other names for layers and blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from netspec.errors import SpecError, did_you_mean, joined
from netspec.ops.base import label
from netspec.schema import NetParameter
from netspec.surgery.parts import copied
from netspec.weights import Model

Names: TypeAlias = Mapping[str, str] | Callable[[str], str]


def rename(
    model: Any,
    names: Names | None = None,
    *,
    layers: Names | None = None,
    blobs: Names | None = None,
) -> Model:
    """Return a model with other names of layers and blobs.

    model: a `Model`, or what `as_model` takes; it does not change. names: what layers
    and blobs of a name are called then: a mapping from old to new names, in which
    others may be missing, or a function from the old name to the new one. layers,
    blobs: the same for these alone.

    All names change at once, so that two can be exchanged. Layers that share a name,
    such as data layers of two phases, do so afterwards; so do parameters that are
    shared by `param { name }`, whose names are their own.

    Raises `SpecError` for a name that nothing has, for two that would become one, for
    what is no name, and for a top of HDF5Data, whose name is that of a data set.
    """
    if names is None and layers is None and blobs is None:
        raise SpecError("rename needs names, layers or blobs: what becomes what")
    result = copied(model)
    net, weights = result.net, result.weights or {}
    of_layers = [*dict.fromkeys([*(layer.name for layer in net.layer), *weights])]
    of_blobs = [*dict.fromkeys(_blobs(net))]
    _check_known(names, [*of_layers, *of_blobs], "layer or blob")
    _check_known(layers, of_layers, "layer")
    _check_known(blobs, of_blobs, "blob")
    new_layers = _renamed(of_layers, [layers, names], "layer")
    new_blobs = _renamed(of_blobs, [blobs, names], "blob")
    _check_data_sets(net, new_blobs)
    for layer in net.layer:
        layer.name = new_layers[layer.name]
        for ends in (layer.bottom, layer.top):
            ends[:] = [new_blobs[blob] for blob in ends]
    if result.weights is not None:
        result.weights = {new_layers[name]: held for name, held in weights.items()}
    return result


def _blobs(net: NetParameter) -> Iterable[str]:
    for layer in net.layer:
        yield from layer.bottom
        yield from layer.top


def _check_known(names: Names | None, known: list[str], what: str) -> None:
    if not isinstance(names, Mapping):
        return
    there = set(known)
    mistakes = [
        SpecError(f"the net has no {what} {name!r}{did_you_mean(str(name), known)}")
        for name in names
        if name not in there
    ]
    if mistakes:
        raise joined(mistakes)


def _renamed(old: list[str], sources: list[Names | None], what: str) -> dict[str, str]:
    """Return the new name of every old one; the first source that has one decides."""
    new: dict[str, str] = {}
    takers: dict[str, str] = {}
    for name in old:
        new[name] = name
        for source in sources:
            if isinstance(source, Mapping):
                if name not in source:
                    continue
                new[name] = source[name]
            elif source is not None:
                new[name] = source(name)
            else:
                continue
            break
        if not isinstance(new[name], str) or not new[name]:
            raise SpecError(
                f"{what} {name!r} would be called {new[name]!r}; expected a name, text "
                f"that is not empty"
            )
        other = takers.setdefault(new[name], name)
        if other != name:
            raise SpecError(
                f"{what}s {other!r} and {name!r} would both be called {new[name]!r}; "
                f"give one of them another name"
            )
    return new


def _check_data_sets(net: NetParameter, new: Mapping[str, str]) -> None:
    for layer in net.layer:
        for top in layer.top:
            if layer.type == "HDF5Data" and new[top] != top:
                raise SpecError(
                    f"its top {top!r} is the name of a data set in its files, so it "
                    f"cannot be called {new[top]!r}; take it out of the names",
                    layer=label(layer),
                )
