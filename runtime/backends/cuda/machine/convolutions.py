"""What a convolution on an NVIDIA device is: shapes, storage and what ends it.

A `Convolution` says all that a library needs to plan it, and no more: it is the key by
which plans are kept, in memory and on disk. Nothing here knows the library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import Shape

Kind = Literal["forward", "input_gradient", "weight_gradient"]
Storage = Literal["float32", "bfloat16", "float16"]

KINDS: dict[str, str] = {
    "forward": "a convolution",
    "input_gradient": "the input gradient of a convolution",
    "weight_gradient": "the weight gradient of a convolution",
}
OUTPUTS: dict[str, str] = {
    "forward": "y",
    "input_gradient": "x",
    "weight_gradient": "w",
}
ITEM_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
MIN_SPATIAL, MAX_SPATIAL = 1, 3


@dataclass(frozen=True)
class Tensor:
    """An array of a convolution: logical shape, strides in elements, storage."""

    name: str
    shape: Shape
    strides: tuple[int, ...]
    storage: Storage

    @property
    def nbytes(self) -> int:
        """How many bytes it takes; it has no gaps."""
        return math.prod(self.shape) * ITEM_BYTES[self.storage]


@dataclass(frozen=True)
class Convolution:
    """A convolution or one of its gradients, with what is done to the result.

        forward:          y = relu(x * w + add + bias)
        input_gradient:   x = (the gradient of x from y and w, + add) (mask > 0)
        weight_gradient:  w = the gradient of w from x and y, + add

    where * is the correlation that Caffe calls convolution, `x`, `w` and `y` stand for
    their gradients where the kind makes or takes these, and each of relu, bias, add and
    mask is there only if asked for. `input_gradient` is what Deconvolution computes
    forward. `add` and `mask` have the shape of the result, and `add` may be gradients
    of other branches: the sum of all is masked by the ReLU that made `mask`.

    Shapes: x (N, C, spatial), w (K, C / groups, kernel), y (N, K, spatial'), with 1 to
    3 spatial axes, spatial' = floor((spatial + 2 pad - dilation (kernel - 1) - 1) /
    stride) + 1; bias (K). In memory channels are last: x lies as (N, spatial, C), w as
    (K, kernel, C / groups), without gaps.

    bias_storage: float32, or as `storage`, which libraries may have engines for where
    they have none for float32 beside half.

    tf32: float32 products may be rounded to 10 bits of mantissa, which tensor cores
    multiply some ten times faster; else they are float32 products. Sums are float32 for
    every storage.

    Raises `ShapeError` where the shapes do not belong together, and `SpecError` for an
    option that this kind does not have.
    """

    kind: Kind
    x: Shape
    w: Shape
    y: Shape
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    storage: Storage = "float32"
    tf32: bool = False
    bias: bool = False
    bias_storage: Storage = "float32"
    add: bool = False
    relu: bool = False

    def __post_init__(self) -> None:
        _check_options(self)
        _check_shapes(self)

    @property
    def output(self) -> str:
        """The name of the tensor that is computed."""
        return OUTPUTS[self.kind]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name, the result last; shapes as libraries want them.

        These have two spatial axes at least; the first of those of a one-dimensional
        convolution is 1, which changes nothing in memory.
        """
        wide = self.widened()
        shapes = {"x": wide.x, "w": wide.w, "y": wide.y}
        result = shapes.pop(self.output)
        if self.bias:
            shapes["bias"] = (1, wide.y[1], *(1 for _ in wide.stride))
        if self.add:
            shapes["add"] = result
        if self.kind == "input_gradient" and self.relu:
            shapes["mask"] = result
        shapes[self.output] = result
        return {
            name: Tensor(
                name,
                shape,
                channels_last(shape),
                self.bias_storage if name == "bias" else self.storage,
            )
            for name, shape in shapes.items()
        }

    def widened(self) -> Convolution:
        """Return the same convolution with two spatial axes at least.

        Libraries take these shapes for sure.
        """
        if len(self.stride) > 1:
            return self
        return replace(
            self,
            x=(*self.x[:2], 1, *self.x[2:]),
            w=(*self.w[:2], 1, *self.w[2:]),
            y=(*self.y[:2], 1, *self.y[2:]),
            stride=(1, *self.stride),
            pad=(0, *self.pad),
            dilation=(1, *self.dilation),
        )

    @property
    def key(self) -> str:
        """A text that differs for every two convolutions that differ."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_key(cls, key: str) -> Convolution:
        """Return the convolution with this key."""
        fields: dict[str, Any] = json.loads(key)
        for name, value in fields.items():
            if isinstance(value, list):
                fields[name] = tuple(value)
        return cls(**fields)

    def __str__(self) -> str:
        """Return the convolution in words, as messages name it."""
        parts = [f"{KINDS[self.kind]}, {_arithmetic(self)}"]
        parts += [f"{name} {_by(getattr(self, name))}" for name in ("x", "w", "y")]
        parts.append(f"stride {_by(self.stride)}, pad {_by(self.pad)}")
        if any(step != 1 for step in self.dilation):
            parts.append(f"dilation {_by(self.dilation)}")
        if self.groups != 1:
            parts.append(f"{self.groups} groups")
        words = ", ".join(parts)
        last = "mask" if self.kind == "input_gradient" else "ReLU"
        ends = {
            "add": self.add,
            f"{self.bias_storage} bias": self.bias,
            last: self.relu,
        }
        return " + ".join([words, *(name for name, asked in ends.items() if asked)])


def channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of (N, C, spatial) that lies as (N, spatial, C)."""
    channels, *spatial = shape[1:]
    strides = [0] * len(shape)
    step = channels
    for axis in range(len(shape) - 1, 1, -1):
        strides[axis] = step
        step *= spatial[axis - 2]
    strides[0], strides[1] = step, 1
    return tuple(strides)


