"""Slow references of SSD's and Fast R-CNN's layers, after their papers and code."""

import math

import numpy as np


def normalize(x, scale, across_spatial, eps):
    y = np.empty_like(x)
    for n, image in enumerate(x):
        for place in np.ndindex(image.shape[1:]):
            part = image if across_spatial else image[:, place[0], place[1]]
            y[(n, slice(None), *place)] = image[:, place[0], place[1]] / math.sqrt(
                (part.astype(float) ** 2).sum() + eps
            )
    return y * np.reshape(scale, (-1, 1, 1))


def prior_boxes(features, image, sides, step, offset, clip):
    """Corners of all boxes, as parts of the image; sides: (w, h) at a pixel."""
    rows = []
    for i in range(features[0]):
        for j in range(features[1]):
            y, x = (i + offset) * step[0], (j + offset) * step[1]
            for w, h in sides:
                rows += [
                    (x - w / 2) / image[1],
                    (y - h / 2) / image[0],
                    (x + w / 2) / image[1],
                    (y + h / 2) / image[0],
                ]
    return np.clip(rows, 0, 1) if clip else np.array(rows)


def roi_pooling(x, regions, pooled, scale):
    """The maximum of every part of each region; both of its corners are within."""
    y = np.zeros((len(regions), x.shape[1], *pooled), x.dtype)
    for number, (item, *corners) in enumerate(regions):
        left, top, right, bottom = (math.floor(c * scale + 0.5) for c in corners)
        height, width = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for p, q in np.ndindex(pooled):
            first = [top + p * height // pooled[0], left + q * width // pooled[1]]
            last = [
                top - (-(p + 1) * height // pooled[0]),
                left - (-(q + 1) * width // pooled[1]),
            ]
            (a, c), (b, d) = np.clip([first, last], 0, x.shape[2:])
            part = x[int(item), :, a:b, c:d]
            if part.size:
                y[number, :, p, q] = part.max((1, 2))
    return y


def detections(
    loc,
    conf,
    priors,
    *,
    classes,
    share=True,
    background=0,
    threshold=0.3,
    top_k=-1,
    keep=-1,
    confidence=None,
    code="CORNER",
    encoded=False,
):
    """A row of image, class, score and corners for each box that is left."""
    boxes, variances = priors[0].reshape(2, -1, 4).astype(float)
    count = len(boxes)
    loc = loc.reshape(len(loc), count, -1, 4).astype(float)
    conf = conf.reshape(len(conf), count, classes)
    rows = []
    for n in range(len(loc)):
        found = []
        for c in range(classes):
            if c == background:
                continue
            codes = loc[n, :, 0 if share else c]
            moved = _decoded(boxes, codes * (1 if encoded else variances), code)
            score = conf[n, :, c]
            order = np.argsort(-score, kind="stable")
            order = [i for i in order if confidence is None or score[i] > confidence]
            kept = []
            for i in order[: top_k if top_k >= 0 else None]:
                if all(_overlap(moved[i], moved[j]) <= threshold for j in kept):
                    kept.append(i)
            found += [(c, score[i], *moved[i]) for i in kept]
        best = sorted(found, key=lambda row: -row[1])[: keep if keep >= 0 else None]
        rows += [(n, *row) for row in sorted(best, key=lambda row: (row[0], -row[1]))]
    if not rows:
        rows = [(n, *(-1,) * 6) for n in range(len(loc))]
    return np.array(rows)[None, None]


def _decoded(boxes, codes, code):
    low, high = boxes[:, :2], boxes[:, 2:]
    if code == "CORNER":
        return boxes + codes
    if code == "CORNER_SIZE":
        return boxes + codes * np.tile(high - low, 2)
    middle = codes[:, :2] * (high - low) + (low + high) / 2
    half = np.exp(codes[:, 2:]) * (high - low) / 2
    return np.concatenate([middle - half, middle + half], 1)


def _overlap(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if min(sides) <= 0:
        return 0
    areas = [0 if min(x[2:] - x[:2]) < 0 else np.prod(x[2:] - x[:2]) for x in (a, b)]
    return np.prod(sides) / (sum(areas) - np.prod(sides))
