"""Ways of resizing an image, as OpenCV computes them: sums over few pixels an axis.

Shapes: images (..., H, W) uint8 -> (..., height, width) uint8. OpenCV rounds weights to
11 bits, so that its values may differ by 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

# Of one axis: the numbers of the pixels that make each new one, and their weights; both
# (new, taps).
Taps: TypeAlias = tuple[np.ndarray, np.ndarray]

CUBIC = -0.75  # the free number of the cubic of Keys, as OpenCV has it
LOBES = 4  # of LANCZOS4


def _places(size: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel before the centre of each new one, and how far it is behind."""
    places = (np.arange(new) + 0.5) * size / new - 0.5
    before = np.floor(places)
    return before.astype(np.intp), places - before


def _around(size: int, before: np.ndarray, weights: np.ndarray, first: int) -> Taps:
    """Return taps from `before` + `first` on; beyond the edge is the pixel there."""
    numbers = before[:, None] + first + np.arange(weights.shape[1])
    return numbers.clip(0, size - 1), weights


def linear(size: int, new: int) -> Taps:
    """Return the taps of the two nearest pixels."""
    before, behind = _places(size, new)
    return _around(size, before, np.stack([1 - behind, behind], axis=1), 0)


def nearest(size: int, new: int) -> Taps:
    """Return the tap of the pixel floor(place * size / new)."""
    numbers = (np.arange(new) * size // new).clip(0, size - 1)
    return numbers[:, None], np.ones((new, 1))


def cubic(size: int, new: int) -> Taps:
    """Return the taps of the four nearest pixels."""
    before, t = _places(size, new)
    outer, inner = 1 + t, 1 - t
    weights = [
        ((CUBIC * outer - 5 * CUBIC) * outer + 8 * CUBIC) * outer - 4 * CUBIC,
        ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1,
        ((CUBIC + 2) * inner - (CUBIC + 3)) * inner * inner + 1,
    ]
    weights.append(1 - sum(weights))
    return _around(size, before, np.stack(weights, axis=1), -1)


def lanczos4(size: int, new: int) -> Taps:
    """Return the taps of the eight nearest pixels."""
    before, t = _places(size, new)
    offsets = np.arange(-LOBES + 1, LOBES + 1) - t[:, None]
    weights = np.sinc(offsets) * np.sinc(offsets / LOBES)
    weights /= weights.sum(axis=1, keepdims=True)
    return _around(size, before, weights, -LOBES + 1)


def area(size: int, new: int) -> Taps:
    """Return the taps of all pixels that a smaller image's pixel covers, by area."""
    scale = size / new
    starts = np.arange(new) * scale
    first = np.floor(starts + 1e-9).astype(np.intp)
    taps = int(np.ceil(scale)) + 1
    numbers = first[:, None] + np.arange(taps)
    left = np.maximum(numbers, starts[:, None])
    right = np.minimum(numbers + 1, (starts + scale)[:, None])
    weights = np.maximum(right - left, 0) / scale
    return numbers.clip(0, size - 1), weights


def _enlarged_area(size: int, new: int) -> Taps:
    """Return OpenCV's taps of AREA where an image does not get smaller."""
    scale = size / new
    place = np.arange(new)
    before = np.floor(place * scale).astype(np.intp)
    behind = (place + 1) - (before + 1) / scale
    behind = np.where(behind <= 0, 0, behind - np.floor(behind))
    return _around(size, before, np.stack([1 - behind, behind], axis=1), 0)


MODES: dict[str, Callable[[int, int], Taps]] = {
    "LINEAR": linear,
    "AREA": area,
    "NEAREST": nearest,
    "CUBIC": cubic,
    "LANCZOS4": lanczos4,
}


def resized(images: np.ndarray, height: int, width: int, mode: str) -> np.ndarray:
    """Resize in a way that `MODES` has.

    Shapes: images (..., H, W) uint8 -> (..., height, width) uint8.
    """
    old = images.shape[-2:]
    if old == (height, width):
        return images
    taps = MODES[mode]
    if mode == "AREA" and not (height <= old[0] and width <= old[1]):
        taps = _enlarged_area
    if mode == "NEAREST":
        rows, columns = taps(old[0], height)[0], taps(old[1], width)[0]
        return images[..., rows, columns[:, 0]]
    values = _along(images, *taps(old[0], height), axis=-2)
    values = _along(values, *taps(old[1], width), axis=-1)
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _along(
    images: np.ndarray, numbers: np.ndarray, weights: np.ndarray, axis: int
) -> np.ndarray:
    factors = weights.T.astype(np.float32)  # (taps, new)
    factors = factors[:, :, None] if axis == -2 else factors
    total: np.ndarray = np.take(images, numbers[:, 0], axis=axis) * factors[0]
    for tap in range(1, len(factors)):
        total += np.take(images, numbers[:, tap], axis=axis) * factors[tap]
    return total
