import pytest

from runtime.backends.cuda.layers.inner_product import InnerProduct
from tests.backends.cuda.oracle import check_own


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("options", ["", "transpose: true", "bias_term: false"])
@pytest.mark.parametrize(
    "shape, more", [((3, 40), ""), ((2, 8, 3, 4), ""), ((4, 3, 16), "axis: 2")]
)
def test_inner_product(cuda, shape, more, options, precision):
    text = f"""
        type: "InnerProduct" inner_product_param {{ num_output: 24 {more} {options} }}
    """
    check_own(cuda, text, [shape], precision=precision, own=InnerProduct)
