"""What a matrix product is: the specification, how one is read off arrays, an oracle.

No library of a device is needed here; `cublas` computes the same on one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from netspec.errors import ShapeError, SpecError, UnsupportedError
from runtime.backends.cuda.storage import (
    STORAGES,
    Storage,
    from_bits,
    host_dtype,
    item_bytes,
    to_bits,
)

Epilogue = Literal["", "bias", "relu", "bias_relu"]
EPILOGUES: tuple[Epilogue, ...] = get_args(Epilogue)
ALIGNMENT = 16  # bytes of the widest access to memory; arrays of an arena have 256
LARGEST = 2**31 - 1  # of sizes and leading dimensions, in cuBLAS


@dataclass(frozen=True)
class Product:
    """A product of matrices, or a batch of equally shaped ones.

        out = f(a b + beta out + bias),  f(x) = max(x, 0) with "relu", else x

    Sums are of float32, whatever is stored. Everything counts elements, in row-major
    order: of `a` the element (i, l) lies at `i * lda + l` if `a_rows`, at `l * lda + i`
    otherwise, of `b` the element (l, j) at `l * ldb + j` if `b_rows`, at `j * ldb + l`
    otherwise, and of `out` the element (i, j) at `i * ldc + j`.

    A bias is stored as out is: cuBLASLt adds none of float32 to a result of halves.
    Where beta is 1 it may round such a result twice: a b before out is added, or
    a b + out before the bias is.

    Shapes: a (m, k), b (k, n), bias (n) -> out (m, n).

    Args:
        m: rows of out.
        n: columns of out.
        k: terms of each sum.
        a_rows: whether rows of a are contiguous; if not, its columns are.
        b_rows: whether rows of b are contiguous; if not, its columns are.
        lda: elements from one row of a to the next; from column to column otherwise.
        ldb: the same for b.
        ldc: elements from one row of out to the next.
        batch: how many products; they share the bias.
        stride_a: elements from the a of one product to the next; 0 for the same a.
        stride_b: the same for b.
        stride_c: elements from one result to the next.
        storage: how a and b are stored.
        out: how the result is stored.
        tf32: whether factors of float32 may lose all but 10 bits of their fractions.
        beta: 0 writes out, 1 adds to it.
        epilogue: what becomes of the sums before they are stored.
        alignment: bytes, a power of two, that divide the address of every operand; an
            operand with larger elements is taken to be aligned to one.

    Raises `SpecError` for what means nothing, `ShapeError` for leading dimensions or
    strides with which rows or results would overlap.
    """

    m: int
    n: int
    k: int
    a_rows: bool
    b_rows: bool
    lda: int
    ldb: int
    ldc: int
    batch: int = 1
    stride_a: int = 0
    stride_b: int = 0
    stride_c: int = 0
    storage: Storage = "float32"
    out: Storage = "float32"
    tf32: bool = False
    beta: float = 0.0
    epilogue: Epilogue = ""
    alignment: int = ALIGNMENT

    def __post_init__(self) -> None:
        for name in ("m", "n", "k", "batch", "lda", "ldb", "ldc"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise ShapeError(f"{self}: {name} must be above 0 and below 2^31")
        least = {
            "lda": self.k if self.a_rows else self.m,
            "ldb": self.n if self.b_rows else self.k,
            "ldc": self.n,
        }
        for name, length in least.items():
            if getattr(self, name) < length:
                raise ShapeError(
                    f"{self}: {name} must be at least {length}, the length of what is "
                    "contiguous"
                )
        if min(self.stride_a, self.stride_b, self.stride_c) < 0:
            raise ShapeError(f"{self}: strides of a batch must not be negative")
        if self.batch > 1 and self.stride_c < (self.m - 1) * self.ldc + self.n:
            raise ShapeError(f"{self}: results overlap; stride_c is too small")
        if self.storage not in STORAGES or self.out not in STORAGES:
            raise SpecError(f"{self}: storage and out must be of {', '.join(STORAGES)}")
        if self.out not in ("float32", self.storage):
            raise SpecError(f"{self}: out must be float32 or what a and b are")
        if self.tf32 and self.storage != "float32":
            raise SpecError(f"{self}: tf32 is for a and b of float32")
        if self.beta not in (0, 1):
            raise SpecError(f"{self}: beta must be 0, to write out, or 1, to add to it")
        if self.epilogue not in EPILOGUES:
            raise SpecError(
                f"{self}: epilogue must be of {', '.join(map(repr, EPILOGUES))}"
            )
        if self.alignment < 1 or self.alignment & (self.alignment - 1):
            raise SpecError(f"{self}: alignment must be a power of two, in bytes")

    def __str__(self) -> str:
        """Say it in one line, with those options that are not as usual."""
        told = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name not in ("m", "n", "k")
            and getattr(self, field.name) != field.default
        ]
        return f"product ({self.m}, {self.k}) ({self.k}, {self.n}), {', '.join(told)}"

    @property
    def has_bias(self) -> bool:
        """Whether a bias is added."""
        return self.epilogue.startswith("bias")

    @property
    def macs(self) -> int:
        """Multiplications, each with an addition."""
        return self.batch * self.m * self.n * self.k

    def aligned(self, storage: str) -> int:
        """Return the bytes that divide the address of an operand stored so."""
        return max(self.alignment, item_bytes(storage))


class Operand(NamedTuple):
    """Where the elements of one operand lie, in elements from its first.

    element (g, i, j) of `shape`, batch first, at `g * strides[0] + i * strides[1] + ..`
    """

    storage: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def elements(self) -> int:
        """From the first to behind the last."""
        spans = zip(self.shape, self.strides, strict=True)
        return 1 + sum((size - 1) * stride for size, stride in spans)


def operands(product: Product) -> dict[str, Operand]:
    """Return where a, b, out and, if there is one, bias have their elements.

    Shapes: a (batch, m, k), b (batch, k, n), out (batch, m, n), bias (n).
    """
    p = product
    a = (p.lda, 1) if p.a_rows else (1, p.lda)
    b = (p.ldb, 1) if p.b_rows else (1, p.ldb)
    result = {
        "a": Operand(p.storage, (p.batch, p.m, p.k), (p.stride_a, *a)),
        "b": Operand(p.storage, (p.batch, p.k, p.n), (p.stride_b, *b)),
        "out": Operand(p.out, (p.batch, p.m, p.n), (p.stride_c, p.ldc, 1)),
    }
    if p.has_bias:
        result["bias"] = Operand(p.out, (p.n,), (1,))
    return result


class Strided(Protocol):
    """What is asked of an array, of NumPy or of CuPy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of axes."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element of an axis to the next."""

    @property
    def dtype(self) -> Any:
        """Type of elements."""


