"""Pooling: windows of an image, each reduced to one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Shape,
    check_axes,
    count,
    enum_name,
    infers,
    label,
)
from netspec.schema import LayerParameter, PoolingParameter


@dataclass(frozen=True, kw_only=True)
class Pooling(NoReadOp):
    """The maximum, the average or a random value of every window.

    `pool` is "MAX", "AVE" or "STOCHASTIC"; kernel, stride and pad are (h, w) and
    resolved, also for `global_pooling`. MAX may have a second top: the mask, the place
    h W + w of the maximum within its plane.

    Shapes: x (N, C, H, W) -> y (N, C, H', W'), H' = ceil((H + 2 pad - kernel) / stride)
    + 1, or floor by `round_mode`, which `ceil_mode` may stand for. With padding, a last
    window that would start beyond the image and its leading pad is dropped.
    """

    type: ClassVar[str] = "Pooling"
    pool: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    global_pooling: bool
    round_mode: str

    def saved_bytes(self, itemsize: int) -> int:
        """Return the size of what won in every window of MAX, a byte each.

        That of STOCHASTIC is of a training net.
        """
        return count(self.tops[0]) if self.pool != "AVE" else 0


@infers("Pooling")
def pooling(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Pooling:
    """Read a Pooling layer."""
    param = layer.pooling_param
    check_axes(layer, bottoms[0], 4, "the input")
    n, c, height, width = bottoms[0]
    pool = enum_name(param, "pool")
    if len(layer.top) > 1 and pool != "MAX":
        raise SpecError(
            f"only MAX pooling has a second top, the mask; pool is {pool}, so remove "
            f"top {layer.top[1]!r}",
            layer=label(layer),
        )
    kernel = _kernel(layer, param, (height, width))
    pad = _pair(layer, param, "pad", 0)
    stride = _pair(layer, param, "stride", 1)
    _check(layer, pool, kernel, pad, stride)
    round_mode = rounding(layer)
    pooled = tuple(
        pooled_size(layer, size, k, s, p, any(pad), round_mode)
        for size, k, s, p in zip((height, width), kernel, stride, pad, strict=True)
    )
    top = (n, c, *pooled)
    return Pooling(
        layer=layer,
        bottoms=bottoms,
        tops=(top,) * max(1, len(layer.top)),
        pool=pool,
        kernel=kernel,
        stride=stride,
        pad=pad,
        global_pooling=param.global_pooling,
        round_mode=round_mode,
    )


def rounding(layer: LayerParameter) -> str:
    """Return "CEIL" or "FLOOR": `round_mode`, or `ceil_mode`, the word of forks for it.

    Raises `SpecError` where both are given and differ.
    """
    param = layer.pooling_param
    mode = enum_name(param, "round_mode")
    if not param.HasField("ceil_mode"):
        return mode
    by_flag = "CEIL" if param.ceil_mode else "FLOOR"
    if param.HasField("round_mode") and mode != by_flag:
        flag = str(param.ceil_mode).lower()
        raise SpecError(
            f"round_mode is {mode} and ceil_mode is {flag}, which means {by_flag}; "
            f"they are two words for one option, so keep one of them",
            layer=label(layer),
        )
    return by_flag


def pooled_size(
    layer: LayerParameter,
    size: int,
    kernel: int,
    stride: int,
    pad: int,
    padded: bool,
    round_mode: str,
) -> int:
    """Return the number of windows along one axis; `padded` if any axis has padding."""
    free = size + 2 * pad - kernel
    windows = (free // stride if round_mode == "FLOOR" else -(-free // stride)) + 1
    # With padding, the last window has to start inside the image or its leading pad.
    if padded and (windows - 1) * stride >= size + pad:
        windows -= 1
    if windows < 1:
        raise ShapeError(
            f"a kernel of {kernel} with stride {stride} does not fit the input of "
            f"{size} with pad {pad}; reduce kernel_size or add padding",
            layer=label(layer),
        )
    return windows


def _kernel(
    layer: LayerParameter, param: PoolingParameter, image: tuple[int, int]
) -> tuple[int, int]:
    has_size = param.HasField("kernel_size")
    has_pair = param.HasField("kernel_h"), param.HasField("kernel_w")
    if param.global_pooling:
        if has_size or any(has_pair):
            raise SpecError(
                "global_pooling takes the whole image, so kernel_size must not be "
                "given; remove one of the two",
                layer=label(layer),
            )
        return image
    if has_size and any(has_pair):
        raise SpecError(
            "both kernel_size and kernel_h/kernel_w are given; keep one of them",
            layer=label(layer),
        )
    if not has_size and not all(has_pair):
        raise SpecError(
            "pooling_param.kernel_size is missing; give it, or both kernel_h and "
            "kernel_w, or global_pooling",
            layer=label(layer),
        )
    if has_size:
        return param.kernel_size, param.kernel_size
    return param.kernel_h, param.kernel_w


def _pair(
    layer: LayerParameter, param: PoolingParameter, field: str, default: int
) -> tuple[int, int]:
    parts = (f"{field}_h", f"{field}_w")
    given = [part for part in parts if param.HasField(part)]
    if not given:
        value = getattr(param, field) if param.HasField(field) else default
        return value, value
    if param.HasField(field):
        raise SpecError(
            f"both {field} and {given[0]} are given; keep one of them",
            layer=label(layer),
        )
    if len(given) == 1:
        missing = next(part for part in parts if part not in given)
        raise SpecError(
            f"{given[0]} is given without {missing}; give both, or {field}",
            layer=label(layer),
        )
    return getattr(param, parts[0]), getattr(param, parts[1])


def _check(
    layer: LayerParameter,
    pool: str,
    kernel: tuple[int, int],
    pad: tuple[int, int],
    stride: tuple[int, int],
) -> None:
    if min(kernel) < 1 or min(stride) < 1:
        raise SpecError(
            f"kernel is {kernel} and stride {stride}; expected at least 1 along both "
            f"axes",
            layer=label(layer),
        )
    if layer.pooling_param.global_pooling and (any(pad) or stride != (1, 1)):
        raise SpecError(
            f"global_pooling takes pad 0 and stride 1; got pad {pad} and stride "
            f"{stride}, so remove them",
            layer=label(layer),
        )
    if any(pad) and pool == "STOCHASTIC":
        raise SpecError(
            f"STOCHASTIC pooling has no padding; got pad {pad}", layer=label(layer)
        )
    if any(p >= k for p, k in zip(pad, kernel, strict=True)):
        raise SpecError(
            f"pad {pad} must be smaller than the kernel {kernel}, or a window would "
            f"see only padding",
            layer=label(layer),
        )
