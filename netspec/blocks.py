"""Parts of nets, made of layers that every reader of the format has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netspec import layers as L
from netspec.errors import ShapeError, SpecError, shown
from netspec.language.calls import Top
from netspec.language.folder import Folder
from netspec.net_spec import NetSpec
from netspec.site import user_site


def local(
    x: Top | Folder,
    num_output: int,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    pad: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    image: Sequence[int] | None = None,
    activation: Callable[..., Top] | None = None,
    **options: Any,
) -> NetSpec:
    """Return a locally connected layer: a convolution with filters for every place.

        y[n, o, p] = b[p, o] + sum over k of w[p, o, k] x_k(n, p)

    where x_k(n, p) are the C kh kw values of the window around place p. Im2col lays the
    windows out, Slice and Concat bring the places in turn as channels, and a
    convolution of as many groups as places multiplies each window by its own filters.

    num_output: filters of every place. kernel_size, stride, pad, dilation: one number,
    or those of height and width. image: height and width of `x`, where its shape is not
    known as it is written, which is so for data in files. activation: a layer function
    that is applied in place, such as `L.ReLU`. options: of the convolution, such as
    `weight_filler`, `bias_filler`, `bias_term`, `param`.

    Shapes: x (N, C, H, W) -> y (N, num_output, H', W'), with H' = floor((H + 2 pad -
    dilation (kh - 1) - 1) / stride) + 1; the filters are (H' W' num_output, C kh kw, 1,
    1), their biases (H' W' num_output), both place by place, row by row.

    It costs as many multiplications as a convolution and has H' W' times its weights.
    The windows take kh kw times the memory of x, and there are four copies of them. It
    is a folder: `n.local3 = local(n.pool2, 64, 3, pad=1)` has local3/filters, which
    holds the parameters, and local3/output. `L.Local` is the same in one layer that
    some forks have, and this runtime; its parameters lie in another order.

    Raises `ShapeError` for windows that do not fit, or an image that is not known,
    `SpecError` for what is no size.
    Source: Taigman and others, DeepFace, 2014; cuda-convnet's `local` layers, 2011.
    """
    top = x.output_top if isinstance(x, Folder) else x
    kernel = _pair("kernel_size", kernel_size, 1)
    window = {
        "stride": _pair("stride", stride, 1),
        "pad": _pair("pad", pad, 0),
        "dilation": _pair("dilation", dilation, 1),
    }
    if isinstance(num_output, bool) or not isinstance(num_output, int):
        raise SpecError(_said(f"num_output is {shown(num_output)}; expected a number"))
    rows, columns = _places(_image(top, image), kernel, **window)
    count = rows * columns
    n = NetSpec()
    n.windows = L.Im2col(x, **_window_fields(kernel, window))  # (N, C kh kw, H', W')
    places: list[Top] = []
    for number, row in enumerate(_cut(n, "row", n.windows, rows, axis=2)):
        places += _cut(n, f"window{number}_", row, columns, axis=3)
    n.in_turn = L.Concat(*places, axis=1)  # (N, H' W' C kh kw, 1, 1)
    n.filters = y = L.Convolution(
        n.in_turn, num_output=num_output * count, group=count, kernel_size=1, **options
    )
    if activation is not None:
        y = activation(y, in_place=True)
        n[y.fn.type_name.lower()] = y
    parts = _cut(n, "place", y, count, axis=1)
    n.side_by_side = L.Concat(*parts, axis=2)  # (N, num_output, H' W', 1)
    n.output = L.Reshape(n.side_by_side, shape=[0, 0, rows, columns])
    return n


def _cut(n: NetSpec, name: str, x: Top, parts: int, axis: int) -> list[Top]:
    """Add a layer that cuts `x` into equal parts along an axis, and return them."""
    if parts == 1:
        return [x]
    tops = list(L.Slice(x, axis=axis, ntop=parts))
    for number, top in enumerate(tops):
        n[f"{name}{number}"] = top
    return tops


def _said(problem: str) -> str:
    return f"{user_site()}: blocks.local: {problem}"


def _pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    """Return height and width of an option."""
    sizes = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(sizes, tuple | list)
        or len(sizes) != 2
        or any(isinstance(v, bool) or not isinstance(v, int) for v in sizes)
        or min(sizes) < least
    ):
        raise SpecError(
            _said(
                f"{name} is {shown(value)}; expected a number of at least {least}, or "
                f"two, of height and width"
            )
        )
    return sizes[0], sizes[1]


def _image(top: Top | None, given: Sequence[int] | None) -> tuple[int, int]:
    """Return height and width of what comes in, as its shape or the caller says."""
    shape = None if top is None else top.shape
    if shape is not None and len(shape) != 4:
        raise ShapeError(
            _said(f"the input has shape {shape}; expected images, (N, C, H, W)")
        )
    known = (None, None) if shape is None else shape[2:]
    sizes = known if given is None else _pair("image", given, 1)
    for size, other in zip(sizes, known, strict=True):
        if None not in (size, other) and size != other:
            raise ShapeError(
                _said(f"image is {shown(given)}, but the input has shape {shape}")
            )
    height, width = sizes
    if height is None or width is None:
        raise ShapeError(
            _said(
                "height and width of the input are not known here, and the number of "
                "filters depends on them; give them, as in image=(8, 8)"
            )
        )
    return height, width


def _places(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    """Return the numbers of rows and columns of places."""
    found = []
    for size, k, s, p, d in zip(image, kernel, stride, pad, dilation, strict=True):
        room = size + 2 * p - d * (k - 1) - 1
        if room < 0:
            raise ShapeError(
                _said(
                    f"the kernel covers {d * (k - 1) + 1} pixels, but there are {size} "
                    f"with a pad of {p} on both sides; make it smaller, or pad more"
                )
            )
        found.append(room // s + 1)
    return found[0], found[1]


def _window_fields(
    kernel: tuple[int, int], window: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    """Return the options of Im2col, in their shortest form."""
    fields: dict[str, Any] = {}
    for name, (height, width) in {"kernel_size": kernel, **window}.items():
        neutral = dict(kernel_size=0, stride=1, pad=0, dilation=1)[name]
        if height == width:
            fields |= {name: height} if height != neutral else {}
        elif name == "dilation":
            fields[name] = [height, width]
        else:
            short = name.removesuffix("_size")
            fields |= {f"{short}_h": height, f"{short}_w": width}
    return fields
