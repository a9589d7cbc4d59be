"""What is statically true of one layer: the contract of every file in this folder.

An `Op` is a layer read once: its options parsed from the proto into plain fields, the
shapes of its tops, its parameters, its multiply-accumulates, and which arrays its
gradient reads. It holds no arrays and imports no array library. `infer` makes one from
a `LayerParameter` and the shapes of its bottoms; the runtime's kernels read nothing but
the `Op`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

from google.protobuf.message import Message

from netspec.errors import ShapeError, layer_label
from netspec.schema import FillerParameter, LayerParameter

Shape: TypeAlias = tuple[int, ...]
PartialShape: TypeAlias = tuple[int | None, ...]  # None for a size that is not known

MAX_COUNT = 2**31 - 1  # largest number of elements of one blob, as in Caffe


@dataclass(frozen=True)
class ParamDef:
    """One learned (or counted) array of a layer: its shape and its default filler."""

    shape: Shape
    filler: FillerParameter


@dataclass(frozen=True)
class Range:
    """The values that a bottom may hold: `low` to `high`, both included.

    integer: whether they are numbers of something, such as classes.
    """

    low: float
    high: float
    integer: bool = False


def numbers_below(count: int) -> Range:
    """Return the range of the numbers 0 to `count` - 1."""
    return Range(0, max(0, count - 1), integer=True)


CLASSES: dict[str, type[Op]] = {}


@dataclass(frozen=True, kw_only=True)
class Op:
    """One layer with known shapes.

    `backward_bottoms` and `backward_tops` are the indices of the bottoms and tops whose
    *data* the gradient reads; the memory planner keeps these until then.
    `gradient_bottoms` are the bottoms that can receive a gradient at all; None is all.
    """

    type: ClassVar[str]
    alias: ClassVar[bool] = False  # top 0.. share the memory of bottom 0 (Reshape)
    is_loss: ClassVar[bool] = False  # the first top has loss_weight 1 by default
    is_source: ClassVar[bool] = False  # a data layer: never runs backward
    keeps_blobs: ClassVar[bool] = False  # finds its blobs as it left them, next time
    learns_shapes: ClassVar[bool] = False  # its tops get their sizes when it runs
    in_place: ClassVar[bool] = False  # may write its top over its bottom's memory
    resizable: ClassVar[bool] = False  # its kernel takes other numbers of rows as it is

    layer: LayerParameter
    bottoms: tuple[Shape, ...]
    tops: tuple[Shape, ...]
    params: tuple[ParamDef, ...] = ()
    macs: int = 0

    @classmethod
    def told_tops(cls, layer: LayerParameter) -> Sequence[PartialShape | None]:
        """Return what a layer tells of tops whose shapes only a file or code knows."""
        return [None] * len(layer.top)

    def __init_subclass__(cls) -> None:
        """Register the class under its layer type."""
        if "type" in cls.__dict__:
            CLASSES[cls.type] = cls

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """Bottoms whose data the gradient reads."""
        return tuple(range(len(self.bottoms)))

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """Tops whose data the gradient reads."""
        return ()

    @property
    def keeps_sign(self) -> bool:
        """Whether every y has the sign of its x, or is 0."""
        return False

    @property
    def reads_sign(self) -> bool:
        """Whether the gradient reads only the sign of its top."""
        return False

    @property
    def gradient_bottoms(self) -> tuple[int, ...] | None:
        """Bottoms that may receive a gradient, or None for all of them."""
        return None

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """Bottoms for which asking for a gradient is a mistake (Caffe aborts)."""
        return ()

    @property
    def unasked_bottoms(self) -> tuple[int, ...]:
        """Bottoms without a gradient where `propagate_down` is not given."""
        return ()

    @property
    def ranges(self) -> Mapping[int, Range]:
        """What bottoms may hold, by index, where not every number means something."""
        return {}

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """Tops whose own gradients are not looked at, as in Caffe."""
        return ()

    @property
    def inexact(self) -> str:
        """Why the gradient is not quite the derivative, where Caffe's is not; or ""."""
        return ""

    @property
    def learned_params(self) -> tuple[int, ...] | None:
        """Parameters that may receive a gradient, or None for all of them."""
        return None

    @property
    def moved_params(self) -> tuple[int, ...]:
        """Parameters whose gradient is a rule of its own, and no derivative."""
        return ()

    def saved_bytes(self, itemsize: int) -> int:
        """Return what is kept from forward to backward beside blobs, for a forecast."""
        return 0


@dataclass(frozen=True, kw_only=True)
class SourceOp(Op):
    """A layer without bottoms that brings data in: it never runs backward."""

    is_source: ClassVar[bool] = True

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """No bottom is read: there is none."""
        return ()


@dataclass(frozen=True, kw_only=True)
class FromOutputOp(Op):
    """An elementwise layer whose gradient reads its output only: right in place."""

    in_place: ClassVar[bool] = True

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """No bottom is read: the output tells the slope."""
        return ()

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The output."""
        return (0,)


@dataclass(frozen=True, kw_only=True)
class NoReadOp(Op):
    """A layer whose gradient reads neither bottoms nor tops."""

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """No bottom is read."""
        return ()


Infer: TypeAlias = Callable[[LayerParameter, tuple[Shape, ...]], Op]
_F = TypeVar("_F", bound=Infer)
READERS: dict[str, Infer] = {}


def stands_for(op: type[Op], *types: str) -> None:
    """Let layers of these `types` be ops of a class that has another type's name."""
    CLASSES.update(dict.fromkeys(types, op))


