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
    return np.rint(values).clip(0, 255).astype(np.uint8)


def to_hsv(image: np.ndarray) -> np.ndarray:
    """Return hue in half degrees, saturation and value, bytes as OpenCV's BGR2HSV."""
    blue, green, red = image.astype(np.float64)
    value = np.maximum(np.maximum(blue, green), red)
    spread = value - np.minimum(np.minimum(blue, green), red)
    safe = np.where(spread > 0, spread, 1.0)
    hue = np.where(
        value == red,
        (green - blue) / safe,
        np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = np.where(spread > 0, hue * (HUES / 6), 0.0)
    hue = np.where(hue < 0, hue + HUES, hue)
    saturation = 255 * spread / np.where(value > 0, value, 1.0)
    turn = np.rint(hue)
    turn[turn >= HUES] -= HUES
    return np.stack([turn, np.rint(saturation), value]).astype(np.uint8)


def from_hsv(image: np.ndarray) -> np.ndarray:
    """Return the colours of hues in half degrees, saturations and values."""
    hue, saturation, value = image.astype(np.float64)
    share = saturation / 255
    sector = hue * (6 / HUES) % 6
    colors = []
    for shift in (1, 3, 5):  # blue, green and red of a turn
        place = (shift + sector) % 6
        part = np.minimum(np.minimum(place, 4 - place), 1).clip(0, 1)
        colors.append(value * (1 - share * part))
    return to_bytes(np.stack([colors[0], colors[1], colors[2]]))


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
        return to_bytes(image + draws.uniform(-delta, delta))

    def _contrast(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        param = self._param
        if not draws.uniform() < param.contrast_prob:
            return image
        return to_bytes(
            image * draws.uniform(param.contrast_lower, param.contrast_upper)
        )

    def _saturation(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        param = self._param
        if not draws.uniform() < param.saturation_prob:
            return image
        hsv = to_hsv(image)
        factor = draws.uniform(param.saturation_lower, param.saturation_upper)
        hsv[1] = to_bytes(hsv[1] * factor)
        return from_hsv(hsv)

    def _hue(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        delta = self._param.hue_delta
        if not draws.uniform() < self._param.hue_prob:
            return image
        hsv = to_hsv(image)
        hsv[0] = to_bytes(hsv[0] + draws.uniform(-delta, delta))
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
