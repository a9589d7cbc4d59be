"""DetectionEvaluate in whole nets, against what is right by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from runtime.backends.base import Backend

NET = """
layer {{ name: "found" type: "Input" top: "found"
        input_param {{ shape {{ dim: 1 dim: 1 dim: {found} dim: 7 }} }} }}
layer {{ name: "truth" type: "Input" top: "truth"
        input_param {{ shape {{ dim: 1 dim: 1 dim: {truth} dim: 8 }} }} }}
layer {{ name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth"
        top: "eval" detection_evaluate_param {{ num_classes: 3 {options} }} }}
"""
TRUTH = [
    # item, class, instance, box, difficult
    (0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0),
    (0, 1, 1, 0.6, 0.6, 0.9, 0.9, 1),
    (0, 2, 0, 0.0, 0.0, 0.2, 0.2, 0),
    (1, 1, 0, 0.3, 0.3, 0.7, 0.7, 0),
    (-1, 0, 0, 0, 0, 0, 0, 0),
]
FOUND = [
    (0, 1, 0.4, 0.1, 0.1, 0.5, 0.5),  # the second to find it: wrong
    (0, 1, 0.9, 0.12, 0.1, 0.5, 0.5),  # right
    (0, 1, 0.7, 0.6, 0.6, 0.9, 0.88),  # a difficult one
    (0, 2, 0.8, 0.5, 0.5, 0.7, 0.7),  # nothing there
    (1, 2, 0.3, 0.3, 0.3, 0.7, 0.7),  # another class is there
    (2, 1, 0.2, 0.0, 0.0, 0.1, 0.1),  # an item without objects
    (3, -1, -1, -1, -1, -1, -1),  # no detection
]
RIGHT, WRONG, NEITHER = (1, 0), (0, 1), (0, 0)


def evaluated(
    backend: Backend, options: str = "", found: list = FOUND, truth: list = TRUTH
) -> np.ndarray:
    text = NET.format(found=len(found), truth=len(truth), options=options)
    net = runtime.Net(text, backend=backend.name, dtype="float64")
    given = dict(found=np.array([[found]], float), truth=np.array([[truth]], float))
    return net.forward(**given)["eval"]


@pytest.mark.parametrize(
    ("options", "numbers", "difficult"),
    [("", (3, 1), RIGHT), ("evaluate_difficult_gt: false", (2, 1), NEITHER)],
)
def test_detections_are_right_or_wrong(
    backend: Backend, options: str, numbers: tuple, difficult: tuple
) -> None:
    got = evaluated(backend, options)
    want = [
        (-1, 1, numbers[0], -1, -1),
        (-1, 2, numbers[1], -1, -1),
        (0, 1, 0.9, *RIGHT),
        (0, 1, 0.7, *difficult),
        (0, 1, 0.4, *WRONG),
        (0, 2, 0.8, *WRONG),
        (1, 2, 0.3, *WRONG),
        (2, 1, 0.2, *WRONG),
    ]
    np.testing.assert_allclose(got[0, 0], want)


def test_background_is_any_class(backend: Backend) -> None:
    truth = [(0, 0, 0, 0.1, 0.1, 0.5, 0.5, 0)]
    found = [(0, 0, 0.5, 0.1, 0.1, 0.5, 0.5)]
    got = evaluated(backend, "background_label_id: 1", found, truth)
    want = [(-1, 0, 1, -1, -1), (-1, 2, 0, -1, -1), (0, 0, 0.5, 1, 0)]
    np.testing.assert_allclose(got[0, 0], want)
    message = r"has class 1, the background"
    with pytest.raises(SpecError, match=message):
        evaluated(backend, "background_label_id: 1")
    found = [(0, 1, 0.5, 0.1, 0.1, 0.5, 0.5)]
    with pytest.raises(SpecError, match="has detections of class 1, the background"):
        evaluated(backend, "background_label_id: 1", found, truth)


def test_the_threshold_decides(backend: Backend) -> None:
    found = [(0, 1, 0.5, 0.1, 0.1, 0.5, 0.3)]  # half of the first object
    for threshold, right in ((0.45, 1), (0.55, 0)):
        got = evaluated(backend, f"overlap_threshold: {threshold}", found)
        assert got[0, 0, 2, 3] == right


def test_overlaps_in_pixels_of_the_images(backend: Backend, tmp_path: Path) -> None:
    # 10 x 40 pixels: the box has (4 + 1) * (8 + 1) of (4 + 1) * (16 + 1).
    (tmp_path / "sizes.txt").write_text("a 40 10\nb 100 100\n")
    found = [(0, 1, 0.5, 0.1, 0.1, 0.5, 0.3)]
    for threshold, right in ((0.525, 1), (0.535, 0)):
        options = f'name_size_file: "{tmp_path}/sizes.txt" overlap_threshold: '
        got = evaluated(backend, options + str(threshold), found, TRUTH[:1])
        assert got[0, 0, 2, 3] == right


def test_images_of_a_list_come_one_after_the_other(
    backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "sizes.txt").write_text("a 40 10\nb 900 900\nc 800 800\n")
    text = NET.format(
        found=1,
        truth=2,
        options=f'name_size_file: "{tmp_path}/sizes.txt" overlap_threshold: 0.515',
    )
    net = runtime.Net(text, backend=backend.name)
    truth = [TRUTH[0], (1, 1, 0, 0, 0, 1, 1, 0)]
    found = [(0, 1, 0.5, 0.1, 0.1, 0.5, 0.3)]
    given = dict(found=np.array([[found]]), truth=np.array([[truth]]))
    # Two images a batch: 40 x 10, 800 x 800, 900 x 900, 40 x 10 are the first of each.
    got = [net.forward(**given)["eval"][0, 0, 2, 3] for _ in range(4)]
    assert got == [1, 0, 0, 1]


def test_rows_follow_the_detections_of_a_net(backend: Backend) -> None:
    """Behind DetectionOutput both layers change their numbers of rows."""
    text = """
    layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 1 dim: 8 } } }
    layer { name: "c" type: "Input" top: "c" input_param { shape { dim: 1 dim: 6 } } }
    layer { name: "p" type: "Input" top: "p"
            input_param { shape { dim: 1 dim: 2 dim: 8 } } }
    layer { name: "t" type: "Input" top: "t"
            input_param { shape { dim: 1 dim: 1 dim: 1 dim: 8 } } }
    layer { name: "out" type: "DetectionOutput" bottom: "l" bottom: "c" bottom: "p"
            top: "out" detection_output_param { num_classes: 3
            confidence_threshold: 0.5 } }
    layer { name: "eval" type: "DetectionEvaluate" bottom: "out" bottom: "t" top: "e"
            detection_evaluate_param { num_classes: 3 } }"""
    net = runtime.Net(text, backend=backend.name)
    priors = [[0.1, 0.1, 0.5, 0.5, 0.6, 0.6, 0.9, 0.9], [0.1] * 8]
    given = dict(l=np.zeros((1, 8)), p=np.array([priors]), t=np.array([[[TRUTH[0]]]]))
    for scores, rows in (
        ([0, 0.9, 0.6, 0, 0.7, 0.1], 5),
        ([0, 0, 0, 0, 0, 0.8], 3),
        ([0, 0, 0, 0, 0, 0], 2),
        ([0, 0.9, 0, 0, 0, 0], 3),
    ):
        got = net.forward(c=np.array([scores]), **given)["e"]
        assert got.shape == (1, 1, rows, 5)
        assert net.blobs["e"].shape == got.shape
    np.testing.assert_allclose(got[0, 0, 2], [0, 1, 0.9, 1, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("background_label_id: 3", "background_label_id is 3, but there are 3 classes"),
        ("overlap_threshold: 0", "overlap_threshold is 0; it is an overlap"),
        ("resize_param { height: 9 }", "resize_param has height 9 and width 0"),
    ],
)
def test_options_that_cannot_be_are_refused(
    backend: Backend, options: str, match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        evaluated(backend, options)
