"""LRN against nested loops."""

import numpy as np
import pytest

from tests.layers.harness import allocated_bytes, check_layer


def lrn(op, x):
    half = op.local_size // 2
    y = np.zeros(x.shape)
    for n, c, h, w in np.ndindex(x.shape):
        total = 0.0
        if op.norm_region == "ACROSS_CHANNELS":
            for other in range(max(0, c - half), min(x.shape[1], c + half + 1)):
                total += x[n, other, h, w] ** 2
            scale = op.k + op.alpha / op.local_size * total
        else:
            for i in range(max(0, h - half), min(x.shape[2], h + half + 1)):
                for j in range(max(0, w - half), min(x.shape[3], w + half + 1)):
                    total += x[n, c, i, j] ** 2
            scale = 1 + op.alpha / op.local_size**2 * total
        y[n, c, h, w] = x[n, c, h, w] / scale**op.beta
    return y


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("beta", [0.75, 0.5, 0.25, 0.6, 1.25])
def test_lrn_divides_by_the_energy_of_the_window(backend, region, size, beta):
    text = (
        f'type: "LRN" lrn_param {{ norm_region: {region} local_size: {size} '
        f"alpha: 1.5 beta: {beta} k: 2.25 }}"
    )
    check_layer(text, [(2, 7, 3, 4)], lrn, backend=backend)


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_window_may_be_larger_than_the_axis(backend, region):
    text = (
        f'type: "LRN" lrn_param {{ norm_region: {region} local_size: 9 '
        "alpha: 1.5 beta: 0.6 k: 2.25 }"
    )
    check_layer(text, [(4, 3, 1, 2)], lrn, backend=backend)


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
@pytest.mark.parametrize("images", [1, 2, 3])
def test_any_number_of_images_at_a_time_gives_the_same(
    backend, monkeypatch, region, images
):
    monkeypatch.setattr(type(backend), "block_elements", images * 4 * 3 * 2)
    text = f'type: "LRN" lrn_param {{ norm_region: {region} local_size: 3 alpha: 2 }}'
    check_layer(text, [(5, 4, 3, 2)], lrn, backend=backend)


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_steps_allocate_nothing(backend, region):
    text = f'type: "LRN" lrn_param {{ norm_region: {region} local_size: 3 beta: 0.6 }}'
    assert allocated_bytes(text, [(4, 16, 40, 30)], backend=backend) < 4096
