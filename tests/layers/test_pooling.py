"""Pooling against nested loops."""

from itertools import product

import numpy as np
import pytest

from runtime.counter_random import hash_bits, stream_keys
from tests.layers.harness import LoneLayer, allocated_bytes, check_layer


def windows(op_or_level, image, places):
    """Yield each place with its window: clipped to the image, and its padded size."""
    kernel, pad = op_or_level.kernel, op_or_level.pad
    stride = getattr(op_or_level, "stride", kernel)
    for place in product(*map(range, places)):
        spans, size = [], 1
        for p, n, k, s, q in zip(place, image, kernel, stride, pad, strict=True):
            start = p * s - q
            stop = min(start + k, n + q)
            size *= stop - start
            spans.append(range(max(start, 0), min(stop, n)))
        yield place, list(product(*spans)), size


def pool(how, geometry, x, places):
    y = np.zeros((*x.shape[:2], *places))
    mask = np.zeros(y.shape)
    for n, c in np.ndindex(x.shape[:2]):
        for place, window, size in windows(geometry, x.shape[2:], places):
            values = [x[(n, c, *pixel)] for pixel in window]
            if how == "AVE":
                y[(n, c, *place)] = sum(values) / size
                continue
            best = int(np.argmax(values))
            y[(n, c, *place)] = values[best]
            mask[(n, c, *place)] = window[best][0] * x.shape[3] + window[best][1]
    return y, mask


def pooling(op, x):
    y, mask = pool(op.pool, op, x, op.tops[0][2:])
    return (y, mask) if len(op.tops) > 1 else y


CASES = {
    "overlapping": "kernel_size: 3 stride: 2",
    "overlapping and padded": "kernel_size: 3 stride: 2 pad: 1",
    "every place": "kernel_size: 3 stride: 1 pad: 1",
    "different along h and w": (
        "kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 pad_h: 1 pad_w: 2"
    ),
    "apart": "kernel_size: 2 stride: 3",
    "rounded down": "kernel_size: 2 stride: 3 round_mode: FLOOR",
    "rounded down, in forks' word": "kernel_size: 3 stride: 2 pad: 1 ceil_mode: false",
    "global": "global_pooling: true",
}


@pytest.mark.parametrize("how", ["MAX", "AVE"])
@pytest.mark.parametrize("case", CASES)
def test_pooling_reduces_every_window(backend, how, case):
    text = f'type: "Pooling" pooling_param {{ pool: {how} {CASES[case]} }}'
    for shape in [(2, 3, 7, 8), (3, 2, 10, 5)]:
        check_layer(text, [shape], pooling, backend=backend)


def test_last_window_that_would_start_in_the_far_padding_is_dropped(backend):
    text = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 3 pad: 1 }'
    layer = LoneLayer(text, [(2, 1, 5, 8)], backend=backend)
    assert layer.op.tops[0][2:] == (2, 3)  # without the rule (3, 4)
    check_layer(text, [(2, 1, 5, 8)], pooling, backend=backend)


@pytest.mark.parametrize(
    ("how", "empty"), [("MAX", np.finfo(np.float64).min), ("AVE", 0)]
)
def test_window_beyond_an_image_without_padding_is_empty(backend, how, empty):
    text = f'type: "Pooling" pooling_param {{ pool: {how} kernel_size: 2 stride: 4 }}'
    layer = LoneLayer(text, [(1, 2, 8, 3)], backend=backend)
    (y,) = layer.forward([np.ones((1, 2, 8, 3))])
    np.testing.assert_array_equal(y[0, 1, :, 0], [1, 1, empty])
    (dx,), _ = layer.backward([np.ones(y.shape)])
    assert dx.sum() == 2 * 2  # two windows of each plane see something


@pytest.mark.parametrize("images", [1, 2, 3, 7])
@pytest.mark.parametrize("how", ["MAX", "AVE"])
def test_any_number_of_planes_at_a_time_gives_the_same(
    backend, monkeypatch, how, images
):
    monkeypatch.setattr(type(backend), "block_elements", images * 20)
    text = f'type: "Pooling" pooling_param {{ pool: {how} kernel_size: 3 stride: 2 }}'
    check_layer(text, [(7, 1, 4, 5)], pooling, backend=backend)


def test_mask_is_the_place_of_the_maximum(backend):
    text = (
        'type: "Pooling" top: "y" top: "mask" '
        "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"
    )
    dtop = np.random.default_rng(3).normal(size=(2, 3, 4, 5))

    def gradient(op, dtops, x):
        dx = np.zeros(x.shape)
        _, mask = pooling(op, x)
        for n, c, *place in np.ndindex(mask.shape):
            h, w = divmod(int(mask[(n, c, *place)]), x.shape[3])
            dx[n, c, h, w] += dtops[0][(n, c, *place)]
        return [dx], []

    assert dtop.shape == LoneLayer(text, [(2, 3, 6, 8)], backend=backend).op.tops[0]
    check_layer(text, [(2, 3, 6, 8)], pooling, backend=backend, gradient=gradient)


