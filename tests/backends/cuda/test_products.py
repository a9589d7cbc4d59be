"""What a product is, read off arrays, and computed on the host."""

from types import SimpleNamespace

import numpy as np
import pytest

from netspec.errors import ShapeError, SpecError, UnsupportedError
from runtime.backends.cuda.machine.products import (
    Product,
    operands,
    product_of,
    product_on_host,
)
from runtime.backends.cuda.storage import from_bits, to_bits
from tests.backends.cuda.products import Example, random_example


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def wide(**more):
    """A product of padded arrays, with other things where they are given."""
    sizes = dict(m=3, n=5, k=7, a_rows=True, b_rows=False, lda=9, ldb=8, ldc=6)
    return Product(**{**sizes, **more})


@pytest.mark.parametrize("seed", range(60))
def test_products_of_arrays_as_they_lie(seed):
    example = random_example(seed)
    product_on_host(example.product, **example.arrays)
    example.check()


# ------------------------------------------------------------ on a device

USUAL = {  # as layers ask for them: forward, gradients of data and of weights, batches
    "forward": dict(shape=(24, 40, 72), b_rows=False, epilogue="bias"),
    "rectified": dict(shape=(24, 40, 72), b_rows=False, epilogue="bias_relu"),
    "gradient of data": dict(shape=(24, 72, 40)),
    "gradient of weights": dict(shape=(40, 72, 24), a_rows=False, beta=1.0),
    "long sums": dict(shape=(8, 16, 4096), a_rows=False),
    "batch": dict(shape=(16, 24, 40), lead=(6,), b_lead=(), epilogue="relu"),
    "odd": dict(shape=(7, 13, 33), a_rows=False, b_rows=False, alignment=4),
}
STORED = {
    "float32": dict(),
    "tf32": dict(tf32=True),
    "bf16": dict(storage="bfloat16", out="bfloat16"),
    "fp16": dict(storage="float16", out="float16"),
    "bf16 to float32": dict(storage="bfloat16"),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("usual", USUAL)
def test_a_device_computes_what_layers_ask_for(cuda, usual, stored):
    example = Example(11, **{"alignment": 16, **USUAL[usual], **STORED[stored]})
    results = []
    for dirt in (0, 255, 85):
        example.run_on(cuda.device, dirt)
        example.check(on_device=True)
        results.append(example.memory.copy())
    for result in results[1:]:  # to the last bit, whatever the workspace had in it
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("seed", range(40))
def test_a_device_computes_products_of_arrays_as_they_lie(cuda, seed):
    example = random_example(seed)
    example.run_on(cuda.device)
    example.check(on_device=True)


@pytest.mark.parametrize("epilogue", ["relu", "bias_relu"])
@pytest.mark.parametrize("stored", STORED)
def test_a_device_lets_nan_pass_through_relu(cuda, stored, epilogue):
    example = Example(
        12, (16, 24, 40), alignment=16, epilogue=epilogue, **STORED[stored]
    )
    nan = to_bits(np.array([np.nan], np.float32), example.product.storage)
    example.arrays["a"][3, 5] = nan[0]
    example.run_on(cuda.device)
    out = from_bits(example.arrays["out"], example.product.out)
    assert np.isnan(out[3]).all()
    assert not np.isnan(np.delete(out, 3, axis=0)).any()


# ------------------------------------------------------------ read off arrays


def test_flags_and_leading_dimensions_are_read_off_strides():
    whole = zeros(20, 30)
    a, b, out = whole[:4, :6], whole.T[:6, :5], zeros(4, 9)[:, 2:7]
    assert product_of(a, b, out, tf32=True, beta=1.0, epilogue="relu") == Product(
        m=4,
        n=5,
        k=6,
        a_rows=True,
        b_rows=False,
        lda=30,
        ldb=30,
        ldc=9,
        tf32=True,
        beta=1.0,
        epilogue="relu",
    )


def test_batches_of_several_axes_become_one():
    a, b, out = zeros(2, 3, 6, 4).swapaxes(-1, -2), zeros(6, 5), zeros(2, 3, 4, 5)
    product = product_of(a, b, out)
    assert (product.batch, product.stride_a, product.stride_b) == (6, 24, 0)
    assert (product.stride_c, product.a_rows, product.lda) == (20, False, 4)


def test_a_batch_of_one_has_no_strides():
    product = product_of(zeros(1, 2, 3), zeros(3, 4), zeros(1, 2, 4))
    assert (product.batch, product.stride_a, product.stride_c) == (1, 0, 0)


def test_axes_of_one_element_may_have_any_stride():
    row = np.lib.stride_tricks.as_strided(zeros(50), (1, 6), (0, 4))
    column = np.lib.stride_tricks.as_strided(zeros(50), (6, 1), (4, 0))
    product = product_of(row, column, zeros(1, 1))
    assert (product.lda, product.ldb, product.ldc) == (6, 1, 1)
    spread = np.lib.stride_tricks.as_strided(zeros(50), (6, 1), (8, 0))
    assert product_of(row, spread, zeros(1, 1)).ldb == 2


def test_products_are_keys():
    assert len({wide(), wide(), wide(beta=1.0)}) == 2


def test_an_operand_spans_its_elements():
    spans = operands(
        wide(batch=4, stride_a=0, stride_b=50, stride_c=20, epilogue="bias")
    )
    assert {name: operand.elements for name, operand in spans.items()} == {
        "a": 2 * 9 + 7,
        "b": 3 * 50 + 4 * 8 + 7,
        "out": 3 * 20 + 2 * 6 + 5,
        "bias": 5,
    }


def test_multiplications_are_counted():
    assert wide(batch=2, stride_c=40).macs == 2 * 3 * 5 * 7


def test_nan_passes_through_relu_on_the_host():
    a, out = np.array([[np.nan], [-2.0]], np.float32), zeros(2, 3)
    product = product_of(a, zeros(1, 3), out, epilogue="relu")
    product_on_host(product, a, zeros(1, 3) + 1, out)
    np.testing.assert_array_equal(out, [[np.nan] * 3, [0] * 3])


def test_a_transposed_result_is_computed_from_transposed_factors():
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in ((4, 3), (3, 5)))
    out = zeros(5, 4).T
    with pytest.raises(UnsupportedError, match="compute its transpose"):
        product_of(a, b, out)
    product_on_host(product_of(b.T, a.T, out.T), b.T, a.T, out.T)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5)


