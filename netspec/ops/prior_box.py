"""PriorBox of the SSD fork: default boxes over a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import NoReadOp, Shape, check_axes, count, infers, label
from netspec.schema import LayerParameter, PriorBoxParameter

SAME_RATIO = 1e-6  # ratios that differ by less are one
DEFAULT_VARIANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class PriorBox(NoReadOp):
    """The default boxes of every pixel of a feature map, and their variances.

    `aspect_ratio` starts with 1 and holds the flipped ones. `min_size` and `max_size`
    are whole pixels: SSD cuts what stands in the file, 35.84 in SSD512, to an integer.
    `image` and `step` are (height, width) in pixels, `variance` has a value for each
    corner coordinate. No gradient.

    Shapes: features (N, C, H, W), image (N, C', H', W') -> (1, 2, H W priors 4), with
    priors = min_sizes * aspect_ratios + max_sizes.
    """

    type: ClassVar[str] = "PriorBox"
    min_size: tuple[int, ...]
    max_size: tuple[int, ...]
    aspect_ratio: tuple[float, ...]
    priors: int
    clip: bool
    variance: tuple[float, ...]
    image: tuple[int, int]
    step: tuple[float, float]
    offset: float

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: the boxes come from sizes and options, not from values."""
        return ()


@infers("PriorBox")
def prior_box(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> PriorBox:
    """Read a PriorBox layer."""
    param = layer.prior_box_param
    check_axes(layer, bottoms[0], 4, "the feature map")
    smallest, largest = _sizes(layer)
    ratios = _ratios(layer)
    priors = len(smallest) * len(ratios) + len(largest)
    top = (1, 2, count(bottoms[0], 2) * priors * 4)
    image = _image(layer, bottoms[1])
    return PriorBox(
        layer=layer,
        bottoms=bottoms,
        tops=(top,),
        min_size=smallest,
        max_size=largest,
        aspect_ratio=ratios,
        priors=priors,
        clip=param.clip,
        variance=_variance(layer),
        image=image,
        step=_step(layer, image, bottoms[0]),
        offset=param.offset,
    )


def _sizes(layer: LayerParameter) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sides of the small squares, and of the large ones if there are any."""
    param = layer.prior_box_param
    smallest, largest = tuple(param.min_size), tuple(param.max_size)
    if not smallest or not all(0 < size < math.inf for size in smallest):
        raise SpecError(
            f"prior_box_param.min_size is {smallest}; give at least one positive size",
            layer=label(layer),
        )
    if largest and len(largest) != len(smallest):
        raise SpecError(
            f"max_size has {len(largest)} values and min_size {len(smallest)}; give "
            f"as many, or no max_size",
            layer=label(layer),
        )
    for small, large in zip(smallest, largest, strict=False):
        if not small < large < math.inf:
            raise SpecError(
                f"max_size {large:g} is not above min_size {small:g}; each max_size "
                f"belongs to the min_size in its place and must be larger",
                layer=label(layer),
            )
    if min(smallest) < 1:
        raise SpecError(
            f"min_size is {min(smallest):g}, which SSD cuts to 0 pixels; give 1 or "
            f"more",
            layer=label(layer),
        )
    return tuple(map(int, smallest)), tuple(map(int, largest))


def _ratios(layer: LayerParameter) -> tuple[float, ...]:
    """Return 1, the aspect ratios that are new, and their inverses with `flip`."""
    ratios = [1.0]
    for ratio in layer.prior_box_param.aspect_ratio:
        if not 0 < ratio < math.inf:
            raise SpecError(
                f"aspect_ratio is {ratio:g}; expected a positive value",
                layer=label(layer),
            )
        if any(abs(ratio - other) < SAME_RATIO for other in ratios):
            continue
        ratios.append(ratio)
        if layer.prior_box_param.flip:
            ratios.append(1 / ratio)
    return tuple(ratios)


def _variance(layer: LayerParameter) -> tuple[float, ...]:
    """Return the four variances; one that is given holds for all."""
    given = tuple(layer.prior_box_param.variance) or (DEFAULT_VARIANCE,)
    if len(given) not in (1, 4) or not all(0 < value < math.inf for value in given):
        raise SpecError(
            f"prior_box_param.variance is {given}; expected 1 or 4 positive values, "
            f"for all or for each of xmin, ymin, xmax and ymax",
            layer=label(layer),
        )
    return given * (4 // len(given))


def _pair(
    layer: LayerParameter, both: str, height: str, width: str
) -> tuple[float, float] | None:
    """Return what is given as one field or as two, or None where nothing is."""
    param: PriorBoxParameter = layer.prior_box_param
    has: dict[str, bool] = {
        name: param.HasField(name)  # type: ignore[arg-type]
        for name in (both, height, width)
    }
    if not any(has.values()):
        return None
    if has[both] and (has[height] or has[width]):
        raise SpecError(
            f"both {both} and {height} and {width} are given; keep {both}, for a "
            f"square, or the two others",
            layer=label(layer),
        )
    names = (both, both) if has[both] else (height, width)
    pair: tuple[float, float] = (getattr(param, names[0]), getattr(param, names[1]))
    if not all(0 < value < math.inf for value in pair):
        what = both if has[both] else f"{height} and {width}"
        told = f"{pair[0]:g}" if has[both] else f"({pair[0]:g}, {pair[1]:g})"
        raise SpecError(
            f"prior_box_param gives {what} {told}; expected positive values",
            layer=label(layer),
        )
    return pair


def _image(layer: LayerParameter, shape: Shape) -> tuple[int, int]:
    """Return height and width of the image: those given, or the second bottom's."""
    given = _pair(layer, "img_size", "img_h", "img_w")
    if given is not None:
        return int(given[0]), int(given[1])
    check_axes(layer, shape, 4, "the image")
    return shape[2], shape[3]


def _step(
    layer: LayerParameter, image: tuple[int, int], features: Shape
) -> tuple[float, float]:
    """Return the distances of centres, down and to the right, in pixels."""
    given = _pair(layer, "step", "step_h", "step_w")
    if given is not None:
        return given
    sides = zip(image, features[2:], strict=True)
    height, width = (pixels / max(1, places) for pixels, places in sides)
    return height, width
