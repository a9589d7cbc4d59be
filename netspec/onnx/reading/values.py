"""What tensors of an ONNX graph become: constants, or blobs that layers make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from netspec.ops.base import Op, Shape
from netspec.schema import LayerParameter

# What values are: numbers, integers that the net is given, or numbers to be cut to
# integers, which only a table may read, as it cuts them itself.
REAL, WHOLE, CUT = "numbers", "integers", "numbers cast to integers"


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor whose values the file holds.

    source: what it was made from, the same for the same values; "" where nobody else
    has them. learned: whether it is an initializer, or was computed from one.
    """

    values: np.ndarray
    source: str = ""
    learned: bool = False

    @property
    def shape(self) -> Shape:
        """The sizes of its axes."""
        return self.values.shape

    @property
    def is_real(self) -> bool:
        """Whether it holds numbers with fractions, of any precision."""
        return is_real(self.values.dtype)

    def real(self) -> np.ndarray:
        """Return the values as float32."""
        return np.asarray(self.values).astype(np.float32, copy=False)


@dataclass(eq=False)
class Blob:
    """A tensor that a layer makes.

    maker: None until the layer is there. tensor: its name in the graph. readers: the
    layers that read it, in order. kind: what its values are. twin: the blob that this
    one is, taken for another kind.
    """

    shape: Shape
    kind: str = REAL
    maker: Layer | None = None
    place: int = 0
    tensor: str = ""
    readers: list[Layer] = field(default_factory=list)
    twin: Blob | None = None


@dataclass(eq=False)
class Padded:
    """A blob with constant values around it, which nothing has made yet.

    begin, end: how many along every axis. node: index of the node that pads. made: the
    blob, once something needed it.
    """

    blob: Blob
    begin: Shape
    end: Shape
    value: float
    node: int
    made: Blob | None = None

    @property
    def shape(self) -> Shape:
        """The sizes of its axes."""
        sizes = zip(self.begin, self.blob.shape, self.end, strict=True)
        return tuple(map(sum, sizes))

    @property
    def kind(self) -> str:
        """What its values are."""
        return self.blob.kind


Value: TypeAlias = Constant | Blob | Padded


@dataclass(frozen=True, eq=False)
class Weight:
    """The values of one parameter of a layer.

    source: as of `Constant`, with what was done to it; parameters of one source are
    shared.
    """

    values: np.ndarray
    source: str = ""
    learned: bool = True


@dataclass(eq=False)
class Layer:
    """A layer to be: its options, its wires, its values.

    node: index of the node that it comes from. role: what it does beside the main layer
    of the node, "" for that.
    """

    message: LayerParameter
    bottoms: list[Blob]
    tops: list[Blob]
    weights: list[Weight]
    op: Op
    node: int
    role: str = ""

    @property
    def type(self) -> str:
        """Its type."""
        return self.message.type


def is_real(dtype: np.dtype) -> bool:
    """Tell whether a type of arrays is one of real numbers, also of 16 and 8 bits."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))
