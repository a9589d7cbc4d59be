"""Matrix products by cuBLASLt, called through ctypes.

CuPy's own products refuse to be captured in a graph and have no epilogues;
nvmath-python is one more dependency, for a dozen C functions; cuBLAS without Lt adds no
bias and lets nobody choose among algorithms, whose sums must have a fixed order.

cuBLASLt counts in column-major order, where a row-major matrix is its transpose. So
`out = a b` is asked for as `out^T = b^T a^T`: b is cuBLAS's first factor, A, and a its
second, B. A bias along a row of `out` is then one along a column, as cuBLASLt has it.

Source: the cuBLASLt API of CUDA 13; the numbers below are those of `cublasLt.h`.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping, Sequence
from ctypes import (
    POINTER,
    byref,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, ClassVar

from netspec.errors import MachineError, UnsupportedError
from runtime.backends.cuda.machine.library import load
from runtime.backends.cuda.machine.products import Product

WORKSPACE_BYTES = 32 << 20  # the most that a product may ask for
VERSIONS = (13, 12)
DISTRIBUTIONS = ("nvidia-cublas", "nvidia-cublas-cu13", "nvidia-cublas-cu12")

CUDA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}  # cudaDataType_t
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32 = 68, 77
CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_NOT_SUPPORTED = 0, 15

CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB = 3, 4
CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_BIAS_POINTER = 7, 8
CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5
CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6
CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1
CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3
CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5  # B, C and D have 6, 7 and 8
CUBLASLT_ALGO_CONFIG_ID, CUBLASLT_ALGO_CONFIG_TILE_ID = 0, 1
CUBLASLT_ALGO_CONFIG_SPLITK_NUM, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME = 2, 3
# Sums in parts: in float32, each part in a place of its own, added in one order. The
# other schemes add in whatever order parts become ready, or in a half type.
CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2
EPILOGUE_NUMBERS = {"": 1, "relu": 2, "bias": 4, "bias_relu": 6}  # cublasLtEpilogue_t


class MatmulAlgo(ctypes.Structure):
    """cublasLtMatmulAlgo_t."""

    _fields_: ClassVar[Sequence[Any]] = [("data", c_uint64 * 8)]


class MatmulHeuristicResult(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_: ClassVar[Sequence[Any]] = [
        ("algo", MatmulAlgo),
        ("workspaceSize", c_size_t),
        ("state", c_int),
        ("wavesCount", c_float),
        ("reserved", c_int * 4),
    ]


_OUT = POINTER(c_void_p)
_SET = [c_void_p, c_int, c_void_p, c_size_t]
SIGNATURES: Mapping[str, list[Any]] = {
    "cublasLtCreate": [_OUT],
    "cublasLtDestroy": [c_void_p],
    "cublasLtMatmulDescCreate": [_OUT, c_int, c_int],
    "cublasLtMatmulDescDestroy": [c_void_p],
    "cublasLtMatmulDescSetAttribute": _SET,
    "cublasLtMatrixLayoutCreate": [_OUT, c_int, c_uint64, c_uint64, c_int64],
    "cublasLtMatrixLayoutDestroy": [c_void_p],
    "cublasLtMatrixLayoutSetAttribute": _SET,
    "cublasLtMatmulPreferenceCreate": [_OUT],
    "cublasLtMatmulPreferenceDestroy": [c_void_p],
    "cublasLtMatmulPreferenceSetAttribute": _SET,
    "cublasLtMatmulAlgoGetHeuristic": [
        *[c_void_p] * 7,
        c_int,
        POINTER(MatmulHeuristicResult),
        POINTER(c_int),
    ],
    "cublasLtMatmulAlgoConfigGetAttribute": [
        POINTER(MatmulAlgo),
        c_int,
        c_void_p,
        c_size_t,
        POINTER(c_size_t),
    ],
    "cublasLtMatmul": [*[c_void_p] * 14, c_size_t, c_void_p],
}


def open_library() -> tuple[ctypes.CDLL, str]:
    """Load cuBLASLt; return it and its file.

    Raises `MachineError` where this machine has none.
    """
    return load("cuBLASLt", "cublasLt", VERSIONS, DISTRIBUTIONS)


def version_of(library: ctypes.CDLL) -> str:
    """Return the version of the library: "13.1.0"."""
    library.cublasLtGetVersion.restype = c_size_t
    major, rest = divmod(library.cublasLtGetVersion(), 10000)
    return f"{major}.{rest // 100}.{rest % 100}"


class Cublas:
    """cuBLASLt on the device that is current when this is made.

    Args:
        library: an open library, for tests; by default the one of this machine.

    Raises `MachineError` where there is no library, or it does not start.
    """

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        self.file = "given"
        if library is None:
            library, self.file = open_library()
        for name, arguments in SIGNATURES.items():
            getattr(library, name).argtypes = arguments
        library.cublasLtGetStatusString.argtypes = [c_int]
        library.cublasLtGetStatusString.restype = ctypes.c_char_p
        self.library = library
        self.handle = c_void_p()
        status = library.cublasLtCreate(byref(self.handle))
        if status != CUBLAS_STATUS_SUCCESS:
            raise MachineError(
                f"cuBLASLt {self.version} ({self.file}) does not start: "
                f"{self.text(status)}; is there a GPU, and a driver for this CUDA?"
            )
        weakref.finalize(self, library.cublasLtDestroy, self.handle).atexit = False

    @property
    def version(self) -> str:
        """The version of the library: "13.1.0"."""
        return version_of(self.library)

    def plan(self, product: Product) -> PlannedProduct:
        """Choose an algorithm for a product: the first that cuBLASLt proposes.

        The choice depends on the product, the kind of device and the version of the
        library alone, and no algorithm is asked for whose sums have no fixed order.

        Raises `UnsupportedError` where cuBLASLt has none.
        """
        return PlannedProduct(self, product)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raises `MachineError` with its name where it fails."""
        status = getattr(self.library, name)(*arguments)
        if status != CUBLAS_STATUS_SUCCESS:
            raise MachineError(f"{name}: {self.text(status)}")

    def text(self, status: int) -> str:
        """Return the words for a status."""
        return (self.library.cublasLtGetStatusString(status) or b"?").decode()


