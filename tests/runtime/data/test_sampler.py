"""Batch samplers of SSD: windows, and what boxes in them must hold."""

import numpy as np
import pytest

from netspec.schema import BatchSampler, SampleConstraint, Sampler
from netspec.text import parse
from runtime.data.boxes import coverage, emitted, mirrored, overlap, within
from runtime.data.draws import Draws
from runtime.data.sampler import draw_window, satisfied, windows

RNG = np.random.default_rng(1)
BOXES = np.sort(RNG.random((4, 2, 2)), axis=1).reshape(4, 4)
WINDOWS = np.sort(RNG.random((50, 2, 2)), axis=1).reshape(50, 4)


def shared(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def test_overlap_and_coverage_are_parts_of_areas():
    for window in WINDOWS:
        both = [shared(window, box) for box in BOXES]
        union = [
            area(window) + area(box) - s for box, s in zip(BOXES, both, strict=True)
        ]
        np.testing.assert_allclose(overlap(window, BOXES), np.divide(both, union))
        np.testing.assert_allclose(
            coverage(window, BOXES), np.array(both) / area(window)
        )


@pytest.mark.parametrize(
    "text",
    [
        "min_jaccard_overlap: 0.1",
        "max_jaccard_overlap: 0.2 min_object_coverage: 0.25",
        "min_sample_coverage: 0.3 max_sample_coverage: 0.8",
        "min_object_coverage: 0.5",
        "min_jaccard_overlap: 0.05 min_object_coverage: 0.6",
    ],
)
def test_some_box_must_hold_all_that_is_given(text):
    constraint = parse(text, SampleConstraint)
    given = {field.name: value for field, value in constraint.ListFields()}
    expected = []
    for window in WINDOWS:
        some = False
        for box in BOXES:
            both = shared(window, box)
            values = {
                "jaccard_overlap": both / (area(window) + area(box) - both),
                "sample_coverage": both / area(window),
                "object_coverage": both / area(box),
            }
            some |= all(
                values[name[4:]] >= bound
                if name[:3] == "min"
                else values[name[4:]] <= bound
                for name, bound in given.items()
            )
        expected.append(some)
    assert satisfied(WINDOWS, BOXES, constraint).tolist() == expected
    assert 0 < sum(expected) < 50
    assert not satisfied(WINDOWS, BOXES[:0], constraint).any()


def test_windows_have_the_scales_and_ratios_that_are_given():
    sampler = Sampler(
        min_scale=0.3, max_scale=0.8, min_aspect_ratio=0.5, max_aspect_ratio=2.5
    )
    found = windows(sampler, Draws(1, "d", 0), 2000)
    assert (found >= 0).all()
    assert (found <= 1 + 1e-12).all()
    width, height = (found[:, 2:] - found[:, :2]).T
    scale, ratio = np.sqrt(width * height), width / height
    assert scale.min() >= 0.3 - 1e-6
    assert scale.max() <= 0.8 + 1e-6
    assert ratio.max() <= 2.5 + 1e-6
    assert ratio.min() >= 0.5 - 1e-6
    assert (ratio <= scale**-2 + 1e-6).all()
    assert np.ptp(scale) > 0.45
    assert np.ptp(ratio) > 1.8
    centres = (found[:, :2] + found[:, 2:]) / 2
    assert np.ptp(centres, axis=0).min() > 0.5


def draws(count, seed=0):
    return [Draws(seed, "d", 3, stream) for stream in range(count + 1)]


def test_a_window_comes_from_any_sampler_that_finds_one():
    small, whole, none = (
        parse(text, BatchSampler)
        for text in (
            "sampler { min_scale: 0.1 max_scale: 0.2 } max_sample: 1",
            "max_sample: 1 max_trials: 1",
            "use_original_image: false",
        )
    )
    sizes = [
        area(draw_window([small, whole, none], BOXES, draws(3, seed)))
        for seed in range(60)
    ]
    assert 15 < sum(size > 0.99 for size in sizes) < 45
    assert max(size for size in sizes if size < 0.99) < 0.05
    assert draw_window([none], BOXES, draws(1)) is None


def test_max_sample_bounds_what_is_kept():
    first = parse(
        "sampler { min_scale: 0.5 } max_trials: 50 max_sample: 1", BatchSampler
    )
    chosen = draw_window([first], BOXES, draws(1))
    np.testing.assert_array_equal(chosen, windows(first.sampler, draws(1)[1], 50)[0])


def test_boxes_in_a_window_are_cut_and_measured_from_its_corner():
    boxes = np.array([[1.0, 2, 5, 8], [0, 0, 20, 3]])
    window = np.array([2.0, 1, 9, 7])
    np.testing.assert_array_equal(within(boxes, window), [[0, 1, 3, 6], [0, 0, 7, 2]])
    np.testing.assert_array_equal(
        mirrored(within(boxes, window), 7), [[4, 1, 7, 6], [0, 0, 7, 2]]
    )
    touching = np.array([[0.0, 0, 2, 9], [9, 1, 10, 2], [3, 3, 3, 4]])
    assert not emitted(touching, window, None).any()