def test_first_of_equal_maxima_gets_the_gradient(backend):
    text = 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }'
    layer = LoneLayer(text, [(1, 2, 3, 5)], backend=backend)
    x = np.zeros((1, 2, 3, 5))
    x[0, 1, 1, 1:4] = 4  # one maximum is shared by both windows
    layer.forward([x])
    (dx,), _ = layer.backward([[[[[10, 20]], [[1, 2]]]]])
    wanted = np.zeros((1, 2, 3, 5))
    wanted[0, 0, 0, 0], wanted[0, 0, 0, 2] = 10, 20
    wanted[0, 1, 1, 1], wanted[0, 1, 1, 2] = 1, 2
    np.testing.assert_array_equal(dx, wanted)


def test_there_may_be_more_windows_than_pixels(backend):
    text = 'type: "Pooling" pooling_param { pool: %s kernel_size: 2 pad: 1 }'
    for how in ("MAX", "AVE"):
        check_layer(text % how, [(3, 2, 1, 4)], pooling, backend=backend)


def test_long_windows_have_room_for_their_codes(backend):
    text = 'type: "Pooling" pooling_param { kernel_h: 1 kernel_w: 300 }'
    layer = LoneLayer(text, [(1, 2, 3, 301)], backend=backend)
    x = np.zeros((1, 2, 3, 301))
    x[..., 0] = 2
    x[..., 256] = 1
    layer.forward([x])
    (dx,), _ = layer.backward([np.broadcast_to([5.0, 7.0], (1, 2, 3, 2))])
    wanted = np.zeros(x.shape)
    wanted[..., 0], wanted[..., 256] = 5, 7
    np.testing.assert_array_equal(dx, wanted)


def test_nan_in_a_window_shows_in_the_output(backend):
    text = 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }'
    layer = LoneLayer(text, [(1, 2, 4, 6)], backend=backend)
    x = np.arange(48.0).reshape(1, 2, 4, 6)
    x[0, 1, 3, 5] = np.nan
    (y,) = layer.forward([x])
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 1, 1, 2]]
    (dx,), _ = layer.backward([np.ones((1, 2, 2, 3))])
    assert np.isfinite(dx).all()


def test_window_without_a_maximum_has_no_place(backend):
    text = 'type: "Pooling" top: "y" top: "mask" pooling_param { kernel_size: 1 }'
    layer = LoneLayer(text, [(1, 2, 1, 3)], backend=backend)
    x = np.arange(6.0).reshape(1, 2, 1, 3)
    x[0, 1, 0, 1] = np.nan
    _, mask = layer.forward([x])
    assert mask.ravel().tolist() == [0, 1, 2, 0, -1, 2]


def test_windows_of_negative_infinity_keep_it_and_those_beyond_the_image_do_not(
    backend,
):
    text = 'type: "Pooling" pooling_param { kernel_size: 2 stride: %d pad: %d }'
    x = np.full((1, 2, 4, 3), -np.inf)
    layer = LoneLayer(text % (2, 1), [x.shape], backend=backend)
    (y,) = layer.forward([x])
    assert (y == -np.inf).all()
    (dx,), _ = layer.backward([np.ones_like(y)])
    # The first that a window sees wins, as where all values are equal.
    np.testing.assert_array_equal(dx[0, 1], [[1, 1, 0], [1, 1, 0], [0] * 3, [1, 1, 0]])
    layer = LoneLayer(text % (4, 0), [x.shape], backend=backend)
    (y,) = layer.forward([x])
    assert y.shape == (1, 2, 2, 2)
    lowest = np.finfo(y.dtype).min
    np.testing.assert_array_equal(y[0, 1], [[-np.inf, lowest], [lowest, lowest]])


STOCHASTIC = 'name: "p" type: "Pooling" pooling_param { pool: STOCHASTIC '
UNPADDED = [case for case in CASES if "pad" not in CASES[case]]


def uniform(size: int, seed: int, clock: int) -> np.ndarray:
    """The random numbers of a pass of the layer "p"."""
    bits = np.arange(size, dtype=np.uint32)
    hash_bits(np, bits, stream_keys(seed, "p", clock), np.empty_like(bits))
    return bits / 2**32


def drawn(op, x, seed=7, clock=0):
    """The value and the pixel that are drawn in every window, in Caffe's words."""
    y = np.zeros(op.tops[0])
    chance = uniform(y.size, seed, clock).reshape(y.shape)
    pixels = {}
    for n, c in np.ndindex(x.shape[:2]):
        for place, window, _ in windows(op, x.shape[2:], y.shape[2:]):
            values = [float(x[(n, c, *pixel)]) for pixel in window]
            bound, running = chance[(n, c, *place)] * sum(values), 0.0
            chosen = 0
            while (running := running + values[chosen]) < bound:
                chosen += 1
            y[(n, c, *place)] = values[chosen]
            pixels[(n, c, *place)] = (n, c, *window[chosen])
    return y, pixels


