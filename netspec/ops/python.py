"""Python layers, whose shapes only their own code knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from netspec.errors import UnknownShape
from netspec.ops.base import Op, ParamDef, Shape, infers, label
from netspec.ops.own_layer import DEFINED, Definition
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Python(Op):
    """A layer written in Python: class `python_layer` of `module`."""

    type: ClassVar[str] = "Python"
    in_place: ClassVar[bool] = True
    keeps_blobs: ClassVar[bool] = True
    learns_shapes: ClassVar[bool] = True
    module: str
    python_layer: str
    param_str: str

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """All bottoms but those in place, of which the top is left."""
        return tuple(n for n in range(len(self.bottoms)) if not self.is_over(n))

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """All tops: nobody knows what the code reads."""
        return tuple(range(len(self.tops)))

    def is_over(self, place: int) -> bool:
        """Tell whether the bottom and the top at a place are one blob."""
        tops = self.layer.top
        return place < len(tops) and tops[place] == self.layer.bottom[place]


@dataclass(frozen=True, kw_only=True)
class OwnPython(Python):
    """A Python layer whose class this process knows by `netspec.layer`.

    instance: the class with its fields.
    """

    in_place: ClassVar[bool] = False  # its backward may read the bottoms
    keeps_blobs: ClassVar[bool] = False
    learns_shapes: ClassVar[bool] = False
    definition: Definition
    instance: Any

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """All bottoms: nobody knows what the code reads."""
        return tuple(range(len(self.bottoms)))

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """All bottoms of a class without a method `backward`."""
        return () if self.definition.has_backward else self.backward_bottoms

    @property
    def gradient_bottoms(self) -> tuple[int, ...] | None:
        """No bottom, without a method `backward`."""
        return None if self.definition.has_backward else ()


def own_op(
    definition: Definition, layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> OwnPython:
    """Return the op of a layer whose class is known."""
    one = definition.read(layer)
    return OwnPython(
        layer=layer,
        bottoms=bottoms,
        tops=definition.top_shapes(one, layer, bottoms),
        params=definition.parameters(one, layer, bottoms),
        module=layer.python_param.module,
        python_layer=layer.python_param.layer,
        param_str=layer.python_param.param_str,
        definition=definition,
        instance=one,
    )


def python_op(
    layer: LayerParameter,
    bottoms: tuple[Shape, ...],
    tops: Sequence[Shape],
    params: Sequence[ParamDef] = (),
) -> Python:
    """Return the op of a Python layer whose top shapes are known."""
    param = layer.python_param
    return Python(
        layer=layer,
        bottoms=bottoms,
        tops=tuple(tops),
        params=tuple(params),
        module=param.module,
        python_layer=param.layer,
        param_str=param.param_str,
    )


@infers("Python")
def python(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Python:
    """Read a class of `netspec.layer`; refuse another one with tops.

    Only its code knows their shapes.
    """
    param = layer.python_param
    definition = DEFINED.get((param.module, param.layer))
    if definition is not None:
        return own_op(definition, layer, bottoms)
    if not len(layer.top):
        return python_op(layer, bottoms, ())
    raise UnknownShape(
        f"only the code of {param.module}.{param.layer} knows the shapes of its tops "
        f"{tuple(layer.top)}; run the net to learn them, or give them, as in --shape "
        f"{layer.top[0]}=N,C,H,W on the command line or shapes={{{layer.top[0]!r}: "
        f"(n, c, h, w)}}",
        layer=label(layer),
    )