def product_of(
    a: Strided,
    b: Strided,
    out: Strided,
    *,
    storage: str = "",
    out_storage: str = "",
    tf32: bool = False,
    beta: float = 0.0,
    epilogue: Epilogue = "",
    alignment: int = ALIGNMENT,
) -> Product:
    """Return `out = a b` for arrays as they lie, nothing being copied.

    Rows or columns of a and of b must be contiguous, so that transposed views and parts
    of larger arrays are fine; rows of out must be. Leading axes are a batch: those of a
    and of b broadcast to those of out, and each operand must come to its matrices in
    steps of one size.

    Shapes: a (..., m, k), b (..., k, n) -> out (..., m, n).

    Args:
        a: the left factor.
        b: the right factor.
        out: the result.
        storage: how a and b are stored; "" for float32. Halves have 2 bytes an element.
        out_storage: how out is stored; "" as its bytes tell: float32, or as a and b.
        tf32: see `Product`, as for those that follow.
        beta: 0 writes out, 1 adds to it.
        epilogue: what becomes of the sums.
        alignment: bytes that divide all addresses.

    Raises `ShapeError` where shapes do not meet, `SpecError` where a storage does not
    fit an array, `UnsupportedError` for arrays that cannot be told to cuBLAS without a
    copy.
    """
    stored: Any = storage or "float32"
    kept: Any = out_storage or ("float32" if out.dtype.itemsize == 4 else stored)
    for name, array, its in (("a", a, stored), ("b", b, stored), ("out", out, kept)):
        if len(array.shape) < 2:
            raise ShapeError(f"{name} of a product needs 2 axes, not {array.shape}")
        if array.dtype.itemsize != item_bytes(its):
            raise SpecError(
                f"{name} of a product has elements of {array.dtype}, but is to be "
                f"{its}; name the storage of halves"
            )
    (m, k), (depth, n) = a.shape[-2:], b.shape[-2:]
    if depth != k or out.shape[-2:] != (m, n):
        raise ShapeError(
            f"product of {a.shape} and {b.shape} into {out.shape}: expected "
            "(..., m, k), (..., k, n) and (..., m, n)"
        )
    if 0 in (*out.shape, k):
        raise ShapeError(
            f"product of {a.shape} and {b.shape} into {out.shape}: there is nothing to "
            "multiply; fill the result with zeros instead"
        )
    a_rows, lda = _matrix("a", a)
    b_rows, ldb = _matrix("b", b)
    rows, ldc = _matrix("out", out)
    if not rows:
        raise UnsupportedError(
            "rows of the result of a product must be contiguous; got strides "
            f"{out.strides} for {out.shape}: compute its transpose, from those of b "
            "and of a"
        )
    lead = tuple(out.shape[:-2])
    return Product(
        m=m,
        n=n,
        k=k,
        a_rows=a_rows,
        b_rows=b_rows,
        lda=lda,
        ldb=ldb,
        ldc=ldc,
        batch=int(np.prod(lead, dtype=np.int64)),
        stride_a=_batch_stride("a", a, lead),
        stride_b=_batch_stride("b", b, lead),
        stride_c=_batch_stride("out", out, lead),
        storage=stored,
        out=kept,
        tf32=tf32,
        beta=beta,
        epilogue=epilogue,
        alignment=alignment,
    )


