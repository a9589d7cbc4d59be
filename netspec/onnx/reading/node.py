"""One node of a graph while it is read: its inputs, its options, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from netspec.errors import UnsupportedError
from netspec.onnx.reading.library import library
from netspec.onnx.reading.values import REAL, Blob, Constant, Padded, Value

LARGEST_SHAPE = 64  # of a list of axes or sizes


class Refused(UnsupportedError):
    """A node that no layers are equal to."""


@dataclass(eq=False)
class Node:
    """A node with the values of its inputs; None where one is left out.

    version: of the operators of its domain. schema: what the library knows of it.
    """

    index: int
    proto: Any
    version: int
    inputs: Sequence[Value | None]
    schema: Any

    @property
    def op(self) -> str:
        """The type of the node."""
        return str(self.proto.op_type)

    def refuse(self, text: str) -> NoReturn:
        """Say why nothing equal to this node can be made."""
        raise Refused(text)

    def option(self, name: str, default: Any = None) -> Any:
        """Return an attribute, else its default in this version, else `default`."""
        onnx = library()
        for each in self.proto.attribute:
            if each.name == name:
                value = onnx.helper.get_attribute_value(each)
                if isinstance(value, bytes):
                    return value.decode(errors="replace")
                return list(value) if isinstance(value, Sequence) else value
        known = self.schema.attributes.get(name)
        given = known.default_value if known is not None else None
        if given is not None and given.type != onnx.AttributeProto.UNDEFINED:
            value = onnx.helper.get_attribute_value(given)
            return value.decode() if isinstance(value, bytes) else value
        return default

    def flag(self, name: str) -> bool:
        """Return an attribute that is 0 or 1; other programs differ about others."""
        value = self.option(name, 0)
        if value not in (0, 1):
            self.refuse(f"{name} is {value!r}; expected 0 or 1")
        return bool(value)

    def has(self, place: int) -> bool:
        """Tell whether an input is given."""
        return place < len(self.inputs) and self.inputs[place] is not None

    def constant(self, place: int, what: str) -> Constant:
        """Return an input that has to be a constant; `what` names it in errors."""
        value = self.inputs[place] if self.has(place) else None
        if value is None:
            self.refuse(f"{what} is not given")
        if not isinstance(value, Constant):
            self.refuse(f"{what} is computed by the net; expected a constant")
        return value

    def whole(self, place: int, what: str) -> list[int] | None:
        """Return the integers of an input, None where it is not given."""
        if not self.has(place):
            return None
        values = self.constant(place, what).values.reshape(-1)
        if values.size > LARGEST_SHAPE:
            self.refuse(f"{what} has {values.size} values")
        return [int(value) for value in values]

    def number(self, place: int, what: str) -> float | None:
        """Return the number that an input is, None where it is not given."""
        if not self.has(place):
            return None
        values = self.constant(place, what).values
        if values.size != 1:
            self.refuse(f"{what} has shape {values.shape}; expected one number")
        return float(np.float32(values.reshape(-1)[0]))

    def axes(self, rank: int, given: Sequence[int], what: str = "axes") -> list[int]:
        """Return axes counted from the front."""
        if any(not -rank <= axis < rank for axis in given):
            self.refuse(f"{what} is {list(given)}, the input has {rank} axes")
        found = [axis % rank for axis in given]
        if len(set(found)) < len(found):
            self.refuse(f"{what} is {list(given)}, which names an axis twice")
        return found

    def axis(self, rank: int, name: str = "axis", default: int = 0) -> int:
        """Return the axis that an attribute names, counted from the front."""
        return self.axes(rank, [self.option(name, default)], name)[0]

    def only(self, name: str, *allowed: Any, default: Any = None) -> None:
        """Refuse an attribute that is none of the values `allowed`."""
        value = self.option(name, default)
        if value is not None and value not in allowed:
            good = " or ".join(map(repr, allowed))
            self.refuse(f"{name} is {value!r}; only {good} is read")

    def computed(self) -> list[Blob | Padded]:
        """Return the inputs that the net computes."""
        return [x for x in self.inputs if isinstance(x, Blob | Padded)]

    def reads_real(self) -> bool:
        """Tell whether all computed inputs are real numbers."""
        return all(x.kind == REAL for x in self.computed())
