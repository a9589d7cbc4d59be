"""All families of layers, which are imported when one is first asked for.

They are some thirty modules, and writing down a net's first lines needs none of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from netspec.errors import SpecError, did_you_mean
from netspec.ops.base import CLASSES, READERS, Op, check_count, label
from netspec.schema import LayerParameter


@cache
def _load() -> None:
    """Import every module of this package, so that its types are registered."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{package}.{module.name}")


def known_types() -> tuple[str, ...]:
    """Return every layer type that has a static definition, sorted."""
    _load()
    return tuple(sorted(READERS))


def is_known_type(name: str) -> bool:
    """Tell whether a layer type has a static definition."""
    _load()
    return name in READERS


def op_class(name: str) -> type[Op]:
    """Return the class of the ops of layer type `name`, which must be known."""
    _load()
    return CLASSES[name]


def infer(layer: LayerParameter, bottoms: Sequence[Sequence[int]]) -> Op:
    """Read `layer` given the shapes of its bottoms.

    Raises `SpecError` for an unknown type or a bad field, `ShapeError` for shapes that
    cannot meet; both name the layer.
    """
    _load()
    function = READERS.get(layer.type)
    if function is None:
        hint = did_you_mean(layer.type, READERS)
        raise SpecError(f"unknown layer type {layer.type!r}{hint}", layer=label(layer))
    op = function(layer, tuple(tuple(int(d) for d in shape) for shape in bottoms))
    for index, shape in enumerate(op.tops):
        check_count(layer, f"top {index}", shape)
    for index, param in enumerate(op.params):
        check_count(layer, f"parameter {index}", param.shape)
    return op
