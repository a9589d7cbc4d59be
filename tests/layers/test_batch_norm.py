"""BN and the BatchNorm of forks against nested loops."""

import numpy as np
import pytest

from netspec.schema import TEST, TRAIN
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import read, refuses

PLACES = ["", 'bottom: "x" top: "x"']
SHAPES = [(4, 3, 2, 5), (5, 3), (2, 3, 4)]


def measured(values):
    """Return mean and variance of a channel."""
    m = values.size
    mean = sum(values.flat) / m
    return mean, sum((v - mean) ** 2 for v in values.flat) / m


def nvcaffe(op, x, means, variances, weight, *learned):
    """Return y and the parameters after forward, of a BatchNorm with a factor."""
    y, after = x.copy(), [each.copy() for each in (means, variances, weight, *learned)]
    gamma = learned[0] if op.scaled else np.ones(op.channels)
    beta = learned[-1] if op.biased else np.zeros(op.channels)
    f = op.moving_average_fraction
    for c in range(op.channels):
        values = y[:, c]
        m = values.size
        if op.use_global_stats:
            mean, variance = means[c] / weight[0], variances[c] / weight[0]
        else:
            mean, variance = measured(values)
            if op.updates:
                after[0][c] = f * means[c] + mean
                after[1][c] = f * variances[c] + variance * m / (m - 1)
        values[...] = (values - mean) / np.sqrt(variance + op.eps) * gamma[c] + beta[c]
    if op.updates and not op.use_global_stats:
        after[2][0] = f * weight[0] + 1
    return y, after


FORMS = {
    "NVCaffe": "scale_bias: true",
    "NVCaffe by a filler": "bias_filler { value: 2 }",
    "Intel": "use_weight_bias: true",
    "Intel without bias": "use_weight_bias: true bias_term: false",
    "DeepLab": "update_global_stats: false",
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("form", FORMS)
def test_batch_norm_with_options_of_forks(backend, where, shape, phase, form):
    rng = np.random.default_rng(5)
    rest = [rng.normal(size=3) for _ in range(2)][: 2 - ("without" in form)]
    params = [rng.normal(size=3), rng.random(3) + 0.5, [2.5]]
    params += [] if form == "DeepLab" else rest
    check_layer(
        f'type: "BatchNorm" {where} batch_norm_param {{ {FORMS[form]} '
        f"moving_average_fraction: 0.7 eps: 0.03 }}",
        [shape],
        nvcaffe,
        backend=backend,
        params=params,
        phase=phase,
        updates_params=True,
        float32_rtol=1e-4,
    )


def bn(op, x, slope, bias, *stored):
    """Return y, its statistics where tops ask for them, and the parameters after."""
    y, after = x.copy(), [each.copy() for each in (slope, bias, *stored)]
    found = np.zeros((2, op.channels))
    for c in range(op.channels):
        values = y[:, c]
        if op.uses == "none":
            mean, root = 0, 1
        else:
            mean, variance = measured(values)
            if op.uses == "stored":
                mean, variance = (each[0, c, 0, 0] for each in stored)
            elif stored:
                for blob, new in zip(after[2:], (mean, variance), strict=True):
                    old = blob[0, c, 0, 0]
                    blob[0, c, 0, 0] = op.momentum * old + (1 - op.momentum) * new
            found[:, c] = mean, variance
            root = np.sqrt(variance + op.eps)
        values[...] = (values - mean) / root * slope[0, c, 0, 0] + bias[0, c, 0, 0]
    tops = (y, *found.reshape(2, 1, -1, 1, 1))[: len(op.tops)]
    return tops, after


BN = {
    "PSPNet": ("momentum: 0.8 eps: 0.02", 4),
    "PSPNet, frozen": ("frozen: true eps: 0.02", 4),
    "SegNet": ("bn_mode: LEARN", 2),
    "SegNet, folded": ("bn_mode: INFERENCE scale_filler { value: 2 }", 2),
    "ducha-aiki": ("var_eps: 0.03 decay: 0.7", 4),
    "ducha-aiki, of the batch": ("moving_average: false var_eps: 0.03", 4),
    "nothing": ("", 4),
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("form", BN)
def test_bn_of_each_fork(backend, where, shape, phase, form):
    rng = np.random.default_rng(6)
    options, count = BN[form]
    params = [rng.normal(size=(1, 3, 1, 1)) for _ in range(count)]
    if count == 4:
        params[3] = np.abs(params[3]) + 0.5
    check_layer(
        f'type: "BN" {where} bn_param {{ {options} }}',
        [shape],
        bn,
        backend=backend,
        params=params,
        phase=phase,
        updates_params=True,
        float32_rtol=1e-4,
    )


def test_segnet_tells_mean_and_variance_of_the_batch(backend):
    text = 'type: "BN" top: "y" top: "mean" top: "variance" bn_param { bn_mode: LEARN }'
    layer = LoneLayer(text, [(4, 3, 2, 5)], backend=backend)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 3, 2, 5)) + 2
    params = [rng.normal(size=(1, 3, 1, 1)) for _ in range(2)]
    y, mean, variance = layer.forward([x], params)
    assert mean.shape == variance.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(mean[0, :, 0, 0], x.mean((0, 2, 3)))
    np.testing.assert_allclose(variance[0, :, 0, 0], x.var((0, 2, 3)))
    np.testing.assert_allclose(
        y, (x - mean) / np.sqrt(variance + 1e-9) * params[0] + params[1]
    )


