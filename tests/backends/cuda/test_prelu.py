import numpy as np
import pytest

from runtime.backends.cuda.layers.prelu import PReLU
from tests.backends.cuda.oracle import check_own

SHARED = 'type: "PReLU" prelu_param { channel_shared: true }'
OWN = 'type: "PReLU"'
SHAPES = [(3, 5), (2, 8, 3, 5), (1, 1), (0, 4), (2, 3, 700), (5, 300, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", [OWN, SHARED])
@pytest.mark.parametrize("order", [None, "last"])
def test_it_is_the_portable_one(cuda, text, shape, order):
    check_own(cuda, text, [shape], own=PReLU, order=order)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("text", [OWN, SHARED])
def test_blobs_of_16_bits(cuda, text, precision):
    for shape in [(2, 8, 3, 5), (3, 5, 2, 7)]:
        check_own(cuda, text, [shape], precision=precision, order="last")


@pytest.mark.parametrize("text", [OWN, SHARED])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_in_place_it_keeps_x(cuda, text, precision):
    text += ' bottom: "x" top: "x"'
    check_own(cuda, text, [(2, 12, 4, 5)], precision=precision, order="last")


@pytest.mark.parametrize("bottom", [True, False])
@pytest.mark.parametrize("slope", [True, False])
def test_gradients_that_are_not_wanted(cuda, bottom, slope):
    wanted = {"wanted_bottoms": [bottom], "wanted_params": [slope]}
    check_own(cuda, OWN, [(2, 8, 3, 5)], **wanted)


def test_at_zero_the_negative_side_counts_and_nan_stays(cuda):
    x = np.array([[0.0], [-0.0], [np.nan], [-3.0], [2.0]])
    check_own(cuda, OWN, [x], params=[np.array([0.3])])
