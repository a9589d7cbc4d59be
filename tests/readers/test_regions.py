"""Layers of regions in OpenCV, on numbers of any kind: it computes what we do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import runtime
from netspec.errors import UnsupportedError
from netspec.readers import export_for
from netspec.weights import as_model
from tests.readers.running import net_of, outputs_in
from tests.readers.value_cases import of

SCALES = [1, 0.5, 0.25, 0.0625]


def regions(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """Regions of all kinds: inside, over the rim, turned around, whole numbers."""
    rows = rng.uniform(-10, 1.2 * size / scale, (20, 5))
    rows[:, 0] = rng.integers(0, 2, 20)
    rows[::2, 3:] = np.maximum(rows[::2, 3:], rows[::2, 1:3])
    rows[::3] = np.round(rows[::3])
    rows[1::3, 1:] = np.round(rows[1::3, 1:] * scale * 2) / (scale * 2)  # halves
    return rows.astype(np.float32)


def both(text: str, inputs: dict[str, np.ndarray], tops: list[str]) -> Any:
    """What OpenCV finds, and what we do."""
    shapes = {name: value.shape for name, value in inputs.items()}
    model = as_model(net_of(text, **shapes), {})
    net = runtime.Net(model.net, runtime.TEST)
    for name, value in inputs.items():
        net.blobs[name].data[...] = value
    net.forward()
    done = export_for(model, "opencv")
    found = outputs_in("opencv", done, inputs, tops)
    return [(found[top], net.blobs[top].data) for top in tops]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ("pooled_h: 3 pooled_w: 4", 3),
        ("pooled_size: 5", 2),
        ("group_size: 3 output_dim: 2", 18),
    ],
)
def test_regions_are_pooled_alike(options: str, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, sides = SCALES[seed % 4], rng.integers(4, 30, 2)
    kind = "PSROIPooling" if "group" in options else "ROIPooling"
    text = of(kind, f"{options} spatial_scale: {scale}", bottom="x r")
    inputs = {
        "x": np.float32(rng.normal(size=(2, channels, *sides))),
        "r": regions(rng, max(sides), scale),
    }
    ((got, want),) = both(text, inputs, ["y"])
    np.testing.assert_allclose(got, want, atol=1e-5)


ANCHORS = "ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16"


def propose(options: str, seed: int, info: list[float]) -> Any:
    """The regions of both, and their scores."""
    rng = np.random.default_rng(seed)
    inputs = {
        "s": np.float32(rng.permutation(12 * 216).reshape(1, 12, 12, 18) / 3000),
        "d": np.float32(rng.normal(size=(1, 24, 12, 18)) * 0.2),
        "i": np.float32([info]),
    }
    text = of("Proposal", f"{ANCHORS} {options}", bottom="s d i", top="y z")
    return both(text, inputs, ["y", "z"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        "min_size: 0",
        "min_size: 0 feat_stride: 8 base_size: 8 nms_thresh: 0.5",
        "min_size: 0 pre_nms_topn: 100 post_nms_topn: 30 nms_thresh: 0.6",
    ],
)
def test_the_same_regions_are_proposed(options: str, seed: int) -> None:
    (got, want), (scores, ours) = propose(options, seed, [200, 300, 1])
    kept = len(want)
    assert 20 < kept <= len(got)
    np.testing.assert_allclose(got[:kept], want, atol=1e-3)
    np.testing.assert_allclose(scores[:kept], ours, atol=1e-6)
    assert not got[kept:].any()  # OpenCV has zeros behind those that are found
    assert not scores[kept:].any()


def test_opencv_cuts_the_size_of_the_image_to_whole_pixels() -> None:
    (got, want), _ = propose("min_size: 0", 1, [200.9, 300.9, 1])
    assert got[:, 3].max() == 299
    assert want[:, 3].max() == pytest.approx(299.9)


def test_what_opencv_computes_otherwise_is_told() -> None:
    shapes = {"s": (1, 12, 12, 18), "d": (1, 24, 12, 18), "i": (1, 3)}
    text = of("Proposal", f"{ANCHORS} min_size: 0", bottom="s d i")
    done = export_for(as_model(net_of(text, **shapes), {}), "opencv")
    (finding,) = done.report.warned
    assert "has post_nms_topn rows, zeros behind those that are found" in finding.text
    small = text.replace("min_size: 0", "min_size: 16")
    with pytest.raises(UnsupportedError, match="min_size: .*keeps small boxes; set it"):
        export_for(as_model(net_of(small, **shapes), {}), "opencv")
    shapes = {"s": (2, 12, 12, 18), "d": (2, 24, 12, 18), "i": (2, 3)}
    with pytest.raises(UnsupportedError, match="for several images: .*takes one image"):
        export_for(as_model(net_of(text, **shapes), {}), "opencv")
    grown = of("ROIPooling", "pooled_h: 2 pooled_w: 2 pad_ratio: 0.5", bottom="x r")
    with pytest.raises(UnsupportedError, match="pad_ratio"):
        export_for(as_model(net_of(grown, x=(1, 2, 5, 5), r=(3, 5)), {}), "opencv")