FOUR = zeros(4, 4)


@pytest.mark.parametrize(
    "a, b, out, error, message",
    [
        (zeros(3, 8)[:, ::2], FOUR, zeros(3, 4), UnsupportedError, "a of a product: n"),
        (FOUR, zeros(4, 8)[:, ::2], FOUR, UnsupportedError, "b of a product: neither"),
        (FOUR[::-1], FOUR, FOUR, UnsupportedError, "a of a product: neither rows"),
        (np.broadcast_to(zeros(4), (4, 4)), FOUR, FOUR, UnsupportedError, "copy it"),
        (zeros(4, 3), FOUR, FOUR, ShapeError, r"product of \(4, 3\) and \(4, 4\)"),
        (FOUR, FOUR, zeros(5, 4), ShapeError, r"into \(5, 4\)"),
        (zeros(4), FOUR, FOUR, ShapeError, "a of a product needs 2 axes"),
        (zeros(3, 4, 4), FOUR, zeros(2, 4, 4), ShapeError, r"axes \(3,\) do not"),
        (zeros(2, 4, 4), FOUR, FOUR, ShapeError, r"axes \(2,\) do not broadcast"),
        (zeros(2, 3, 4, 4).swapaxes(0, 1), FOUR, zeros(3, 2, 4, 4), UnsupportedError,
         "one step after another"),
        (zeros(3, 4, 4)[::-1], FOUR, zeros(3, 4, 4), UnsupportedError, "one step"),
        (FOUR, FOUR, np.broadcast_to(FOUR, (2, 4, 4)), ShapeError, "results overlap"),
        (zeros(0, 4), FOUR, zeros(0, 4), ShapeError, "there is nothing to m"),
        (zeros(4, 0), zeros(0, 4), FOUR, ShapeError, "there is nothing to m"),
        (zeros(4, 4, dtype=np.uint16), FOUR, FOUR, SpecError, "elements of uint16"),
        (FOUR, FOUR, zeros(4, 4, dtype=np.float64), SpecError, "elements of float64"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(a, b, out, error, message):
    with pytest.raises(error, match=message):
        product_of(a, b, out)


@pytest.mark.parametrize(
    "more, error, message",
    [
        (dict(lda=6), ShapeError, "lda must be at least 7"),
        (dict(ldb=6), ShapeError, "ldb must be at least 7"),
        (dict(ldc=4), ShapeError, "ldc must be at least 5"),
        (dict(a_rows=False, lda=2), ShapeError, "lda must be at least 3"),
        (dict(b_rows=True, ldb=4), ShapeError, "ldb must be at least 5"),
        (dict(n=2**31, ldc=2**31), ShapeError, "n must be above 0 and below 2"),
        (dict(batch=0), ShapeError, "batch must be above 0"),
        (dict(batch=2, stride_c=16), ShapeError, "results overlap"),
        (dict(stride_a=-1), ShapeError, "strides of a batch must not be negative"),
        (dict(storage="float64"), SpecError, "storage and out must be of float32, bfl"),
        (dict(storage="bfloat16", out="float16"), SpecError, "out must be float32 or"),
        (dict(out="float16"), SpecError, "out must be float32 or what a and b are"),
        (
            dict(storage="float16", tf32=True),
            SpecError,
            "tf32 is for a and b of float32",
        ),
        (dict(beta=0.5), SpecError, "beta must be 0, to write out, or 1"),
        (dict(epilogue="gelu"), SpecError, "epilogue must be of '', 'bias'"),
        (dict(alignment=24), SpecError, "alignment must be a power of two"),
    ],
)
def test_a_product_that_means_nothing_is_refused(more, error, message):
    with pytest.raises(error, match=rf"product \(\d.*{message}"):
        wide(**more)


def test_results_that_just_do_not_overlap():
    assert wide(batch=2, stride_c=17).stride_c == 17


@pytest.mark.parametrize(
    "given, error, message",
    [
        (dict(a=zeros(24)), ShapeError, "a spans 25 elements; got 24"),
        (dict(out=zeros(16)), ShapeError, "out spans 17 elements; got 16"),
        (dict(b=zeros(0)), ShapeError, "b spans 39 elements; got 0"),
        (
            dict(a=zeros(25, dtype=np.uint16)),
            SpecError,
            "a must be float32, not uint16",
        ),
        (dict(bias=zeros(5)), SpecError, "takes a, b, out; got a, b, out, bias"),
    ],
)
def test_the_host_refuses_arrays_that_are_not_as_told(given, error, message):
    arrays = {"a": zeros(25), "b": zeros(39), "out": zeros(17), **given}
    with pytest.raises(error, match=message):
        product_on_host(wide(), **arrays)


def test_the_host_needs_a_bias_where_one_is_added():
    with pytest.raises(SpecError, match="takes a, b, out, bias; got a, b, out"):
        product_on_host(wide(epilogue="bias"), zeros(25), zeros(39), zeros(17))


def test_an_array_of_any_library_will_do():
    def array(*shape):
        return SimpleNamespace(
            shape=shape, strides=zeros(*shape).strides, dtype=np.dtype("float32")
        )

    assert product_of(array(2, 3), array(3, 4), array(2, 4)).macs == 24


def test_halves_add_in_float32():
    # 2049 is no float16: with sums of halves the second addition would be lost.
    example = Example(1, (1, 1, 3), storage="float16", out="float32")
    for name, numbers in (("a", [2048, 1, 1]), ("b", [1, 1, 1])):
        halves = np.array(numbers, np.float16).view(np.uint16)
        example.arrays[name][...] = halves.reshape(example.arrays[name].shape)
    product_on_host(example.product, **example.arrays)
    assert example.arrays["out"] == 2050


@pytest.mark.parametrize("a_rows", [True, False])
@pytest.mark.parametrize("b_rows", [True, False])
def test_every_combination_of_orders_keeps_its_flags(a_rows, b_rows):
    product = Example(3, (4, 6, 5), a_rows=a_rows, b_rows=b_rows).product
    assert (product.a_rows, product.b_rows) == (a_rows, b_rows)
    assert (product.lda, product.ldb) == (5 if a_rows else 4, 6 if b_rows else 5)