def expected(op, x):
    y = np.zeros(op.tops[0])
    for n, c in np.ndindex(x.shape[:2]):
        for place, window, _ in windows(op, x.shape[2:], y.shape[2:]):
            values = [x[(n, c, *pixel)] for pixel in window]
            if sum(values) > 0:
                y[(n, c, *place)] = sum(v * v for v in values) / sum(values)
    return y


@pytest.mark.parametrize("case", UNPADDED)
def test_stochastic_pooling_draws_while_training(backend, case):
    layer = LoneLayer(STOCHASTIC + CASES[case] + "}", [(2, 3, 7, 8)], backend=backend)
    rng = np.random.default_rng(2)
    x = np.maximum(rng.normal(size=(2, 3, 7, 8)), 0)
    dy = rng.normal(size=layer.op.tops[0])
    for clock in (0, 1, 5):
        layer.clock.value = clock
        (y,) = layer.forward([x])
        (dx,), _ = layer.backward([dy])
        wanted, pixels = drawn(layer.op, x, clock=clock)
        np.testing.assert_allclose(y, wanted, rtol=1e-12)
        gradient = np.zeros(x.shape)
        for place, pixel in pixels.items():
            gradient[pixel] += dy[place]
        np.testing.assert_allclose(dx, gradient, rtol=1e-12, atol=1e-14)
    assert np.unique(y).size > 3


def test_stochastic_pooling_draws_by_value(backend):
    layer = LoneLayer(
        STOCHASTIC + "kernel_size: 2 stride: 2 }", [(1, 1, 100, 80)], backend=backend
    )
    x = np.tile([[1.0, 2.0], [0.0, 5.0]], (50, 40))[None, None]
    (y,) = layer.forward([x])
    assert y.size == 2000
    shares = [(y == value).mean() for value in (0, 1, 2, 5)]
    np.testing.assert_allclose(shares, [0, 1 / 8, 2 / 8, 5 / 8], atol=0.03)


@pytest.mark.parametrize("case", UNPADDED)
def test_stochastic_pooling_expects_in_a_test(backend, case):
    text = STOCHASTIC + CASES[case] + "} phase: TEST"
    x = np.random.default_rng(4).uniform(0.1, 2, size=(2, 3, 7, 8))
    check_layer(text, [x], expected, backend=backend)


def test_windows_of_nothing_above_zero(backend):
    x = np.array([[0.0, 0, -1, -2, -5, 1], [0, 0, -3, -4, 0, 0]])[None, None]
    text = STOCHASTIC + "kernel_size: 2 stride: 2 }"
    layer = LoneLayer(text + " phase: TEST", [x.shape], backend=backend)
    (y,) = layer.forward([x])
    (dx,), _ = layer.backward([np.ones(y.shape)])
    assert not y.any()
    assert not dx.any()
    layer = LoneLayer(text, [x.shape], backend=backend)
    for layer.clock.value in range(4):
        (y,) = layer.forward([x])
        (dx,), _ = layer.backward([np.ones(y.shape)])
        assert y[0, 0, 0, :2].tolist() == [0, -1]  # the first of the window
        assert y[0, 0, 0, 2] in (-5, 0)  # some element, the last where none is reached
        assert dx.sum() == 3


def test_stochastic_pooling_keeps_what_is_no_number(backend):
    x = np.ones((1, 1, 2, 4))
    x[0, 0, 1, 0] = np.nan
    for phase in ("TRAIN", "TEST"):
        text = STOCHASTIC + f"kernel_size: 2 stride: 2 }} phase: {phase}"
        (y,) = LoneLayer(text, [x.shape], backend=backend).forward([x])
        assert np.isnan(y[0, 0, 0, 0])
        assert y[0, 0, 0, 1] == 1


@pytest.mark.parametrize("images", [1, 2, 7])
def test_any_number_of_planes_at_a_time_draws_the_same(backend, monkeypatch, images):
    text = STOCHASTIC + "kernel_size: 3 stride: 2 }"
    x = np.random.default_rng(0).random((7, 1, 4, 5))
    (whole,) = LoneLayer(text, [x.shape], backend=backend).forward([x])
    monkeypatch.setattr(type(backend), "block_elements", images * 20)
    (y,) = LoneLayer(text, [x.shape], backend=backend).forward([x])
    np.testing.assert_array_equal(y, whole)


@pytest.mark.parametrize("how", ["MAX pad: 1", "AVE pad: 1", "STOCHASTIC"])
def test_steps_allocate_nothing(backend, how):
    text = f'type: "Pooling" pooling_param {{ pool: {how} kernel_size: 3 }}'
    assert allocated_bytes(text, [(4, 16, 40, 30)], backend=backend) < 4096
