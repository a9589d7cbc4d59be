"""BatchNorm and Scale by themselves, against the portable kernels."""

import numpy as np
import pytest

from netspec.schema import TEST
from runtime.backends.cuda.layers import normalization
from runtime.backends.cuda.layers.normalization import BatchNorm, Scale
from tests.backends.cuda.oracle import check_own

SHAPES = [  # fewer and more channels than a block takes, with packs and without
    ((2, 3, 4, 5), "last"),
    ((3, 8, 7), None),
    ((40, 17), None),
    ((6, 264, 5), "last"),
    ((9, 16, 11, 13), "last"),
]
PRECISIONS = ["float32", "bf16", "fp16"]
CASES = [  # both sorts of halves have the same tiles
    *((*one, precision) for one in SHAPES for precision in PRECISIONS[:2]),
    *((*one, "fp16") for one in SHAPES[::4]),
]


@pytest.fixture(autouse=True, params=[True, False], ids=["whole", "in parts"])
def whole(request, monkeypatch):
    """Whether a block has all rows of its columns."""
    rows = normalization.WHOLE_ROWS if request.param else -1
    monkeypatch.setattr(normalization, "WHOLE_ROWS", rows)
    return request.param


def norm(options: str = "", place: str = "", eps: float = 0.01) -> str:
    return (
        f'type: "BatchNorm" {place} batch_norm_param {{ eps: {eps} '
        f"moving_average_fraction: 0.7 {options} }}"
    )


IN_PLACE = 'bottom: "x" top: "x"'


def sums(channels, rng):
    """Return remembered sums as training leaves them."""
    return [rng.normal(size=channels), rng.uniform(1, 3, channels), np.array([1.7])]


@pytest.mark.parametrize("shape, order, precision", CASES)
def test_by_its_own_statistics(cuda, shape, precision, order, rng):
    params = sums(shape[1], rng)
    options = dict(params=params, precision=precision, own=BatchNorm, order=order)
    check_own(cuda, norm(), [shape], **options)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_in_place(cuda, precision, rng):
    shape = (5, 24, 6, 7)
    options = dict(params=sums(24, rng), precision=precision, own=BatchNorm)
    check_own(cuda, norm(place=IN_PLACE), [shape], **options)
    text = norm("use_global_stats: true", IN_PLACE)
    check_own(cuda, text, [shape], **options)


@pytest.mark.parametrize("shape, order, precision", CASES)
def test_by_remembered_statistics(cuda, shape, precision, order, rng):
    options = dict(precision=precision, own=BatchNorm, order=order)
    for params in (sums(shape[1], rng), [*sums(shape[1], rng)[:2], np.zeros(1)]):
        check_own(cuda, norm(), [shape], phase=TEST, params=params, **options)


def test_one_value_and_one_axis(cuda, rng):
    check_own(cuda, norm(), [(1, 1)], params=sums(1, rng), own=BatchNorm)
    check_own(cuda, norm(), [(7,)], params=sums(1, rng), own=BatchNorm)
    check_own(cuda, norm(), [(3000,)], params=sums(1, rng), own=BatchNorm)


def test_many_rows_far_from_0(cuda, rng):
    """The mean is a thousand deviations: E[x^2] - E[x]^2 would be wrong by 10 %."""
    x = rng.normal(1000, 1, size=(4, 6, 50, 40)).astype(np.float32)
    params = sums(6, rng)
    check_own(cuda, norm(eps=1e-5), [x], params=params, own=BatchNorm)


def test_one_outlier_where_threads_start(cuda, rng):
    x = rng.normal(size=(4, 8, 30, 40))
    x[0, :, 0, 0] = 1e4
    check_own(cuda, norm(), [x], params=sums(8, rng), own=BatchNorm)


def test_what_is_not_finite_stays_in_its_channel(cuda, rng):
    x = rng.normal(size=(3, 8, 5, 4))
    x[1, 2, 3, 1], x[2, 5, 0, 0] = np.nan, np.inf
    layer = check_own(cuda, norm(), [(3, 8, 5, 4)], params=sums(8, rng))
    (y,) = layer.forward([x], sums(8, rng))
    assert np.isnan(y[:, [2, 5]]).all()
    rest = [0, 1, 3, 4, 6, 7]
    assert np.isfinite(y[:, rest]).all()


def scale(options: str = "", place: str = "") -> str:
    return f'type: "Scale" {place} scale_param {{ {options} }}'


@pytest.mark.parametrize("shape, order, precision", CASES)
@pytest.mark.parametrize("place", ["", IN_PLACE], ids=["apart", "in place"])
def test_scale_by_channel(cuda, shape, precision, order, place):
    for bias in ("", "bias_term: true"):
        options = dict(precision=precision, own=Scale, order=order)
        check_own(cuda, scale(bias, place), [shape], **options)


@pytest.mark.parametrize("place", ["", IN_PLACE], ids=["apart", "in place"])
@pytest.mark.parametrize("x", [True, False])
@pytest.mark.parametrize("params", [(True, False), (False, True), (False, False)])
def test_some_gradients_of_scale(cuda, place, x, params):
    text = scale("bias_term: true", place)
    wanted = dict(wanted_bottoms=(x,), wanted_params=params)
    check_own(cuda, text, [(3, 8, 5)], own=Scale, **wanted)


@pytest.fixture
def rng():
    return np.random.default_rng(3)