class PlannedProduct:
    """A product with its algorithm; `run` starts it and returns at once.

    workspace_bytes: how much memory `run` needs beside the operands, at most
    `WORKSPACE_BYTES`; its address divides by 256.
    """

    def __init__(self, cublas: Cublas, product: Product) -> None:
        self.product = product
        self._cublas = cublas
        self._bias = c_void_p()
        self._alpha, self._beta = c_float(1), c_float(product.beta)
        self._operation = self._new_operation()
        p = product
        a = (p.k, p.m) if p.a_rows else (p.m, p.k)
        b = (p.n, p.k) if p.b_rows else (p.k, p.n)
        self._a = self._new_layout(p.storage, a, p.lda, p.stride_a)
        self._b = self._new_layout(p.storage, b, p.ldb, p.stride_b)
        self._out = self._new_layout(p.out, (p.n, p.m), p.ldc, p.stride_c)
        self._algo, self.workspace_bytes = self._choose()
        # Bits that addresses must not have.
        self._odd, self._odd_out = p.aligned(p.storage) - 1, p.aligned(p.out) - 1
        self._matmul: Callable[..., int] = cublas.library.cublasLtMatmul
        self._set_bias: Callable[..., int] | None = None
        if product.has_bias:
            self._set_bias = cublas.library.cublasLtMatmulDescSetAttribute

    def run(self, addresses: Mapping[str, int], workspace: int, stream: int) -> None:
        """Start the product on a stream; may be captured in a graph.

        Args:
            addresses: of "a", "b", "out" and, with a bias, "bias".
            workspace: address of `workspace_bytes`, for this product alone until done.
            stream: handle of the stream.

        Raises `MachineError` for an address that is not aligned as the product says,
        and where cuBLASLt refuses.
        """
        a, b, out = addresses["a"], addresses["b"], addresses["out"]
        odd = (a | b) & self._odd | out & self._odd_out
        if self._set_bias is not None:
            bias = addresses["bias"]
            odd |= bias & self._odd_out
            if bias != self._bias.value:
                self._bias.value = bias
                self._set_bias(
                    self._operation,
                    CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                    byref(self._bias),
                    8,
                )
        if odd:
            raise MachineError(f"{self.product}: not so aligned: {dict(addresses)}")
        status = self._matmul(
            self._cublas.handle,
            self._operation,
            byref(self._alpha),
            b,
            self._b,
            a,
            self._a,
            byref(self._beta),
            out,
            self._out,
            out,
            self._out,
            byref(self._algo),
            workspace,
            self.workspace_bytes,
            stream,
        )
        if status != CUBLAS_STATUS_SUCCESS:
            text = self._cublas.text(status)
            raise MachineError(f"{self.product}: cublasLtMatmul: {text}")

    def describe(self) -> str:
        """Return which algorithm was chosen, as cuBLASLt numbers them."""
        wanted = {
            "algorithm": CUBLASLT_ALGO_CONFIG_ID,
            "tile": CUBLASLT_ALGO_CONFIG_TILE_ID,
            "parts": CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
            "reduction": CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
        }
        told = []
        value, written = c_int32(), c_size_t()
        for name, attribute in wanted.items():
            self._cublas.call(
                "cublasLtMatmulAlgoConfigGetAttribute",
                byref(self._algo),
                attribute,
                byref(value),
                ctypes.sizeof(value),
                byref(written),
            )
            told.append(f"{name} {value.value}")
        return f"{', '.join(told)}, workspace {self.workspace_bytes}"

    def _new(self, kind: str, *arguments: Any) -> c_void_p:
        """Create one of cuBLASLt's objects, which lives as long as this one."""
        made = c_void_p()
        self._cublas.call(f"cublasLt{kind}Create", byref(made), *arguments)
        destroy = getattr(self._cublas.library, f"cublasLt{kind}Destroy")
        weakref.finalize(self, destroy, made).atexit = False
        return made

    def _set(self, kind: str, made: c_void_p, values: Mapping[int, Any]) -> None:
        for attribute, value in values.items():
            self._cublas.call(
                f"cublasLt{kind}SetAttribute",
                made,
                attribute,
                byref(value),
                ctypes.sizeof(value),
            )

    def _new_operation(self) -> c_void_p:
        p = self.product
        compute = CUBLAS_COMPUTE_32F_FAST_TF32 if p.tf32 else CUBLAS_COMPUTE_32F
        made = self._new("MatmulDesc", compute, CUDA_TYPES["float32"])
        values: dict[int, Any] = {
            CUBLASLT_MATMUL_DESC_TRANSA: c_int32(not p.b_rows),
            CUBLASLT_MATMUL_DESC_TRANSB: c_int32(not p.a_rows),
            CUBLASLT_MATMUL_DESC_EPILOGUE: c_uint32(EPILOGUE_NUMBERS[p.epilogue]),
        }
        if p.has_bias:
            # The choice looks at this address for its alignment, and nothing else.
            self._bias.value = p.aligned(p.out)
            values[CUBLASLT_MATMUL_DESC_BIAS_POINTER] = self._bias
        self._set("MatmulDesc", made, values)
        return made

    def _new_layout(
        self, storage: str, sizes: tuple[int, int], leading: int, stride: int
    ) -> c_void_p:
        """Describe a matrix of (rows, columns) as cuBLAS counts them."""
        made = self._new("MatrixLayout", CUDA_TYPES[storage], *sizes, leading)
        if self.product.batch > 1:
            values = {
                CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: c_int32(self.product.batch),
                CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: c_int64(stride),
            }
            self._set("MatrixLayout", made, values)
        return made

    def _choose(self) -> tuple[MatmulAlgo, int]:
        """Ask for an algorithm; return it and the bytes of its workspace."""
        p = self.product
        preference = self._new("MatmulPreference")
        values: dict[int, Any] = {
            CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: c_size_t(WORKSPACE_BYTES),
            CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: c_uint32(
                CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
            ),
        }
        for matrix in range(4):
            values[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES + matrix] = c_uint32(
                p.aligned(p.storage if matrix < 2 else p.out)
            )
        self._set("MatmulPreference", preference, values)
        result, count = MatmulHeuristicResult(), c_int()
        status = self._cublas.library.cublasLtMatmulAlgoGetHeuristic(
            self._cublas.handle,
            self._operation,
            self._b,
            self._a,
            self._out,
            self._out,
            preference,
            1,
            byref(result),
            byref(count),
        )
        if status == CUBLAS_STATUS_SUCCESS and count.value:
            status = result.state
        elif status == CUBLAS_STATUS_SUCCESS:
            status = CUBLAS_STATUS_NOT_SUPPORTED
        if status == CUBLAS_STATUS_SUCCESS:
            return result.algo, result.workspaceSize
        if status == CUBLAS_STATUS_NOT_SUPPORTED:
            raise UnsupportedError(
                f"{self.product}: cuBLASLt {self._cublas.version} has no algorithm for "
                "it; compute the epilogue apart"
            )
        raise MachineError(
            f"{self.product}: cublasLtMatmulAlgoGetHeuristic: "
            f"{self._cublas.text(status)}"
        )
