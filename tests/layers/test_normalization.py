"""BatchNorm and MVN against nested loops."""

import numpy as np
import pytest

from netspec.schema import TEST, TRAIN
from tests.layers.harness import LoneLayer, allocated_bytes, check_layer

OPTIONS = "moving_average_fraction: 0.7 eps: 0.03"


def by_channel(op, x):
    """Return views of x, one a channel."""
    if x.ndim == 1:
        return [x]
    return [x[:, c] for c in range(op.channels)]


def normalize(op, x, means, variances, weight):
    """Return y and the parameters after forward."""
    y = x.copy()
    means, variances, weight = means.copy(), variances.copy(), weight.copy()
    remembered = op.use_global_stats
    factor = 0 if weight[0] == 0 else 1 / weight[0]
    fraction = op.moving_average_fraction
    for c, values in enumerate(by_channel(op, y)):
        m = values.size
        if remembered:
            mean, variance = means[c] * factor, variances[c] * factor
        else:
            mean = sum(values.flat) / m
            variance = sum((v - mean) ** 2 for v in values.flat) / m
            unbiased = variance * m / (m - 1) if m > 1 else variance
            means[c] = fraction * means[c] + mean
            variances[c] = fraction * variances[c] + unbiased
        values[...] = (values - mean) / np.sqrt(variance + op.eps)
    if not remembered:
        weight[0] = fraction * weight[0] + 1
    return y, [means, variances, weight]


def mvn(op, x):
    y = x.reshape(op.tops[0]).copy()
    for n in range(len(y)):
        for part in [y[n]] if op.across_channels else y[n]:
            mean = sum(part.flat) / part.size
            variance = sum((v - mean) ** 2 for v in part.flat) / part.size
            part -= mean
            if op.normalize_variance:
                part /= np.sqrt(variance) + op.eps
    return y


PLACES = ["", 'bottom: "x" top: "x"']
SHAPES = [(4, 3, 2, 5), (4, 3), (7,), (2, 3, 4), (2, 3, 4, 1, 5)]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight", [2.5, 0.0])
def test_training_normalizes_by_the_batch_and_remembers(backend, where, shape, weight):
    channels = 1 if len(shape) == 1 else shape[1]
    rng = np.random.default_rng(5)
    params = [rng.normal(size=channels), rng.random(channels) + 0.5, [weight]]
    check_layer(
        f'type: "BatchNorm" {where} batch_norm_param {{ {OPTIONS} }}',
        [shape],
        normalize,
        backend=backend,
        params=params,
        phase=TRAIN,
        updates_params=True,
        float32_rtol=1e-4,  # variances of few values may be small
    )


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight", [2.5, 0.0])
def test_testing_normalizes_by_what_was_remembered(backend, where, shape, weight):
    channels = 1 if len(shape) == 1 else shape[1]
    rng = np.random.default_rng(5)
    params = [rng.normal(size=channels), rng.random(channels) + 0.5, [weight]]
    check_layer(
        f'type: "BatchNorm" {where} batch_norm_param {{ {OPTIONS} }}',
        [shape],
        normalize,
        backend=backend,
        params=params,
        phase=TEST,
        updates_params=True,
    )


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_option_beats_the_phase(backend, phase):
    chosen = "true" if phase == TRAIN else "false"
    check_layer(
        f'type: "BatchNorm" batch_norm_param {{ use_global_stats: {chosen} eps: 0.2 }}',
        [(5, 3, 4)],
        normalize,
        backend=backend,
        params=[[0.5, -1, 2], [1.5, 0.75, 3], [1.25]],
        phase=phase,
        updates_params=True,
    )


def test_one_value_has_no_unbiased_variance(backend):
    layer = LoneLayer(
        f'type: "BatchNorm" batch_norm_param {{ {OPTIONS} }}', [(1, 3)], backend=backend
    )
    params = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0]]
    (y,) = layer.forward([[[8.0, 9.0, 10.0]]], params)
    np.testing.assert_array_equal(y, np.zeros((1, 3)))
    np.testing.assert_allclose(layer.params()[1], [2.8, 3.5, 4.2])


@pytest.mark.parametrize("images", [1, 2, 3])
def test_any_number_of_images_at_a_time_gives_the_same(backend, monkeypatch, images):
    monkeypatch.setattr(type(backend), "block_elements", images * 3 * 4)
    for phase in (TRAIN, TEST):
        check_layer(
            f'type: "BatchNorm" batch_norm_param {{ {OPTIONS} }}',
            [(5, 3, 4)],
            normalize,
            backend=backend,
            params=[[0.5, -1, 2], [1.5, 0.75, 3], [1.25]],
            phase=phase,
            updates_params=True,
        )


@pytest.mark.parametrize("variance", ["true", "false"])
@pytest.mark.parametrize("across", ["true", "false"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 3, 5), (2, 3)])
def test_mvn_normalizes_planes_or_items(backend, variance, across, shape):
    text = (
        f'type: "MVN" mvn_param {{ normalize_variance: {variance} '
        f"across_channels: {across} eps: 1e-9 }}"
    )
    alone = len(shape) == 2 and across == "false"
    if alone and variance == "true":
        return  # planes of one value have no deviation
    check_layer(text, [shape], mvn, backend=backend, equal_sizes="padded with 1s")


def test_mvn_adds_eps_outside_the_root(backend):
    text = 'type: "MVN" mvn_param { eps: 0.5 }'
    check_layer(text, [(2, 3, 5, 4)], mvn, backend=backend, gradient=False)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_steps_allocate_nothing(backend, phase):
    for text in (
        f'type: "BatchNorm" batch_norm_param {{ {OPTIONS} }}',
        'type: "MVN" mvn_param { eps: 0.5 }',
    ):
        shapes = [(4, 16, 40, 30)]
        assert allocated_bytes(text, shapes, backend=backend, phase=phase) < 4096
