"""Fillers: bounds, moments, and errors that name the array."""

import numpy as np
import pytest
from google.protobuf import text_format

from netspec.errors import ShapeError, SpecError
from netspec.schema import FillerParameter
from runtime.fillers import fill

SHAPE = (60, 50, 3, 7)
FAN_IN, FAN_OUT = 50 * 21, 60 * 21


def filled(text, shape=SHAPE, seed=0):
    filler = text_format.Parse(text, FillerParameter())
    return fill(shape, filler, np.random.default_rng(seed), "layer 'c', parameter 0")


def test_constant():
    np.testing.assert_array_equal(filled("value: 3.5", (2, 3)), np.full((2, 3), 3.5))


def test_uniform_stays_within_its_bounds():
    values = filled('type: "uniform" min: -2 max: 6')
    assert -2 <= values.min() < -1.99
    assert 5.99 < values.max() < 6
    assert values.mean() == pytest.approx(2, abs=0.05)


def test_gaussian():
    values = filled('type: "gaussian" mean: 4 std: 3')
    assert values.mean() == pytest.approx(4, abs=0.05)
    assert values.std() == pytest.approx(3, rel=0.02)


def test_sparse_gaussian_keeps_about_so_many_weights_of_each_output():
    values = filled('type: "gaussian" mean: 4 std: 3 sparse: 15')
    assert (values != 0).mean() == pytest.approx(15 / 60, rel=0.05)
    assert values[values != 0].mean() == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("norm", "n"),
    [("FAN_IN", FAN_IN), ("FAN_OUT", FAN_OUT), ("AVERAGE", (FAN_IN + FAN_OUT) / 2)],
)
def test_xavier_and_msra_divide_by_the_fan(norm, n):
    xavier = filled(f'type: "xavier" variance_norm: {norm}')
    bound = (3 / n) ** 0.5
    assert 0.999 * bound < abs(xavier).max() <= bound
    msra = filled(f'type: "msra" variance_norm: {norm}')
    assert msra.std() == pytest.approx((2 / n) ** 0.5, rel=0.02)


def test_fan_of_a_vector_is_its_size():
    assert abs(filled('type: "xavier"', (12,))).max() <= 3**0.5
    assert abs(filled('type: "xavier" variance_norm: FAN_OUT', (12,))).max() <= 0.5


def test_rows_of_a_unit_ball_sum_to_one():
    values = filled('type: "positive_unitball"', (5, 3, 4))
    np.testing.assert_allclose(values.reshape(5, -1).sum(1), 1, rtol=1e-5)
    assert values.min() >= 0


def test_bilinear_kernel_of_even_and_odd_size():
    even = filled('type: "bilinear"', (2, 3, 4, 4))
    np.testing.assert_allclose(even[1, 2, 0], 0.25 * np.array([0.25, 0.75, 0.75, 0.25]))
    odd = filled('type: "bilinear"', (1, 1, 3, 3))
    np.testing.assert_allclose(odd[0, 0, 1], [0.5, 1, 0.5])


def test_same_generator_gives_the_same_values():
    text = 'type: "msra"'
    np.testing.assert_array_equal(filled(text, seed=3), filled(text, seed=3))
    assert (filled(text, seed=3) != filled(text, seed=4)).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "xaver"', r"layer 'c', parameter 0: unknown filler type 'xaver'; did "),
        ('type: "uniform" min: 2 max: 1', "min 2.0 above max 1.0"),
        ('type: "gaussian" std: -1', r"std -1.0; expected 0 or more"),
        ('type: "msra" sparse: 3', "sparse is for gaussian fillers, not 'msra'"),
    ],
)
def test_mistakes_name_the_array_and_the_value(text, message):
    with pytest.raises(SpecError, match=message):
        filled(text)


def test_bilinear_of_a_kernel_that_is_not_square_is_refused():
    with pytest.raises(ShapeError, match=r"square kernel, got shape \(60, 50, 3, 7\)"):
        filled('type: "bilinear"')


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
@pytest.mark.parametrize("kind", ["xavier", "msra", "positive_unitball", "gaussian"])
def test_arrays_without_values_are_filled_with_nothing(shape, kind):
    values = fill(shape, FillerParameter(type=kind), np.random.default_rng(0), "w")
    assert values.shape == shape
    assert values.dtype == np.float32


def test_bounds_may_be_equal_and_sparse_may_be_none():
    np.testing.assert_array_equal(
        filled('type: "uniform" min: 2.5 max: 2.5', (3, 4)), np.full((3, 4), 2.5)
    )
    assert not filled('type: "gaussian" mean: 4 std: 3 sparse: 0').any()


def test_bilinear_kernel_of_six():
    line = np.array([1, 3, 5, 5, 3, 1]) / 6
    kernel = filled('type: "bilinear"', (2, 1, 6, 6))[1, 0]
    np.testing.assert_allclose(kernel, np.outer(line, line), rtol=1e-6)


def test_msra_is_normal_and_xavier_uniform():
    # The fourth moment over the squared second: 3 for normal values, 9/5 for uniform.
    for kind, kurtosis in (("msra", 3), ("xavier", 1.8)):
        values = filled(f'type: "{kind}"').astype(float)
        assert (values**4).mean() / (values**2).mean() ** 2 == pytest.approx(
            kurtosis, rel=0.03
        )
        assert values.mean() == pytest.approx(0, abs=0.02 * values.std())
