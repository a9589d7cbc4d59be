"""Data to test with that are prepared in another way than those to train with."""

import warnings

import numpy as np
import pytest

import runtime
from netspec.errors import SpecWarning
from tests.runtime.fitting.common import arrays, assert_same_run, spec

X, Y = arrays()


def scaled(item, rng):
    return item[0] / 255


def run(data, **how):
    return runtime.fit(spec(), data, epochs=1, progress=False, **how)


def test_a_function_that_scales_in_training_alone_is_told():
    with pytest.warns(SpecWarning, match="validation_transform='same'") as caught:
        run((255 * X, Y), validation=0.2, transform=scaled)
    (said,) = [each for each in caught if "other values in" in str(each.message)]
    assert said.filename == __file__
    with pytest.warns(SpecWarning, match="; prepare both alike"):
        run((X, Y), validation=(X + 100, Y))


def test_the_same_transform_for_validation():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        how = {"validation": 0.2, "transform": scaled}
        given = run((255 * X, Y), validation_transform=scaled, **how)
        same = run((255 * X, Y), validation_transform="same", **how)
        assert_same_run(same, given)
        fed = runtime.predict(same, 255 * X)
        np.testing.assert_allclose(fed, runtime.predict(same, X, transform=None), 1e-4)


@pytest.mark.parametrize(
    "validation", [0.2, (X * 3 + 1, Y), (X[:1] * 0, Y[:1]), lambda: iter([(X, Y)])]
)
def test_data_that_are_nearly_alike_pass_without_a_word(validation):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run((X, Y), validation=validation)
