"""`noise_param` of the SSD fork: filters and noise, in the order in which it has them.

Shapes: images are (C, H, W) uint8, C being 3 (blue, green, red) or 1.
"""

from __future__ import annotations

import io

import numpy as np

from netspec.errors import SpecError, SpecWarning, UnsupportedError
from netspec.notebooks import warn_user
from netspec.ops.base import label
from netspec.schema import LayerParameter
from runtime.data.colors import to_bytes, to_hsv
from runtime.data.draws import Draws
from runtime.data.images import decode

GRAY = np.array([0.114, 0.587, 0.299])  # shares of blue, green and red
BLUR_TAPS, BLUR_SIGMA = 7, 1.5
POSTERIZED = 64  # levels that become one


class Noise:
    """Filters that `noise_param` names, and noise in single pixels.

    Every image gets them: `prob` is not read, as in the fork, and a value other than 1
    is told by a `SpecWarning`.
    """

    def __init__(self, layer: LayerParameter, channels: int) -> None:
        self._layer = layer
        self._param = param = layer.transform_param.noise_param
        for name in ("clahe", "convert_to_lab"):
            if getattr(param, name):
                raise UnsupportedError(
                    f"noise_param.{name} cannot be computed here; remove it",
                    layer=label(layer),
                )
        if param.convert_to_hsv and channels != 3:
            raise SpecError(
                f"noise_param.convert_to_hsv needs images of 3 channels, not "
                f"{channels}; set force_color, or remove it",
                layer=label(layer),
            )
        if param.HasField("prob") and param.prob != 1:
            warn_user(
                f"{label(layer)}: noise_param.prob is {param.prob:g}, but every image "
                f"gets the noise, as in the SSD fork, which does not read it; remove "
                f"it",
                SpecWarning,
            )
        self._pixel = self._salt(channels)

    def _salt(self, channels: int) -> np.ndarray:
        param = self._param.saltpepper_param
        values = list(param.value)
        if not self._param.saltpepper:
            return np.zeros(channels, np.uint8)
        if len(values) not in (1, channels):
            raise SpecError(
                f"noise_param.saltpepper_param.value is given {len(values)} times for "
                f"{channels} channels; give one, or one for each channel",
                layer=label(self._layer),
            )
        if not 0 <= param.fraction <= 1:
            raise SpecError(
                f"noise_param.saltpepper_param.fraction is {param.fraction:g}; "
                f"expected 0 to 1",
                layer=label(self._layer),
            )
        return np.broadcast_to(to_bytes(np.array(values)), (channels,))

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the image with noise."""
        param = self._param
        if param.decolorize and len(image) == 3:
            image = np.repeat(to_bytes(np.tensordot(GRAY, image, 1))[None], 3, axis=0)
        if param.gauss_blur:
            image = blurred(image)
        if param.hist_eq:
            image = equalized(image)
        if param.jpeg > 0:
            image = self._through_jpeg(image)
        if param.erode:
            image = eroded(image)
        if param.posterize:
            image = image // POSTERIZED * POSTERIZED + POSTERIZED // 2
        if param.inverse:
            image = 255 - image
        if param.saltpepper:
            image = self._salted(image, draws)
        if param.convert_to_hsv:
            image = to_hsv(image)
        return image

    def _through_jpeg(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        what = f"{label(self._layer)}: noise_param.jpeg"
        picture = image[::-1].transpose(1, 2, 0) if len(image) == 3 else image[0]
        buffer = io.BytesIO()
        quality = int(min(100, max(1, self._param.jpeg)))
        Image.fromarray(np.ascontiguousarray(picture)).save(
            buffer, "JPEG", quality=quality
        )
        return decode(buffer.getvalue(), what, color=len(image) == 3)

    def _salted(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        height, width = image.shape[1:]
        count = int(self._param.saltpepper_param.fraction * height * width)
        words = draws.words(2 * count).reshape(2, count)
        salted = image.copy()
        salted[:, words[0] % height, words[1] % width] = self._pixel[:, None]
        return salted


def blurred(image: np.ndarray) -> np.ndarray:
    """Blur by a Gaussian of 7 by 7 pixels and sigma 1.5, mirrored at the border."""
    reach = BLUR_TAPS // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / BLUR_SIGMA) ** 2)
    weights /= weights.sum()
    wide = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    height, width = image.shape[1:]
    rows = sum(w * wide[:, tap : tap + height] for tap, w in enumerate(weights))
    both = sum(w * rows[:, :, tap : tap + width] for tap, w in enumerate(weights))
    return to_bytes(np.asarray(both))


def equalized(image: np.ndarray) -> np.ndarray:
    """Spread the brightness evenly from 0 to 255; colours stay."""
    if len(image) != 3:
        return _spread(image)
    blue, green, red = image.astype(np.float64)
    luma = np.rint(0.299 * red + 0.587 * green + 0.114 * blue)
    moved = _spread(luma.astype(np.uint8)).astype(np.float64) - luma
    return to_bytes(np.stack([blue, green, red]) + moved)


def _spread(gray: np.ndarray) -> np.ndarray:
    counts = np.bincount(gray.reshape(-1), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    rest = gray.size - counts[first]
    if rest == 0:
        return gray
    sums = np.cumsum(counts) - counts[first]
    table: np.ndarray = to_bytes(sums.clip(0) * (255 / rest))
    return table[gray]


def eroded(image: np.ndarray) -> np.ndarray:
    """Give every pixel the least value of itself and its four neighbours."""
    least = image.copy()
    np.minimum(least[:, 1:], image[:, :-1], out=least[:, 1:])
    np.minimum(least[:, :-1], image[:, 1:], out=least[:, :-1])
    np.minimum(least[:, :, 1:], image[:, :, :-1], out=least[:, :, 1:])
    np.minimum(least[:, :, :-1], image[:, :, 1:], out=least[:, :, :-1])
    return least