def _check_options(convolution: Convolution) -> None:
    kind, storage = convolution.kind, convolution.storage
    if kind not in KINDS:
        raise SpecError(f"convolution: kind {kind!r}; expected one of {list(KINDS)}")
    if storage not in ITEM_BYTES:
        raise SpecError(
            f"convolution: storage {storage!r}; expected one of {list(ITEM_BYTES)}"
        )
    if convolution.tf32 and storage != "float32":
        raise SpecError(
            f"convolution: tf32 is a way to multiply float32, not {storage}; leave it "
            "False"
        )
    if convolution.bias and kind != "forward":
        raise SpecError(f"convolution: kind {kind!r} has no bias; leave it False")
    if convolution.bias_storage not in ("float32", storage):
        raise SpecError(
            f"convolution: bias_storage {convolution.bias_storage!r} beside {storage}; "
            f"expected float32 or {storage}"
        )
    if convolution.relu and kind == "weight_gradient":
        raise SpecError(f"convolution: kind {kind!r} has no relu; leave it False")


def _check_shapes(convolution: Convolution) -> None:
    x, w, y = convolution.x, convolution.w, convolution.y
    groups, axes = convolution.groups, len(convolution.stride)
    if not MIN_SPATIAL <= axes <= MAX_SPATIAL:
        raise ShapeError(
            f"convolution: {axes} spatial axes; expected {MIN_SPATIAL} to {MAX_SPATIAL}"
        )
    lengths = {
        "x": len(x) - 2,
        "w": len(w) - 2,
        "y": len(y) - 2,
        "pad": len(convolution.pad),
        "dilation": len(convolution.dilation),
    }
    for name, length in lengths.items():
        if length != axes:
            raise ShapeError(
                f"convolution: {name} {getattr(convolution, name)} has {length} "
                f"spatial axes, stride {convolution.stride} has {axes}; expected as "
                "many"
            )
    for name in ("x", "w", "y", "stride", "dilation"):
        sizes = getattr(convolution, name)
        if min(sizes) < 1:
            raise ShapeError(f"convolution: {name} {sizes}: every size must be above 0")
    if min(convolution.pad) < 0:
        raise ShapeError(f"convolution: pad {convolution.pad} must not be negative")
    if groups < 1 or w[0] % groups:
        raise ShapeError(
            f"convolution: {groups} groups do not divide the {w[0]} outputs of w {w}"
        )
    if x[1] != w[1] * groups:
        raise ShapeError(
            f"convolution: x {x} has {x[1]} channels; w {w} in {groups} groups reads "
            f"{w[1] * groups}"
        )
    expected = (x[0], w[0], *_output_sizes(convolution))
    if y != expected:
        raise ShapeError(f"convolution: y {y}; x {x} and w {w} make {expected}")


def _output_sizes(convolution: Convolution) -> tuple[int, ...]:
    return tuple(
        (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, pad, dilation in zip(
            convolution.x[2:],
            convolution.w[2:],
            convolution.stride,
            convolution.pad,
            convolution.dilation,
            strict=True,
        )
    )


def _arithmetic(convolution: Convolution) -> str:
    return "tf32" if convolution.tf32 else convolution.storage


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)
