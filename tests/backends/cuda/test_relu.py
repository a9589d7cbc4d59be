import pytest

from tests.backends.cuda.oracle import check_own

SHAPES = [(3, 5), (2, 3, 4, 5), (1, 1, 300)]


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0, 0.25])
def test_it_is_the_portable_one(cuda, shape, slope, precision):
    text = f'type: "ReLU" relu_param {{ negative_slope: {slope} }}'
    check_own(cuda, text, [shape], precision=precision)


def test_in_place(cuda):
    check_own(cuda, 'type: "ReLU" bottom: "x" top: "x"', [(2, 3, 4, 5)])