def _matrix(name: str, array: Strided) -> tuple[bool, int]:
    """Return whether rows are contiguous, and the leading dimension in elements."""
    (rows, columns), (down, along) = array.shape[-2:], array.strides[-2:]
    size = array.dtype.itemsize
    if down % size == 0 and along % size == 0:
        down, along = down // size, along // size
        # One row, or one column, may have any stride: it is never taken.
        if (along == 1 or columns == 1) and (down >= columns or rows == 1):
            return True, down if rows > 1 else columns
        if (down == 1 or rows == 1) and (along >= rows or columns == 1):
            return False, along if columns > 1 else rows
    raise UnsupportedError(
        f"{name} of a product: neither rows nor columns of {array.shape} with strides "
        f"{array.strides} are contiguous; copy it first"
    )


def _batch_stride(name: str, array: Strided, lead: Sequence[int]) -> int:
    """Return the elements from one matrix to the next, in the order of `lead`."""
    own = len(array.shape) - 2
    missing = len(lead) - own
    sizes, steps = array.shape[:own], array.strides[:own]
    if missing < 0 or any(
        size not in (1, all_) for size, all_ in zip(sizes, lead[missing:], strict=True)
    ):
        raise ShapeError(
            f"{name} of a product: leading axes {tuple(sizes)} do not broadcast to "
            f"{tuple(lead)}, those of the result"
        )
    whole = [0] * missing + [
        step if size > 1 else 0 for size, step in zip(sizes, steps, strict=True)
    ]
    taken = [(size, step) for size, step in zip(lead, whole, strict=True) if size != 1]
    if not taken:
        return 0
    last = taken[-1][1]
    apart = any(step != size * inner for (_, step), (size, inner) in pairwise(taken))
    if apart or last % array.dtype.itemsize or last < 0:
        raise UnsupportedError(
            f"{name} of a product: matrices of {array.shape} with strides "
            f"{array.strides} do not lie one step after another; copy it first, or "
            "compute one product for each place of the first axis"
        )
    return last // array.dtype.itemsize


def product_on_host(
    product: Product,
    a: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    bias: np.ndarray | None = None,
) -> None:
    """Compute a product with NumPy, in float32; `tf32` changes nothing here.

    Each array begins with the first element of its operand and has memory up to the
    last, in whatever shape. Half types are uint16 bits; NaN passes through "relu".

    Raises `SpecError` for a type or a bias that is not as the product says, and
    `ShapeError` for an array that ends too early.
    """
    given = {"a": a, "b": b, "out": out}
    if bias is not None:
        given["bias"] = bias
    wanted = operands(product)
    if given.keys() != wanted.keys():
        raise SpecError(f"{product}: takes {', '.join(wanted)}; got {', '.join(given)}")
    views = {
        name: _view(product, name, operand, given[name])
        for name, operand in wanted.items()
    }
    left = from_bits(views["a"], product.storage)
    right = from_bits(views["b"], product.storage)
    with np.errstate(invalid="ignore"):  # NaN passes; and BLAS may see what is beside
        sums = np.matmul(left, right)
    if product.beta:
        sums += from_bits(views["out"], product.out)
    if product.has_bias:
        sums += from_bits(views["bias"], product.out)
    if product.epilogue.endswith("relu"):
        np.maximum(sums, 0, out=sums)
    views["out"][...] = to_bits(sums, product.out)


def _view(
    product: Product, name: str, operand: Operand, array: np.ndarray
) -> np.ndarray:
    kept = host_dtype(operand.storage)
    if array.dtype != kept:
        raise SpecError(f"{product}: {name} must be {kept}, not {array.dtype}")
    spans = zip(array.shape, array.strides, strict=True)
    ahead = sum((size - 1) * max(step, 0) for size, step in spans)
    there = ahead // kept.itemsize + 1 if array.size else 0
    if there < operand.elements:
        raise ShapeError(
            f"{product}: {name} spans {operand.elements} elements; got {there}"
        )
    strides = [stride * kept.itemsize for stride in operand.strides]
    return np.lib.stride_tricks.as_strided(array, operand.shape, strides)
