"""PriorBox against loops over places and boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netspec.errors import SpecError
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer

SHAPES = [(2, 3, 4, 5), (2, 3, 40, 60)]


def boxes(options, features, image):
    """Return what options, a dict of lists, say; sizes are (height, width)."""
    smallest, largest = options["min_size"], options.get("max_size", [])
    ratios = []
    for ratio in options.get("aspect_ratio", []):
        if all(abs(ratio - other) > 1e-6 for other in (1, *ratios)):
            ratios.append(ratio)
            if options.get("flip", True):
                ratios.append(1 / ratio)
    height, width = options.get("image", image)
    down, right = options.get("step", (height / features[0], width / features[1]))
    found = []
    for row in range(features[0]):
        for column in range(features[1]):
            x = (column + options.get("offset", 0.5)) * right
            y = (row + options.get("offset", 0.5)) * down
            for place, size in enumerate(smallest):
                sides = [(size, size)]
                if largest:
                    sides.append((math.sqrt(size * largest[place]),) * 2)
                for ratio in ratios:
                    sides.append((size * math.sqrt(ratio), size / math.sqrt(ratio)))
                for w, h in sides:
                    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                    box = [v / s for v, s in zip(box, (width, height) * 2, strict=True)]
                    if options.get("clip"):
                        box = [min(max(v, 0), 1) for v in box]
                    found.extend(box)
    return found


CASES = [
    ("min_size: 12", {"min_size": [12]}),
    (
        ("min_size: 12 min_size: 21 max_size: 30 max_size: 42 aspect_ratio: 2 "
        "aspect_ratio: 3 aspect_ratio: 2 variance: 0.3"),
        {"min_size": [12, 21], "max_size": [30, 42], "aspect_ratio": [2, 3]},
    ),
    (
        ("min_size: 9 max_size: 20 aspect_ratio: 2 aspect_ratio: 0.375 flip: false "
        "clip: true offset: 0.25 variance: 0.1 variance: 0.2 variance: 0.3 "
        "variance: 0.4"),
        {
            "min_size": [9],
            "max_size": [20],
            "aspect_ratio": [2, 0.375],
            "flip": False,
            "clip": True,
            "offset": 0.25,
        },
    ),
    ("min_size: 12 step: 7 img_size: 90", {
        "min_size": [12], "step": (7, 7), "image": (90, 90)
    }),
    ("min_size: 12 step_h: 7 step_w: 11 img_h: 70 img_w: 50", {
        "min_size": [12], "step": (7, 11), "image": (70, 50)
    }),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options"), CASES)
def test_prior_box(backend: Backend, text: str, options: dict) -> None:
    def reference(op, features, image):
        values = boxes(options, features.shape[2:], image.shape[2:])
        variances = np.tile(op.variance, len(values) // 4)
        return np.stack([values, variances])[None]

    check_layer(
        f'type: "PriorBox" prior_box_param {{ {text} }}',
        SHAPES,
        reference,
        backend=backend,
        gradient=False,
        float32_rtol=1e-6,
    )


def test_variances_are_those_given(backend: Backend) -> None:
    for given, wanted in (
        ("", [0.1] * 4),
        ("variance: 0.5", [0.5] * 4),
        ("variance: 1 variance: 2 variance: 3 variance: 4", [1, 2, 3, 4]),
    ):
        text = f'type: "PriorBox" prior_box_param {{ min_size: 9 {given} }}'
        layer = LoneLayer(text, SHAPES, backend=backend)
        (y,) = layer.forward([np.zeros(shape) for shape in SHAPES])
        np.testing.assert_allclose(y[0, 1].reshape(-1, 4), [wanted] * 20, rtol=1e-6)


def test_sizes_are_cut_to_whole_pixels_as_in_ssd(backend: Backend) -> None:
    text = 'type: "PriorBox" prior_box_param {{ min_size: {} max_size: {} }}'
    values = []
    for sizes in ((35.84, 76.8), (35, 76)):
        layer = LoneLayer(text.format(*sizes), SHAPES, backend=backend)
        values.append(layer.forward([np.zeros(shape) for shape in SHAPES])[0])
    np.testing.assert_array_equal(*values)
    assert layer.op.min_size == (35,)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("min_size: 0.5", "min_size is 0.5, which SSD cuts to 0 pixels"),
        ("min_size: 9 max_size: 9", "max_size 9 is not above min_size 9"),
        (
            "min_size: 9 variance: 1 variance: 2",
            r"is \(1.0, 2.0\); expected 1",
        ),
        ("min_size: 9 variance: 0", "expected 1 or 4 positive values"),
        ("min_size: 9 img_size: 9 img_h: 3", "both img_size and img_h and img_w are"),
        ("min_size: 9 img_h: 3", r"img_h and img_w \(3, 0\); expected"),
        ("min_size: 9 step: 9 step_w: 3", "both step and step_h and step_w are"),
        ("min_size: 9 step: -1", "gives step -1; expected positive"),
        ("min_size: 9 step_h: 2", r"step_h and step_w \(2, 0\)"),
    ],
)
def test_options_that_cannot_be_are_refused(
    backend: Backend, options: str, match: str
) -> None:
    text = f'type: "PriorBox" prior_box_param {{ {options} }}'
    with pytest.raises(SpecError, match=match):
        LoneLayer(text, SHAPES, backend=backend)
