"""Boxes, as x1, y1, x2, y2 with both corners inside: anchors, overlaps, deltas."""

import ast
import zlib

import numpy as np


def options(layer, **defaults):
    """Return the options in the text of a layer: `'feat_stride': 16`, or a dictionary.

    Those that are not given are `defaults`; an unknown one is an error.
    """
    text = layer.param_str.strip()
    if not text.startswith("{"):
        text = "{" + text + "}"
    given = ast.literal_eval(text)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(
            f"param_str has {unknown[0]!r}; expected some of {', '.join(defaults)}"
        )
    return {**defaults, **given}


def make_anchors(base_size, ratios, scales):
    """Return the anchors around a square of `base_size`, for each ratio all scales."""
    made = []
    for ratio in ratios:
        width = np.floor(np.sqrt(base_size**2 / ratio) + 0.5)
        height = np.floor(width * ratio + 0.5)
        for scale in scales:
            half = (np.array([width, height]) * scale - 1) / 2
            centre = (base_size - 1) / 2
            made.append([*(centre - half), *(centre + half)])
    return np.array(made)


def place(anchors, height, width, stride):
    """Return the anchors at every position of a map: (height width A, 4)."""
    y, x = np.mgrid[:height, :width].reshape(2, -1) * stride
    shifts = np.stack([x, y, x, y], axis=1)
    return (shifts[:, None] + anchors).reshape(-1, 4)


def sizes(boxes):
    """Return widths and heights: (K, 2)."""
    return boxes[:, 2:4] - boxes[:, :2] + 1


def overlaps(boxes, others):
    """Return the intersection over the union of every pair: (K, L)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:4], others[None, :, 2:4])
    both = np.maximum(high - low + 1, 0).prod(axis=2)
    areas = sizes(boxes).prod(axis=1)[:, None] + sizes(others).prod(axis=1)
    return both / (areas - both)


def deltas(boxes, targets):
    """Return how boxes move to their targets: shifts by size, logarithms of ratios."""
    own, wanted = sizes(boxes), sizes(targets)
    shift = targets[:, :2] + wanted / 2 - boxes[:, :2] - own / 2
    return np.concatenate([shift / own, np.log(wanted / own)], axis=1)


def moved(boxes, by):
    """Return boxes moved by their deltas."""
    own = sizes(boxes)
    centre = boxes[:, :2] + own / 2 + by[:, :2] * own
    half = np.exp(np.minimum(by[:, 2:4], 10)) * own / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def clipped(boxes, height, width):
    """Return boxes cut at the border of an image."""
    return np.clip(boxes, 0, np.array([width, height, width, height]) - 1)


def suppressed(boxes, threshold, most):
    """Return which boxes, the best first, no better one overlaps more."""
    left, kept = np.arange(len(boxes)), []
    while len(left) and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(first)
        shares = overlaps(boxes[first : first + 1], boxes[left])[0]
        left = left[shares <= threshold]
    return np.array(kept, int)


def draw(choices, most, *inputs):
    """Return at most `most` of some numbers, drawn by what the inputs hold."""
    if len(choices) <= most:
        return choices
    seed = 0
    for array in inputs:
        seed = zlib.crc32(np.ascontiguousarray(array, np.float32).tobytes(), seed)
    return np.random.default_rng(seed).permutation(choices)[:most]
