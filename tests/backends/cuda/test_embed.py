import numpy as np
import pytest

from runtime.backends.cuda.layers.embed import Embed
from tests.backends.cuda.oracle import check_own

TEXT = 'type: "Embed" embed_param {{ num_output: {0} input_dim: 7 bias_term: {1} }}'


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("bias", ["true", "false"])
@pytest.mark.parametrize("columns", [3, 300])
def test_rows_and_their_gradients(cuda, columns, bias, precision):
    numbers = np.random.default_rng(1).integers(7, size=(5, 4))  # many more than once
    text = TEXT.format(columns, bias)
    check_own(cuda, text, [numbers], precision=precision, own=Embed)


def test_numbers_that_are_no_rows(cuda):
    numbers = np.array([-3, 0.9, 6.9, 8, 1e9, -1e9])
    check_own(cuda, TEXT.format(2, "false"), [numbers], own=Embed)


def test_a_number_nan_has_no_row(cuda):
    layer = check_own(cuda, TEXT.format(2, "false"), [np.array([1.0, 2.0])], own=Embed)
    (y,) = layer.forward([[np.nan, 2]], [np.ones((7, 2))])
    np.testing.assert_array_equal(y, [[np.nan] * 2, [1] * 2])
