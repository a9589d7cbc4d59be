"""SSD's batch samplers: random windows of an image that meet boxes in a given way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import label
from netspec.schema import BatchSampler, LayerParameter, SampleConstraint, Sampler
from runtime.data.boxes import coverage, overlap
from runtime.data.draws import Draws

FIRST_STREAM = 2  # of the random numbers of the first batch sampler of an item


def check_samplers(layer: LayerParameter) -> None:
    """Refuse batch samplers that can draw no window.

    Raises `SpecError` naming the sampler, from 0, the field and its value.
    """
    for number, batch in enumerate(layer.annotated_data_param.batch_sampler):
        where = f"batch_sampler {number}"
        one = batch.sampler
        if not 0 < one.min_scale <= one.max_scale <= 1:
            raise SpecError(
                f"{where} has min_scale {one.min_scale:g} and max_scale "
                f"{one.max_scale:g}; expected 0 < min_scale <= max_scale <= 1",
                layer=label(layer),
            )
        if not 0 < one.min_aspect_ratio <= one.max_aspect_ratio < np.inf:
            raise SpecError(
                f"{where} has min_aspect_ratio {one.min_aspect_ratio:g} and "
                f"max_aspect_ratio {one.max_aspect_ratio:g}; expected 0 < "
                f"min_aspect_ratio <= max_aspect_ratio",
                layer=label(layer),
            )


def windows(sampler: Sampler, draws: Draws, count: int) -> np.ndarray:
    """Draw windows of an image, in fractions of its sides.

        s = scale, r = aspect ratio, s^2 <= r <= 1 / s^2
        width = s sqrt(r), height = s / sqrt(r), anywhere inside

    Shapes: -> (count, 4).
    """
    u = draws.uniforms(count, 4)
    scale = sampler.min_scale + (sampler.max_scale - sampler.min_scale) * u[:, 0]
    ratios = sampler.max_aspect_ratio - sampler.min_aspect_ratio
    ratio = sampler.min_aspect_ratio + ratios * u[:, 1]
    ratio = np.minimum(np.maximum(ratio, scale**2), scale**-2)
    sides = np.stack([scale * np.sqrt(ratio), scale / np.sqrt(ratio)], axis=1)
    sides = np.minimum(sides, 1)
    corners = u[:, 2:] * (1 - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def satisfied(
    found: np.ndarray, boxes: np.ndarray, constraint: SampleConstraint
) -> np.ndarray:
    """Say which windows meet a constraint: some box must hold all that is given.

        min/max_jaccard_overlap  common area / area of both together
        min/max_sample_coverage  common area / area of the window
        min/max_object_coverage  common area / area of the box

    Where nothing is given all do. The fork takes a box that holds the first of several
    for enough.

    Shapes: found (T, 4), boxes (B, 4) -> (T,) bool.
    """
    given = {field.name for field, _ in constraint.ListFields()}
    if not given:
        return np.ones(len(found), bool)
    window, box = found[:, None, :], boxes[None, :, :]
    measures = {
        "jaccard_overlap": lambda: overlap(window, box),
        "sample_coverage": lambda: coverage(window, box),
        "object_coverage": lambda: coverage(box, window),
    }
    holds = np.ones((len(found), len(boxes)), bool)
    for name, measure in measures.items():
        low, high = f"min_{name}", f"max_{name}"
        if not given & {low, high}:
            continue
        values = measure()
        if low in given:
            holds &= values >= getattr(constraint, low)
        if high in given:
            holds &= values <= getattr(constraint, high)
    some: np.ndarray = np.asarray(holds.any(axis=1))
    return some


def draw_window(
    samplers: Sequence[BatchSampler], boxes: np.ndarray, draws: Sequence[Draws]
) -> np.ndarray | None:
    """Draw one window out of those that all batch samplers find, or None of none.

    Each sampler draws up to `max_trials` windows of the image and keeps those that meet
    its constraint, `max_sample` at most. One without `use_original_image` finds none.

    boxes: in fractions of the sides, (B, 4). draws: one for the choice, then one for
    every sampler. -> (4,), in fractions of the sides.
    """
    kept = []
    for one, numbers in zip(samplers, draws[1:], strict=True):
        if not one.use_original_image or one.max_trials == 0:
            continue
        found = windows(one.sampler, numbers, one.max_trials)
        found = found[satisfied(found, boxes, one.sample_constraint)]
        kept.append(found[: one.max_sample] if one.HasField("max_sample") else found)
    every = np.concatenate(kept) if kept else np.empty((0, 4))
    if len(every) == 0:
        return None
    chosen: np.ndarray = every[draws[0].below(len(every))]
    return chosen
