"""Dropout: the mask, its repetition, and the phase."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.schema import TEST, TRAIN
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer

TEXT = 'name: "drop6" type: "Dropout" dropout_param { dropout_ratio: 0.3 }'
SHAPE = (50, 40, 30)


def ones(layer: LoneLayer) -> np.ndarray:
    return layer.forward([np.ones(SHAPE)])[0]


@pytest.mark.parametrize("place", ["", ' bottom: "a" top: "a"'])
def test_in_the_test_phase_it_is_the_identity(backend: Backend, place: str) -> None:
    check_layer(TEXT + place, [(2, 3, 5)], lambda op, x: x, backend=backend, phase=TEST)


@pytest.mark.parametrize("place", ["", ' bottom: "a" top: "a"'])
def test_a_ratio_of_zero_drops_nothing(backend: Backend, place: str) -> None:
    text = f'type: "Dropout" dropout_param {{ dropout_ratio: 0 }}{place}'
    check_layer(text, [(2, 3, 5)], lambda op, x: x, backend=backend)


def test_the_phase_of_the_layer_beats_that_of_the_net(backend: Backend) -> None:
    layer = LoneLayer(TEXT + " phase: TEST", [SHAPE], backend=backend, phase=TRAIN)
    np.testing.assert_array_equal(ones(layer), np.ones(SHAPE))


@pytest.mark.parametrize("place", ["", ' bottom: "a" top: "a"'])
def test_it_keeps_the_right_share_and_scales_it(backend: Backend, place: str) -> None:
    layer = LoneLayer(TEXT + place, [SHAPE], backend=backend)
    y = ones(layer)
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-6)
    deviation = np.sqrt(0.3 * 0.7 / y.size)
    assert abs(kept.mean() - 0.7) < 4 * deviation
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        shares = kept.mean(axis=others)
        limit = 5 * np.sqrt(0.3 * 0.7 * shares.size / y.size)
        assert np.abs(shares - 0.7).max() < limit


@pytest.mark.parametrize("place", ["", ' bottom: "a" top: "a"'])
def test_forks_scale_in_the_test_phase(backend: Backend, place: str) -> None:
    text = f'type: "Dropout" {place} dropout_param {{ dropout_ratio: 0.3 %s }}'
    plain = text % "scale_train: false"
    scaled = lambda op, x: x * (1 - op.dropout_ratio)  # noqa: E731
    check_layer(plain, [(2, 3, 5)], scaled, backend=backend, phase=TEST)
    layer = LoneLayer(plain, [SHAPE], backend=backend)
    y = ones(layer)
    assert set(np.unique(y)) == {0, 1}
    assert abs(y.mean() - 0.7) < 0.01
    (dx,), _ = layer.backward([np.full(SHAPE, 3.0)])
    np.testing.assert_array_equal(dx, 3 * y)


def test_segnet_draws_in_the_test_phase_too(backend: Backend) -> None:
    text = TEXT.replace("}", "sample_weights_test: true }")
    y = ones(LoneLayer(text, [SHAPE], backend=backend, phase=TEST))
    np.testing.assert_array_equal(y, ones(LoneLayer(TEXT, [SHAPE], backend=backend)))


def test_the_gradient_passes_the_same_mask(backend: Backend) -> None:
    layer = LoneLayer(TEXT, [SHAPE], backend=backend)
    y = ones(layer)
    layer.clock.value += 1  # the net counts on after its forward pass
    dy = np.random.default_rng(3).normal(size=SHAPE)
    (dx,), _ = layer.backward([dy])
    assert dx is not None
    np.testing.assert_allclose(dx, dy * y, rtol=1e-12)


def test_the_mask_repeats_for_the_same_seed_and_pass_only(backend: Backend) -> None:
    layer = LoneLayer(TEXT, [SHAPE], backend=backend, seed=11)
    first = ones(layer)
    np.testing.assert_array_equal(ones(layer), first)
    layer.clock.value = 1
    second = ones(layer)
    again = LoneLayer(TEXT, [SHAPE], backend=backend, seed=11, dtype="float32")
    again.clock.value = 1
    np.testing.assert_array_equal(ones(again) != 0, second != 0)
    other_seed = LoneLayer(TEXT, [SHAPE], backend=backend, seed=12)
    other_name = LoneLayer(TEXT.replace("6", "7"), [SHAPE], backend=backend, seed=11)
    for other in (second, ones(other_seed), ones(other_name)):
        agreement = ((other != 0) == (first != 0)).mean()
        assert abs(agreement - (0.7**2 + 0.3**2)) < 0.01
