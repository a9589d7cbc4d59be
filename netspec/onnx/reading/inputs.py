"""The inputs of a graph: which sizes they have, and what is asked of the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.errors import ShapeError, SpecError, UnsupportedError, did_you_mean
from netspec.onnx.reading.library import library
from netspec.onnx.reading.values import REAL, WHOLE, is_real
from netspec.ops.base import Shape


@dataclass(frozen=True)
class Given:
    """An input of the net.

    kind: what its values are. open_batch: whether the file leaves the number of items
    open, which then is 1.
    """

    name: str
    shape: Shape
    kind: str
    open_batch: bool


def read_inputs(
    inputs: Sequence[Any],
    shapes: Mapping[str, Sequence[int]],
    batch_size: int | None,
) -> list[Given]:
    """Return the inputs of a graph that are no initializers.

    shapes: of inputs, by name; they take the place of what the file says. batch_size:
    takes the place of the first axis of all others.

    Raises `ShapeError` for a size that nobody tells, `SpecError` for a shape of what is
    no input.
    """
    names = [each.name for each in inputs]
    for name in shapes:
        if name not in names:
            hint = did_you_mean(name, names) or f"; these are {', '.join(names)}"
            raise SpecError(f"a shape is given for {name!r}, which is no input{hint}")
    if batch_size is not None and batch_size < 1:
        raise SpecError(f"batch_size is {batch_size}; expected at least 1")
    symbols: dict[str, int] = {}
    for each in inputs:
        for dim, size in zip(
            each.type.tensor_type.shape.dim, shapes.get(each.name, ()), strict=False
        ):
            if dim.dim_param:
                symbols.setdefault(dim.dim_param, size)
    return [_read(each, shapes.get(each.name), batch_size, symbols) for each in inputs]


def _read(
    value: Any,
    given: Sequence[int] | None,
    batch_size: int | None,
    symbols: Mapping[str, int],
) -> Given:
    name, kind = value.name, _kind(value)
    dims = value.type.tensor_type.shape.dim
    known = value.type.tensor_type.HasField("shape")
    if given is not None:
        shape = tuple(int(size) for size in given)
        if known and len(shape) != len(dims):
            raise ShapeError(
                f"shape {shape} is given for input {name!r}, which has {len(dims)} axes"
            )
        _check(name, shape)
        return Given(name, shape, kind, False)
    if not known:
        raise ShapeError(
            f"input {name!r} has no shape in the file; give it: "
            f"shapes={{{name!r}: (1, 3, 224, 224)}}, or --shape {name}=1,3,224,224"
        )
    sizes: list[int] = []
    open_batch = False
    for axis, dim in enumerate(dims):
        if axis == 0 and batch_size is not None:
            sizes.append(batch_size)
        elif dim.HasField("dim_value") and dim.dim_value != 0:
            sizes.append(dim.dim_value)
        elif dim.dim_param in symbols:
            sizes.append(symbols[dim.dim_param])
        elif axis == 0:
            sizes.append(1)
            open_batch = True
        else:
            told = [each.dim_param or each.dim_value or "?" for each in dims]
            raise ShapeError(
                f"axis {axis} of input {name!r} is open in the file: ("
                f"{', '.join(map(str, told))}); give all sizes: shapes={{{name!r}: "
                f"...}}, or --shape {name}=..."
            )
    _check(name, tuple(sizes))
    return Given(name, tuple(sizes), kind, open_batch)


def _check(name: str, shape: Shape) -> None:
    if any(size < 1 for size in shape):
        raise ShapeError(
            f"input {name!r} has shape {shape}; expected sizes of at least 1"
        )


def _kind(value: Any) -> str:
    onnx = library()
    which = value.type.WhichOneof("value")
    if which != "tensor_type":
        raise UnsupportedError(
            f"input {value.name!r} is a {(which or 'thing').removesuffix('_type')}; "
            f"only tensors are read"
        )
    number = value.type.tensor_type.elem_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    except (KeyError, ValueError, TypeError):
        raise UnsupportedError(
            f"input {value.name!r} has elements of type {number}, unknown here"
        ) from None
    if is_real(dtype):
        return REAL
    if dtype.kind in "iu":
        return WHOLE
    raise UnsupportedError(
        f"input {value.name!r} has elements of type {dtype}; expected numbers"
    )
