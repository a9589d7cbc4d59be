"""InnerProduct on compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from netspec.ops.base import count
from netspec.ops.inner_product import InnerProduct as InnerProductOp
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.gemv import MOST_ROWS, add_rows, dot_rows
from runtime.backends.cpu.machine.llvm import LANES, ROWS
from runtime.backends.cpu.machine.matrix import (
    TILE,
    outer,
    pad_rows,
    sum_rows,
    times,
    times_transposed,
    transpose_rows,
)
from runtime.backends.cpu.machine.products import (
    SERIAL_PRODUCTS,
    Products,
    packed,
    packed_floats,
    workspace_bytes,
)
from runtime.backends.cpu.machine.sizes import few, round_up
from runtime.backends.layer_kernel import LayerKernel

LOWEST = float("-inf")
TERMS = 1024  # summed at a time
MANY_IMAGES = 320  # from here on the weights are packed, not the data


class InnerProduct(LayerKernel[InnerProductOp]):
    """Multiply flattened inputs by a matrix and add a bias; see the portable kernel."""

    options = ("num_output", "axis", "transpose", "bias_term")

    @classmethod
    def suits(cls, op: InnerProductOp) -> bool:
        """Whether there is something to compute."""
        return count(op.bottoms[0]) > 0 and count(op.tops[0]) > 0

    @property
    def _images(self) -> int:
        return count(self.op.bottoms[0], 0, self.op.axis)

    @property
    def _inputs(self) -> int:
        return count(self.op.bottoms[0], self.op.axis)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for copies of the data in other orders, and for results of threads."""
        images, inputs, outputs = self._images, self._inputs, self.op.num_output
        if images >= MANY_IMAGES:
            return self._packed_arrays()
        self._width = round_up(images, LANES)
        tall = round_up(images, ROWS)
        inputs_padded, outputs_padded = (
            round_up(number, LANES) for number in (inputs, outputs)
        )
        threads = self.backend.threads
        most = round_up(-(-max(inputs, outputs) // threads), ROWS) + ROWS
        self._terms = round_up(min(max(inputs, outputs), TERMS), LANES)
        transposed = ROWS * self._terms + LANES + most * self._width
        straight = TILE * (self._terms + ROWS) + LANES
        self._workspace_bytes = round_up(4 * max(transposed, straight), 64)
        self._sizes = {"x": inputs_padded, "dy": outputs_padded}
        self._serial = images * inputs * outputs < SERIAL_PRODUCTS
        copied = max(
            self._width * max(inputs_padded, outputs_padded),
            tall * (inputs_padded + outputs_padded),
        )
        return {
            "copied": ArraySpec((copied,)),
            "workspace": ArraySpec((threads * self._workspace_bytes,), "uint8"),
        }

    def _packed_arrays(self) -> dict[str, ArraySpec]:
        """Ask for packed weights, and for blocks of threads."""
        images, threads = self._images, self.backend.threads
        rows, columns = self.op.params[0].shape
        floats = packed_floats(rows, columns), packed_floats(columns, rows)
        learns = [(images, columns)] if any(self.node.learn) else []
        workspace = round_up(workspace_bytes([rows, columns], learns), 64)
        return {
            "packed": ArraySpec((max(floats),)),
            "workspace": ArraySpec((threads * workspace,), "uint8"),
        }

    def setup(self) -> None:
        """Tell how products are computed."""
        self._products = None
        if "packed" in self.work:
            self._products = Products(self.work["workspace"], self.backend.threads)

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return self.calls_above(LOWEST)

    def calls_above(self, floor: float) -> list[Call]:
        """Compute y = max(floor, the product)."""
        bias = self.params[1] if self.op.bias_term else 0
        return self._product(
            self.x,
            self.y,
            bias,
            self._inputs,
            self.op.num_output,
            transposed=not self.op.transpose,
            floor=floor,
        )

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        calls = []
        outputs = self.op.num_output
        if self.dparams[0] is not None:
            calls += self._weight_gradient(self.dparams[0], accumulate[0])
        if self.op.bias_term and self.dparams[1] is not None:
            calls.append(
                sum_rows(
                    x=self.dy,
                    out=self.dparams[1],
                    rows=self._images,
                    columns=outputs,
                    accumulate=accumulate[1],
                    serial=few(self.dy.size),
                )
            )
        if self.dx is not None:
            calls += self._product(
                self.dy,
                self.dx,
                0,
                outputs,
                self._inputs,
                transposed=self.op.transpose,
            )
        return calls

    def _product(
        self,
        x: Array,
        y: Array,
        bias: Array | int,
        depth: int,
        rows: int,
        *,
        transposed: bool,
        floor: float = LOWEST,
    ) -> list[Call]:
        """Return the calls of y = max(floor, x w^T + bias), or of x w + bias.

        Args:
            x: (images, depth).
            y: (images, rows).
            bias: (rows,), or 0 for none.
            depth: terms of every sum.
            rows: of the result: outputs forward, inputs backward.
            transposed: whether the weights are (rows, depth), else (depth, rows).
            floor: -inf for none.
        """
        if self._products is not None:
            target = self.work["packed"]
            shape = (self._images, -1)
            return [
                packed(self.params[0], target, depth, rows, transposed=transposed),
                self._products.times(
                    x.reshape(shape),
                    target,
                    y.reshape(shape),
                    rows,
                    depth,
                    bias=None if isinstance(bias, int) else bias,
                    floor=floor,
                ),
            ]
        copied, serial = self.work["copied"], self._serial
        if self._images <= MOST_ROWS:
            few_rows: Callable[..., Call]
            few_rows = partial(dot_rows, scale=0) if transposed else add_rows
            return [
                few_rows(
                    w=self.params[0],
                    bias=bias,
                    x=x,
                    y=y,
                    images=self._images,
                    rows=rows,
                    depth=depth,
                    floor=floor,
                    serial=serial,
                )
            ]
        arrange, product = (
            (transpose_rows, times_transposed) if transposed else (pad_rows, times)
        )
        first = arrange(
            x=x,
            rows=self._images,
            columns=depth,
            target=copied,
            target_columns=self._width if transposed else depth,
            serial=serial,
        )
        second = product(
            w=self.params[0],
            bias=bias,
            y=y,
            images=self._images,
            rows=rows,
            depth=depth,
            floor=floor,
            terms=self._terms,
            workspace=self.work["workspace"],
            workspace_bytes=self._workspace_bytes,
            serial=serial,
            **{"xt" if transposed else "x": copied},
        )
        return [first, second]

    def _weight_gradient(self, dw: Array, accumulate: bool) -> list[Call]:
        """Return the calls of dw = dy^T x, or of its transpose."""
        if self._products is not None:
            x, dy = (one.reshape(self._images, -1) for one in (self.x, self.dy))
            left, right = (x, dy) if self.op.transpose else (dy, x)
            return [
                self._products.transposed_times(left, right, dw, accumulate=accumulate)
            ]
        tall = round_up(self._images, ROWS)
        sides = {"x": (self.x, self._inputs), "dy": (self.dy, self.op.num_output)}
        copies, calls, at = {}, [], 0
        for name, (array, columns) in sides.items():
            width = self._sizes[name]
            copies[name] = self.work["copied"][at : at + tall * width]
            at += tall * width
            calls.append(
                pad_rows(
                    x=array,
                    rows=self._images,
                    columns=columns,
                    target=copies[name],
                    target_columns=width,
                    serial=self._serial,
                )
            )
        one, other = ("x", "dy") if self.op.transpose else ("dy", "x")
        product = outer(
            left=copies[one],
            right=copies[other],
            out=dw,
            images=self._images,
            rows=sides[one][1],
            columns=sides[other][1],
            left_columns=self._sizes[one],
            right_columns=self._sizes[other],
            accumulate=accumulate,
            workspace=self.work["workspace"],
            workspace_bytes=self._workspace_bytes,
            serial=self._serial,
        )
        return [*calls, product]
