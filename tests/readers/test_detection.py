"""SSD's layers of the runtime and of OpenCV's importer, on the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.readers import export_for
from netspec.text import as_net, to_text
from netspec.weights import as_model
from tests.readers.running import net_of
from tests.readers.value_cases import of

cv2 = pytest.importorskip("cv2")

PRIORS, CLASSES, ITEMS = 60, 4, 2
BOXES = (
    "num_classes: 4 share_location: true background_label_id: 0 "
    "nms_param { nms_threshold: 0.4 top_k: 30 } keep_top_k: 25 "
)


def in_both(
    text: str, folder: Path, inputs: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the runtime and OpenCV compute of a net as it stands."""
    net = runtime.Net(as_net(text))
    rng = np.random.default_rng(3)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.normal(size=blob.data.shape)
    net.save(str(folder / "net.caffemodel"))
    (folder / "net.prototxt").write_text(to_text(as_net(text)))
    ours = net.forward(**inputs)["y"].copy()
    theirs = cv2.dnn.readNetFromCaffe(
        str(folder / "net.prototxt"), str(folder / "net.caffemodel")
    )
    for name, value in inputs.items():
        theirs.setInput(value.astype(np.float32), name)
    return ours, theirs.forward("y")


@pytest.mark.parametrize(
    "options",
    [
        "min_size: 30 flip: true clip: false",
        "min_size: 12 max_size: 25 aspect_ratio: [2, 3] flip: true clip: true",
        "min_size: [12, 20] max_size: [25, 31] aspect_ratio: 2 flip: false clip: false",
        "min_size: 12 max_size: 25 step: 9 offset: 0.25 flip: false clip: false",
        "min_size: 7 aspect_ratio: [0.5, 2] flip: true clip: false step_h: 9 step_w: 8",
    ],
)
def test_prior_boxes(tmp_path: Path, options: str) -> None:
    variances = "variance: 0.1 variance: 0.15 variance: 0.2 variance: 0.25"
    text = net_of(
        of("PriorBox", f"{options} {variances}", bottom="x image"),
        x=(1, 6, 4, 5),
        image=(1, 3, 40, 60),
    )
    inputs = {"x": np.zeros((1, 6, 4, 5)), "image": np.zeros((1, 3, 40, 60))}
    ours, theirs = in_both(text, tmp_path, inputs)
    np.testing.assert_allclose(theirs, ours, atol=2e-6)


def test_opencv_takes_fractions_of_pixels_that_ssd_cuts(tmp_path: Path) -> None:
    layer = of(
        "PriorBox",
        "min_size: 35.84 max_size: 76.8 aspect_ratio: 2 flip: true clip: false "
        "variance: [0.1, 0.1, 0.2, 0.2]",
        bottom="x image",
    )
    text = net_of(layer, x=(1, 6, 4, 5), image=(1, 3, 512, 512))
    inputs = {"x": np.zeros((1, 6, 4, 5)), "image": np.zeros((1, 3, 512, 512))}
    ours, theirs = in_both(text, tmp_path, inputs)
    assert 5e-4 < np.abs(ours - theirs).max() < 2e-3  # up to half a pixel of 512
    done = export_for(as_model(as_net(text), {}), "opencv")
    assert [one.rule for one in done.report.rewritten] == ["prior-box-fractions"]
    (param,) = [x.prior_box_param for x in done.model.net.layer if x.type == "PriorBox"]
    assert (list(param.min_size), list(param.max_size)) == ([35], [76])
    written = to_text(done.model.net)
    again, theirs = in_both(written, tmp_path, inputs)
    np.testing.assert_allclose(theirs, ours, atol=2e-6)
    np.testing.assert_array_equal(again, ours)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 2, 1), (0, 1, 3, 2)])
def test_permute(tmp_path: Path, order: tuple[int, ...]) -> None:
    text = net_of(
        of("Permute", " ".join(f"order: {axis}" for axis in order)), x=(2, 3, 4, 5)
    )
    inputs = {"x": np.random.default_rng(0).normal(size=(2, 3, 4, 5))}
    ours, theirs = in_both(text, tmp_path, inputs)
    np.testing.assert_array_equal(theirs, ours)


def test_normalize(tmp_path: Path) -> None:
    # One scale for all, or norms of whole items, OpenCV refuses for more than one item.
    options = "across_spatial: false channel_shared: false eps: 1e-3"
    text = net_of(of("Normalize", options), x=(2, 5, 3, 4))
    inputs = {"x": np.random.default_rng(0).normal(size=(2, 5, 3, 4))}
    ours, theirs = in_both(text, tmp_path, inputs)
    np.testing.assert_allclose(theirs, ours, rtol=2e-5, atol=2e-6)


def detections(seed: int, places: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.7, size=(PRIORS, 2))
    priors = np.concatenate([low, low + rng.uniform(0.1, 0.3, low.shape)], 1)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], PRIORS)
    return {
        "l": rng.normal(size=(ITEMS, PRIORS * 4 * places)),
        "c": rng.uniform(size=(ITEMS, PRIORS * CLASSES)),
        "p": np.stack([priors.reshape(-1), variances])[None],
    }


def by_score(rows: np.ndarray) -> np.ndarray:
    rows = rows.reshape(-1, 7)
    rows = rows[rows[:, 2] > 0]  # OpenCV fills up with zeros
    return rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]


@pytest.mark.parametrize(
    "options",
    [
        "code_type: CENTER_SIZE confidence_threshold: 0.3",
        "code_type: CORNER confidence_threshold: 0.6",
        "code_type: CENTER_SIZE confidence_threshold: 0.95",
        "code_type: CENTER_SIZE confidence_threshold: 0.01",
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_detections(tmp_path: Path, options: str, seed: int) -> None:
    inputs = detections(seed)
    text = net_of(
        of("DetectionOutput", BOXES + options, bottom="l c p"),
        **{name: value.shape for name, value in inputs.items()},
    )
    ours, theirs = in_both(text, tmp_path, inputs)
    assert len(by_score(ours)) > 3
    np.testing.assert_allclose(by_score(theirs), by_score(ours), atol=1e-5)


def test_detections_with_locations_of_every_class(tmp_path: Path) -> None:
    inputs = detections(2, places=CLASSES)
    options = BOXES.replace("share_location: true", "share_location: false")
    options += "code_type: CENTER_SIZE confidence_threshold: 0.4"
    text = net_of(
        of("DetectionOutput", options, bottom="l c p"),
        **{name: value.shape for name, value in inputs.items()},
    )
    ours, theirs = in_both(text, tmp_path, inputs)
    np.testing.assert_allclose(by_score(theirs), by_score(ours), atol=1e-5)
