"""Short ways to read one layer in a test."""

from typing import Any

import pytest
from google.protobuf import text_format

from netspec.errors import SpecError
from netspec.ops import Op, Shape, infer
from netspec.schema import LayerParameter


def layer(text: str) -> LayerParameter:
    """Return a layer from text; it is called 'it' and has the tops it needs."""
    parsed = text_format.Parse(text, LayerParameter())
    if not parsed.name:
        parsed.name = "it"
    return parsed


def read(text: str, *bottoms: Shape) -> Any:
    """Return the op of the layer `text` on bottoms of these shapes."""
    parsed = layer(text)
    while len(parsed.bottom) < len(bottoms):
        parsed.bottom.append(f"b{len(parsed.bottom)}")
    return infer(parsed, bottoms)


def refuses(text: str, *bottoms: Shape, match: str) -> None:
    """Check that the layer is refused with this message, which also names it."""
    with pytest.raises(SpecError, match=match) as caught:
        read(text, *bottoms)
    parsed = layer(text)
    assert f"layer 'it' ({parsed.type})" in str(caught.value)


def param_shapes(op: Op) -> list[Shape]:
    """Return the shapes of the parameters."""
    return [param.shape for param in op.params]


def fillers(op: Op) -> list[tuple[str, float]]:
    """Return type and value of the default fillers."""
    return [(param.filler.type, param.filler.value) for param in op.params]
