"""Layers of regions: compiled kernels against the portable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.layers.region import PSROIPooling, ROIAlign, ROIPooling
from runtime.layers import _boxes
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, TOLERANCE
from tests.layers.harness import LoneLayer

KINDS: dict[str, tuple[type[Any], str]] = {
    "ROIPooling": (
        ROIPooling,
        (
            "roi_pooling_param {{ pooled_h: {h} pooled_w: {w} spatial_scale: {scale} "
            "pad_ratio: {pad} }}"
        ),
    ),
    "PSROIPooling": (
        PSROIPooling,
        (
            "psroi_pooling_param {{ output_dim: {outputs} group_size: {h} "
            "spatial_scale: {scale} }}"
        ),
    ),
    "ROIAlign": (
        ROIAlign,
        (
            "roi_align_param {{ pooled_h: {h} pooled_w: {w} spatial_scale: {scale} "
            "sampling_ratio: {ratio} }}"
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(
    images=st.integers(1, 3),
    outputs=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    pooled=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    regions=st.integers(0, 30),
    scale=st.sampled_from([1, 0.5, 0.0625, 0.3, 1.7]),
    ratio=st.integers(0, 3),
    pad=st.sampled_from([0, 0.25]),
    seed=st.integers(0, 99),
)
def test_compiled_layers_are_the_portable_ones(
    kind: str,
    images: int,
    outputs: int,
    sides: tuple[int, int],
    pooled: tuple[int, int],
    regions: int,
    scale: float,
    ratio: int,
    pad: float,
    seed: int,
) -> None:
    kernel, param = KINDS[kind]
    h, w = pooled
    given = dict(h=h, w=w, scale=scale, ratio=ratio, pad=pad, outputs=outputs)
    text = f'type: "{kind}" {param.format(**given)}'
    channels = outputs * h * h if kind == "PSROIPooling" else outputs
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(images, channels, *sides))
    rois = rng.uniform(-20, 1.3 * max(sides) / scale, (regions, 5))
    rois[:, 0] = rng.integers(0, images, regions)
    rois[::3, 1:] = np.round(rois[::3, 1:] * 2) / 2
    found = []
    for backend in (PORTABLE, CPU):
        layer = LoneLayer(text, [x.shape, rois.shape], backend=backend, dtype="float32")
        assert isinstance(layer.kernel, kernel) == (backend is CPU)
        for _ in range(2):
            (y,) = layer.forward([x, rois])
            (dx, _), _ = layer.backward([np.cos(np.arange(y.size)).reshape(y.shape)])
        found.append((y, dx))
    CPU.check_fences()
    for got, want in zip(found[1], found[0], strict=True):
        largest = np.abs(want).max(initial=1)
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE * largest)


def test_a_region_far_larger_than_the_image_takes_no_longer() -> None:
    text = """type: "ROIAlign"
        roi_align_param { pooled_h: 2 pooled_w: 3 sampling_ratio: 0 }"""
    for backend in (PORTABLE, CPU):
        layer = LoneLayer(
            text, [(1, 2, 9, 8), (2, 5)], backend=backend, dtype="float32"
        )
        rois = [[0, -6e8, -6e8, 6e8, 6e8], [0, -4e6, 1, 5e8, 5]]
        (y,) = layer.forward([np.ones((1, 2, 9, 8)), rois])
        assert 0 <= y.max() < 1e-5


@EXAMPLES
@given(
    number=st.integers(0, 200),
    most=st.integers(1, 60),
    threshold=st.sampled_from([0, 0.3, 0.7, 1]),
    seed=st.integers(0, 99),
)
def test_the_same_boxes_are_kept(
    number: int, most: int, threshold: float, seed: int
) -> None:
    text = f"""type: "Proposal" proposal_param {{ ratio: 1 scale: 1
        post_nms_topn: {most} nms_thresh: {threshold} }}"""
    shapes = [(1, 2, 3, 4), (1, 4, 3, 4), (1, 3)]
    kernel: Any = LoneLayer(text, shapes, backend=CPU, dtype="float32").kernel
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (number, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 40, (number, 2))], 1)
    boxes = boxes.astype(np.float32)
    wanted = _boxes.kept(boxes, threshold, most)
    assert kernel.keep(boxes) == wanted
    assert wanted == _boxes.kept(boxes, threshold, 999)[:most]