def infers(*types: str) -> Callable[[_F], _F]:
    """Register the decorated function as the reader of the layer `types`."""

    def register(function: _F) -> _F:
        for name in types:
            if name in READERS:
                raise TypeError(f"two readers of layer type {name!r}")
            READERS[name] = function
        return function

    return register


def label(layer: LayerParameter) -> str:
    """Return how messages name a layer: `layer 'conv1' (Convolution)`."""
    return layer_label(layer.name, layer.type)


def brings_data(kind: str, bottoms: int) -> bool:
    """Tell by type and number of bottoms whether a layer brings data into a net.

    `Op.is_source` says it of known types; this holds for those of other forks and for
    layers in Python too. A Parameter has no bottoms either, but holds what is learned.
    """
    return bottoms == 0 and kind != "Parameter"


def count(shape: Sequence[int], start: int = 0, end: int | None = None) -> int:
    """Return the product of `shape[start:end]`."""
    product = 1
    for size in shape[start:end]:
        product *= size
    return product


def check_count(layer: LayerParameter, what: str, shape: Shape) -> None:
    """Refuse a shape with a negative size or more elements than Caffe can count."""
    if any(size < 0 for size in shape) or count(shape) > MAX_COUNT:
        raise ShapeError(
            f"{what} would have shape {shape}; sizes must not be negative and their "
            f"product at most {MAX_COUNT}",
            layer=label(layer),
        )


def canonical_axis(layer: LayerParameter, axis: int, axes: int, field: str) -> int:
    """Turn a possibly negative axis into one from 0; `field` is its name in errors."""
    if not -axes <= axis < axes:
        raise ShapeError(
            f"{field} is {axis}, but the input has {axes} axes; expected a value from "
            f"{-axes} to {axes - 1}",
            layer=label(layer),
        )
    return axis % axes


def constant(value: float = 0) -> FillerParameter:
    """Return the filler that fills with `value`."""
    return FillerParameter(type="constant", value=value)


def filler(message: Message, field: str, default: float = 0) -> FillerParameter:
    """Return the filler in `field` of `message`, or the constant `default`.

    A filler that is given but empty fills with 0 whatever the default is, as in Caffe.
    """
    if message.HasField(field):
        given: FillerParameter = getattr(message, field)
        return given
    return constant(default)


def enum_name(message: Message, field: str) -> str:
    """Return the name of the value of an enum field: `"MAX"`."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type
    if values is None:
        raise TypeError(f"{field} is no enum")
    return str(values.values_by_number[getattr(message, field)].name)


def check_axes(layer: LayerParameter, shape: Shape, axes: int, what: str) -> None:
    """Refuse an input that has not exactly `axes` axes."""
    if len(shape) != axes:
        raise ShapeError(
            f"{what} must have {axes} axes; got shape {shape}. Add a Reshape layer "
            f"before it",
            layer=label(layer),
        )


def check_same(layer: LayerParameter, bottoms: Sequence[Shape]) -> None:
    """Refuse bottoms of different shapes."""
    for index, shape in enumerate(bottoms):
        if shape != bottoms[0]:
            raise ShapeError(
                f"bottoms must have the same shape; {bottom_name(layer, 0)} has "
                f"{bottoms[0]} and {bottom_name(layer, index)} has {shape}. "
                f"{_way_to_agree(layer, bottoms[0], index, shape)}",
                layer=label(layer),
            )


ROUNDED = 1.5  # times another size: less is likely what rounding makes of it


def _way_to_agree(layer: LayerParameter, first: Shape, index: int, shape: Shape) -> str:
    """Return what to do where a bottom has another shape than the first."""
    spatial = len(first) == len(shape) > 2 and first[:2] == shape[:2]
    pairs = list(zip(first[2:], shape[2:], strict=False))
    one_is_larger = all(a <= b for a, b in pairs) or all(a >= b for a, b in pairs)
    by_rounding = all(max(pair) < ROUNDED * min(pair) for pair in pairs)
    if not (spatial and one_is_larger and by_rounding):
        return "Check the layers that produce them"
    names = [layer.bottom[place] or f"bottom {place}" for place in (0, index)]
    large, small = names if first > shape else reversed(names)
    return (
        f"Pooling rounds sizes up, and strides down, so a branch that was made larger "
        f"again may be too large: put a Crop layer with bottoms {large!r} and "
        f"{small!r} before this one"
    )


def bottom_name(layer: LayerParameter, index: int) -> str:
    """Return how messages name a bottom: `bottom 1 ('label')`."""
    name = layer.bottom[index] if index < len(layer.bottom) else ""
    return f"bottom {index} ({name!r})" if name else f"bottom {index}"


def fields_of(op: Op) -> dict[str, Any]:
    """Return the fields of `op` without its proto, for display and comparison."""
    return {
        field.name: getattr(op, field.name)
        for field in dataclasses.fields(op)
        if field.name != "layer"
    }
