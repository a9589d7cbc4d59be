"""Pooling and SPP: rounding, windows at the end of the image, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.ops.pooling import pooled_size
from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, copy, doubtful, layer, refused, reshape, silent
from netspec.schema import LayerParameter

HEIGHT, WIDTH = 2, 3  # axes of an image


def _rounded_up(place: Place) -> tuple[int, int]:
    """Return the height and width that CEIL gives."""
    op = place.op
    padded = any(op.pad)
    height, width = (
        pooled_size(place.layer, size, kernel, stride, pad, padded, "CEIL")
        for size, kernel, stride, pad in zip(
            place.bottoms[0][2:], op.kernel, op.stride, op.pad, strict=True
        )
    )
    return height, width


def _rounds_down(place: Place) -> bool:
    return _rounded_up(place) != place.tops[0][2:]


def _clear_rounding(place: Place) -> None:
    place.layer.pooling_param.ClearField("round_mode")
    place.layer.pooling_param.ClearField("ceil_mode")


def _rounding_as_flag(place: Place) -> None:
    """Write ceil_mode where it changes something."""
    _clear_rounding(place)
    if _rounds_down(place):
        place.layer.pooling_param.ceil_mode = False


def _window(pool: str, kernel: Any, stride: Any, pad: Any) -> dict[str, Any]:
    """Return the parameter message of a Pooling layer."""
    param: dict[str, Any] = {"pool": pool}
    pairs = {"kernel_size": kernel, "stride": stride, "pad": pad}
    for field, (height, width) in pairs.items():
        name = field.removesuffix("_size")
        if height == width:
            param[field] = height
        else:
            param |= {f"{name}_h": height, f"{name}_w": width}
    return {"pooling_param": param}


def _crop(
    place: Place,
    blob: str,
    size: Sequence[int],
    wanted: Sequence[int],
    name: str,
    top: str,
) -> list[Made]:
    """Return layers that cut an image of a size, from its corner.

    A Slice would leave a rest that no layer reads, so that the net had one more output.
    What has the wanted size is a pooling, of which nothing but its shape is used.
    """
    kernel = tuple(have - want + 1 for have, want in zip(size, wanted, strict=True))
    like = place.fresh("size")
    window = _window("MAX", kernel, (1, 1), (0, 0))
    cut = {"axis": HEIGHT, "offset": [0, 0]}
    return [
        Made(layer("Pooling", like, [blob], [like], **window)),
        Made(layer("Crop", name, [blob, like], [top], crop_param=cut)),
    ]


def _cut_by_crop(place: Place) -> list[Made]:
    """Return a pooling that rounds up, between Crop layers in front or behind.

    In front where nothing is padded and a window that rounding up adds would lie behind
    the image.
    """
    op, bottom, tops = place.op, place.layer.bottom[0], place.layer.top
    size, pooled = place.bottoms[0][2:], place.tops[0][2:]
    last = [(n - 1) * s for n, s in zip(_rounded_up(place), op.stride, strict=True)]
    if not any(op.pad) and any(x >= y for x, y in zip(last, size, strict=True)):
        used = tuple(
            (n - 1) * s + k
            for n, s, k in zip(pooled, op.stride, op.kernel, strict=True)
        )
        cut = place.fresh("cut")
        made = _crop(place, bottom, size, used, cut, cut)
        window = _window(op.pool, op.kernel, op.stride, op.pad)
        name = place.layer.name
        return [*made, Made(layer("Pooling", name, [cut], tops, **window))]
    up = [place.fresh(f"up{index}") for index in range(len(tops))]
    made = [Made(_up(place, up))]
    for index, top in enumerate(tops):
        name = place.fresh("mask") if index else place.layer.name
        made += _crop(place, up[index], _rounded_up(place), pooled, name, top)
    return made


def _cut_by_slice(place: Place) -> list[Made]:
    """Return a pooling that rounds up, and Slice layers; what they cut off is left."""
    made = [
        Made(_up(place, [place.fresh(f"up{i}") for i in range(len(place.layer.top))]))
    ]
    for index, top in enumerate(place.layer.top):
        blob = made[0].layer.top[index]
        axes = [
            axis
            for axis, size in zip((HEIGHT, WIDTH), _rounded_up(place), strict=True)
            if size != place.tops[0][axis]
        ]
        for axis in axes:
            last = axis == axes[-1]
            name = place.layer.name if last and not index else place.fresh("cut")
            kept = top if last else place.fresh("kept")
            param = {"axis": axis, "slice_point": [place.tops[0][axis]]}
            tops = [kept, place.fresh("rest")]
            made.append(Made(layer("Slice", name, [blob], tops, slice_param=param)))
            blob = kept
    return made


def _up(place: Place, tops: list[str]) -> Any:
    """Return the layer rounding up, with other tops."""
    op = place.op
    window = _window(op.pool, op.kernel, op.stride, op.pad)
    return layer("Pooling", place.fresh("up"), place.layer.bottom, tops, **window)


# ------------------------------------------- windows at the end of the image


def _dropped(place: Place, axis: int) -> bool:
    """Tell whether a last window would begin behind the image, so that Caffe has none.

    That is asked of one axis.
    """
    op, at = place.op, axis - 2
    free = place.bottoms[0][axis] + 2 * op.pad[at] - op.kernel[at]
    windows = -(-free // op.stride[at]) + 1
    return bool(place.tops[0][axis] < windows) and op.round_mode == "CEIL"


def _drops(place: Place) -> bool:
    return any(_dropped(place, axis) for axis in (HEIGHT, WIDTH))


def _beyond(place: Place) -> bool:
    """Tell whether a last window lies behind the image, where nothing is padded."""
    op = place.op
    return any(
        (place.tops[0][axis] - 1) * op.stride[axis - 2] >= place.bottoms[0][axis]
        and not op.pad[axis - 2]
        for axis in (HEIGHT, WIDTH)
    )


def padded_outside(place: Place) -> list[Made]:
    """Return the image padded by Slice and Concat, and a pooling without a pad there.

    That is along the axes on which Caffe leaves out a window, as all others lie within
    the padded image, or else along both. MAX: what is padded repeats the edge, which
    every window on it sees. AVE: it is 0.
    """
    op = place.op
    made: list[Made] = []
    blob = place.layer.bottom[0]
    pad, spatial = list(op.pad), list(place.bottoms[0][2:])
    axes = [axis for axis in (HEIGHT, WIDTH) if _dropped(place, axis)]
    for axis in axes or [axis for axis in (HEIGHT, WIDTH) if pad[axis - 2]]:
        at = axis - 2
        size, windows = place.bottoms[0][axis], place.tops[0][axis]
        needed = (windows - 1) * op.stride[at] + op.kernel[at]
        after = min(op.pad[at], max(0, needed - op.pad[at] - size))
        blob = _pad(place, made, blob, axis, size, (op.pad[at], after))
        pad[at] = 0
        spatial[at] = op.pad[at] + size + after
        if needed < spatial[at] and op.kernel[at] < op.stride[at]:
            wanted = list(spatial)
            wanted[at] = needed
            cut = place.fresh("cut")
            made += _crop(place, blob, spatial, wanted, cut, cut)
            blob, spatial = cut, wanted
    window = _window(op.pool, op.kernel, op.stride, pad)
    made.append(
        Made(layer("Pooling", place.layer.name, [blob], place.layer.top, **window))
    )
    return made


def _pad(
    place: Place,
    made: list[Made],
    blob: str,
    axis: int,
    size: int,
    pad: tuple[int, int],
) -> str:
    """Add layers that pad a blob along an axis; return what they write."""
    before, after = pad
    parts = [blob]
    first = last = blob
    points = sorted({1, size - 1} if after else {1}) if size > 1 else []
    if points:
        parts = [place.fresh("part") for _ in range(len(points) + 1)]
        param = {"axis": axis, "slice_point": points}
        made.append(
            Made(layer("Slice", place.fresh("parts"), [blob], parts, slice_param=param))
        )
        first, last = parts[0], parts[-1]
    if place.op.pool == "AVE":
        zero = place.fresh("zero")
        param = {"scale": 0.0}
        made.append(Made(layer("Power", zero, [first], [zero], power_param=param)))
        first = last = zero
    whole = place.fresh("padded")
    bottoms = [first] * before + parts + [last] * after
    made.append(
        Made(layer("Concat", whole, bottoms, [whole], concat_param={"axis": axis}))
    )
    return whole


def _covers_more(place: Place) -> bool:
    """Tell whether the kernel is larger than the padded image."""
    return _covered(place) != place.op.kernel


def _covered(place: Place) -> tuple[int, ...]:
    op = place.op
    return tuple(
        min(kernel, size + 2 * pad)
        for kernel, size, pad in zip(
            op.kernel, place.bottoms[0][2:], op.pad, strict=True
        )
    )


def _set_kernel(place: Place) -> None:
    param = place.layer.pooling_param
    param.ClearField("kernel_size")
    param.kernel_h, param.kernel_w = _covered(place)


# ------------------------------------------------------------------- masks


def _half_read(place: Place) -> bool:
    """Tell whether layers read one of the two tops only."""
    outputs = [place.is_output(index) for index in range(len(place.layer.top))]
    return len(set(outputs)) > 1


def _read_both(place: Place) -> list[Made]:
    """Return the layer, and a copy of the top that no layer reads."""
    index = 0 if place.is_output(0) else 1
    top = place.layer.top[index]
    first = LayerParameter()
    first.CopyFrom(place.layer)
    first.top[index] = place.fresh("read")
    # OpenCV knows outputs by the names of layers.
    first.name, name = place.layer.name, place.fresh("copy")
    if index == 0:
        first.name, name = name, first.name
    return [Made(first), copy(name, first.top[index], top)]


# -------------------------------------------------------------------- SPP


def _pyramid(place: Place) -> list[Made]:
    """Return a Pooling for each level, flattened and joined."""
    op = place.op
    bottom, top = place.layer.bottom, place.layer.top
    only = len(op.levels) == 1
    made, parts = [], []
    for level in op.levels:
        name = place.layer.name if only else place.fresh("level")
        window = _window(op.pool, level.kernel, level.kernel, level.pad)
        tops = top if only else [name]
        made.append(Made(layer("Pooling", name, bottom, tops, **window)))
        if not only:
            n, c = place.bottoms[0][:2]
            shape = (n, c * level.pooled[0] * level.pooled[1])
            _, kind, options, _ = reshape("", place.bottoms[0], shape)
            flat = place.fresh("flat")
            made.append(Made(layer(kind, flat, [name], [flat], **options)))
            parts.append(flat)
    if not only:
        join = {"concat_param": {"axis": 1}}
        made.append(Made(layer("Concat", place.layer.name, parts, top, **join)))
    return made


_OTHERS = ("openvino", "rknn", "x2paddle", "ncnn")

RULES = (
    Rule(
        name="spp",
        types=("SPP",),
        says="SPP",
        readers={name: refused("has no SPP") for name in ("opencv", "mnn", *_OTHERS)},
        applies=lambda place: True,
        rewrite=_pyramid,
        instead="a Pooling for each level, and Concat",
    ),
    Rule(
        name="pooling-default",
        types=("Pooling",),
        says="global_pooling without pool",
        readers={"opencv": refused()},
        applies=lambda place: (
            place.op.global_pooling and not place.layer.pooling_param.HasField("pool")
        ),
        edit=lambda place: setattr(place.layer.pooling_param, "pool", 0),
        instead="pool: MAX",
    ),
    Rule(
        name="pooling-kernel",
        types=("Pooling",),
        says="a kernel larger than the image",
        readers={"opencv": refused()},
        applies=_covers_more,
        edit=_set_kernel,
        instead="one as large as the image with its pad",
    ),
    Rule(
        name="pooling-mask-read",
        types=("Pooling",),
        says="a mask, of which and the maximum layers read one only",
        readers={"opencv": refused("has as many tops as are read")},
        applies=_half_read,
        rewrite=_read_both,
        instead="a copy of the other",
    ),
    Rule(
        name="pooling-round-mode",
        types=("Pooling",),
        says="round_mode where it changes nothing",
        readers={
            "mnn": silent("does not know it"),
            "openvino": refused(),
            "ncnn": refused(),
        },
        applies=lambda place: (
            place.layer.pooling_param.HasField("round_mode") and not _rounds_down(place)
        ),
        edit=_clear_rounding,
        instead="nothing",
    ),
    Rule(
        name="pooling-ceil-mode",
        types=("Pooling",),
        says="ceil_mode where it changes nothing",
        readers={"mnn": refused(), "ncnn": refused()},
        applies=lambda place: (
            place.layer.pooling_param.HasField("ceil_mode") and not _rounds_down(place)
        ),
        edit=_clear_rounding,
        instead="nothing",
    ),
    Rule(
        name="pooling-round-mode-word",
        types=("Pooling",),
        says="round_mode",
        readers={"opencv": refused("loses all fields of a layer that has it")},
        applies=lambda place: place.layer.pooling_param.HasField("round_mode"),
        edit=_rounding_as_flag,
        instead="ceil_mode, its own word",
    ),
    Rule(
        name="pooling-floor",
        types=("Pooling",),
        says="round_mode FLOOR",
        readers={"mnn": silent("rounds up")},
        applies=_rounds_down,
        rewrite=_cut_by_crop,
        instead="a Pooling that rounds up, and Crop",
    ),
    Rule(
        name="pooling-floor-slices",
        types=("Pooling",),
        says="round_mode FLOOR",
        readers={"openvino": refused(), "ncnn": refused(), "rknn": silent("rounds up")},
        applies=_rounds_down,
        rewrite=_cut_by_slice,
        instead="a Pooling that rounds up, and Slice, whose rest is an output",
    ),
    Rule(
        name="pooling-beyond",
        types=("Pooling",),
        says="a window that lies behind the image",
        readers={
            "opencv": silent("gives it another value"),
            "mnn": silent("gives it another value"),
        },
        applies=_beyond,
    ),
    Rule(
        name="pooling-mask",
        types=("Pooling",),
        says="a second top, the mask",
        readers={
            "mnn": silent("fills it with zeros"),
            "openvino": silent("counts through the whole blob"),
            "ncnn": refused(),
        },
        applies=lambda place: len(place.layer.top) > 1,
    ),
    Rule(
        name="pooling-end",
        types=("Pooling",),
        says="a last window that would begin behind the image, which Caffe leaves out",
        readers={
            "mnn": silent("has it"),
            "openvino": silent("has it"),
            "x2paddle": silent("has it"),
            "ncnn": silent("has it"),
            "rknn": refused(),
        },
        applies=_drops,
        rewrite=padded_outside,
        instead="a pad by Slice and Concat",
    ),
    Rule(
        name="pooling-average-pad",
        types=("Pooling",),
        says="AVE with a pad",
        readers={
            "ncnn": doubtful("divides by what lies inside of the image"),
            "x2paddle": doubtful("divides by what lies inside of the image"),
        },
        applies=lambda place: place.op.pool == "AVE" and any(place.op.pad),
    ),
)