def of_bn(options, shape=(2, 3, 4, 5), more=""):
    return read(f'type: "BN" {more} bn_param {{ {options} }}', shape)


@pytest.mark.parametrize(
    ("options", "more", "form", "params"),
    [
        ("", "", "pspnet", 4),
        ("frozen: true", "", "pspnet", 4),
        ("slope_filler { value: 1 } bias_filler { value: 0 }", "", "pspnet", 4),
        ("engine: CAFFE", "", "pspnet", 4),
        ("bn_mode: INFERENCE", "", "segnet", 2),
        ("scale_filler { value: 1 } shift_filler { value: 0.1 }", "", "segnet", 2),
        ("scale_filler { value: 1 } decay: 0.05", "", "ducha-aiki", 4),
        ("", "blobs { data: 1 } blobs { data: 1 }", "segnet", 2),
        ("shift_filler { }", "blobs {} blobs {} blobs {} blobs {}", "ducha-aiki", 4),
        ("", "blobs {} blobs {} blobs {} blobs {}", "pspnet", 4),
    ],
)
def test_fields_and_arrays_tell_whose_bn_it_is(options, more, form, params):
    op = of_bn(options, more=more)
    assert (op.form, len(op.params)) == (form, params)
    assert {param.shape for param in op.params} == {(1, 3, 1, 1)}
    assert op.learned_params == (0, 1)


def test_defaults_of_the_forks():
    assert (of_bn("").momentum, of_bn("").eps) == (
        pytest.approx(0.9),
        pytest.approx(1e-5),
    )
    assert [param.filler.value for param in of_bn("").params] == [1, 0, 0, 0]
    assert [param.filler.value for param in of_bn("frozen: true").params] == [
        1,
        0,
        0,
        1,
    ]
    assert of_bn("bn_mode: LEARN").eps == 1e-9
    ducha = of_bn("var_eps: 1e-10")
    assert (ducha.momentum, ducha.eps) == (pytest.approx(0.95), pytest.approx(1e-10))
    # The part that stays is the larger one, whichever of the two a fork counts.
    assert of_bn("decay: 0.05").momentum == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "frozen: true bn_mode: LEARN",
            "by BN: frozen of pspnet; bn_mode of segnet. Keep those of one",
        ),
        (
            "momentum: 0.5 scale_filler { }",
            "momentum of pspnet; scale_filler of segnet",
        ),
        ("momentum: 1.5", "momentum is 1.5; expected the part"),
        ("decay: -0.5", "decay is -0.5; expected a part, from 0 to 1"),
    ],
)
def test_bn_that_contradicts_itself_is_refused(options, message):
    refuses(f'type: "BN" bn_param {{ {options} }}', (2, 3, 4, 5), match=message)


def test_bn_refuses_other_inputs_and_tops():
    refuses('type: "BN" bn_param {}', (7,), match=r"shape \(7,\); expected \(N, C")
    text = 'type: "BN" top: "y" top: "mean" bn_param { momentum: 0.5 }'
    refuses(text, (2, 3), match="only SegNet's BN in mode LEARN has more")


@pytest.mark.parametrize(
    ("options", "arrays"),
    [
        ("", 3),
        ("scale_bias: true", 5),
        ("scale_filler { value: 2 }", 5),
        ("use_weight_bias: true", 5),
        ("filler { value: 2 }", 5),
        ("bias_term: true", 5),
        ("bias_term: false", 4),
        ("use_weight_bias: false", 3),
        ("scale_bias: false", 3),
    ],
)
def test_arrays_of_batch_norm_in_forks(options, arrays):
    op = read(f'type: "BatchNorm" batch_norm_param {{ {options} }}', (2, 3, 4, 5))
    assert len(op.params) == arrays
    values = [param.filler.value for param in op.params[3:]]
    assert values == [2 if "value: 2" in options else 1, 0][: arrays - 3]
    assert op.learned_params == tuple(range(3, arrays))


def test_nvcaffe_takes_no_smaller_eps():
    text = 'type: "BatchNorm" batch_norm_param { eps: 1e-9 %s }'
    assert read(text % "scale_bias: true", (2, 3)).eps == 1e-5
    assert read(text % "", (2, 3)).eps == pytest.approx(1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("use_weight_bias: false scale_bias: true", "but scale_bias is given; remove"),
        ("use_weight_bias: false filler { }", "but filler is given; remove one"),
        (
            "bias_term: false bias_filler { }",
            "bias_term is false, but bias_filler asks",
        ),
        ("bias_term: false scale_bias: true", "but scale_bias asks for a bias"),
    ],
)
def test_batch_norm_that_contradicts_itself_is_refused(options, message):
    text = f'type: "BatchNorm" batch_norm_param {{ {options} }}'
    refuses(text, (2, 3, 4, 5), match=message)
