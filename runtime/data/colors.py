"""Changes of colours: `distort_param` of the SSD fork.

Shapes: images are (3, H, W) or (1, H, W), uint8, blue, green and red first.
"""

from __future__ import annotations

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import label
from netspec.schema import DistortionParameter, LayerParameter
from runtime.data.draws import Draws

HUES = 180  # of a turn of the colour wheel, half degrees, as OpenCV has them in a byte


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round to whole numbers from 0 to 255."""
    rounded = np.rint(values)
    np.maximum(rounded, 0, out=rounded)
    np.minimum(rounded, 255, out=rounded)
    return rounded.astype(np.uint8)


def to_hsv(image: np.ndarray) -> np.ndarray:
    """Return hue in half degrees, saturation and value, bytes as OpenCV's BGR2HSV."""
    blue, green, red = image
    value = np.maximum(np.maximum(blue, green), red)
    spread = value - np.minimum(np.minimum(blue, green), red)
    b, g, r = image.astype(np.float32)
    is_red, is_green = value == red, value == green
    turn = np.where(is_red, g - b, np.where(is_green, b - r, r - g))
    safe = np.maximum(spread, 1).astype(np.float32)
    turn *= HUES / 6
    turn /= safe
    turn += np.where(is_red, 0, np.where(is_green, HUES / 3, 2 * HUES / 3))
    turn += np.where(turn < 0, HUES, 0)
    np.rint(turn, out=turn)
    turn[turn >= HUES] -= HUES
    saturation = spread * np.float32(255)
    saturation /= np.maximum(value, 1)
    return np.stack([turn.astype(np.uint8), to_bytes(saturation), value])


def _shares() -> np.ndarray:
    """Return how much of a saturated colour each hue takes from blue, green and red."""
    sector = np.arange(256) * (6 / HUES)
    places = (np.array([[1], [3], [5]]) + sector) % 6
    shares = np.minimum(np.minimum(places, 4 - places), 1).clip(0, 1)
    return (shares / 255).astype(np.float32)


_SHARES = _shares()  # (3, 256), by the byte of a hue


def from_hsv(image: np.ndarray) -> np.ndarray:
    """Return the colours of hues in half degrees, saturations and values."""
    hue, saturation, value = image
    full = value.astype(np.float32)
    chroma = full * saturation
    colors = np.empty(image.shape, np.uint8)
    for color, shares in zip(colors, _SHARES, strict=True):
        part = shares[hue]
        part *= chroma
        np.subtract(full, part, out=part)
        color[...] = np.rint(part, out=part)  # from 0 to 255, as shares are up to 1
    return colors


def _changed(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the image with other bytes: `values` (256,) in place of 0 to 255."""
    table: np.ndarray = to_bytes(values)
    return table[image]


BYTES = np.arange(256.0)


class Distortion:
    """Random changes of brightness, contrast, saturation, hue and order of channels.

    Each happens with its own probability. Contrast comes second or last but one, by a
    coin. A hue that would fall below 0 is 0, as in the fork, which keeps it in a byte.
    """

    def __init__(self, layer: LayerParameter, channels: int) -> None:
        self._param = param = layer.transform_param.distort_param
        _check(layer, param)
        colored = (param.saturation_prob, param.hue_prob, param.random_order_prob)
        if channels != 3 and any(colored):
            raise SpecError(
                f"distort_param changes saturation, hue or the order of channels, but "
                f"the images have {channels}; set force_color, or leave them out",
                layer=label(layer),
            )

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the image with other colours."""
        steps = [self._saturation, self._hue]
        steps.insert(0 if draws.uniform() > 0.5 else 2, self._contrast)
        for step in (self._brightness, *steps, self._order):
            image = step(image, draws)
        return image

    def _brightness(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        delta = self._param.brightness_delta
        if not draws.uniform() < self._param.brightness_prob:
            return image
        return _changed(image, BYTES + draws.uniform(-delta, delta))

    def _contrast(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        param = self._param
        if not draws.uniform() < param.contrast_prob:
            return image
        factor = draws.uniform(param.contrast_lower, param.contrast_upper)
        return _changed(image, BYTES * factor)

    def _saturation(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        param = self._param
        if not draws.uniform() < param.saturation_prob:
            return image
        hsv = to_hsv(image)
        factor = draws.uniform(param.saturation_lower, param.saturation_upper)
        hsv[1] = _changed(hsv[1], BYTES * factor)
        return from_hsv(hsv)

    def _hue(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        delta = self._param.hue_delta
        if not draws.uniform() < self._param.hue_prob:
            return image
        hsv = to_hsv(image)
        hsv[0] = _changed(hsv[0], BYTES + draws.uniform(-delta, delta))
        return from_hsv(hsv)

    def _order(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        if not draws.uniform() < self._param.random_order_prob:
            return image
        return image[np.argsort(draws.words(3), kind="stable")]


def _check(layer: LayerParameter, param: DistortionParameter) -> None:
    for name in ("brightness_delta", "hue_delta"):
        if not getattr(param, name) >= 0:
            raise SpecError(
                f"distort_param.{name} is {getattr(param, name):g}; expected at least "
                f"0",
                layer=label(layer),
            )
    for name in ("contrast", "saturation"):
        low, high = (getattr(param, f"{name}_{end}") for end in ("lower", "upper"))
        if getattr(param, f"{name}_prob") and not 0 <= low <= high:
            raise SpecError(
                f"distort_param has {name}_lower {low:g} and {name}_upper {high:g}; "
                f"expected 0 <= {name}_lower <= {name}_upper",
                layer=label(layer),
            )
    probabilities = [field.name for field in param.DESCRIPTOR.fields]
    for name in probabilities:
        value = getattr(param, name)
        if name.endswith("_prob") and not 0 <= value <= 1:
            raise SpecError(
                f"distort_param.{name} is {value:g}; expected 0 to 1",
                layer=label(layer),
            )
