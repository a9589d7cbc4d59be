"""What LSTM and RNN share: a product and a launch for each step, the rest at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from netspec.graph import Node
from netspec.ops import recurrent as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.columns import Columns, column_sum
from runtime.backends.cuda.layer import CudaLayer, Wanted
from runtime.backends.cuda.layers.parameters import Working
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.machine.library_call import LibraryCall, workspace_of
from runtime.backends.cuda.machine.products import ALIGNMENT, Product
from runtime.backends.cuda.tensor import (
    CARRIERS,
    IN_SOURCES,
    Blob,
    Order,
    Place,
    Tensor,
    memory_of,
)
from runtime.layers.base import Context, Kernel, OpT

SOURCE = "recurrent.cu"
UNITS = 128  # threads of a block
MOST = 2**31 - 1  # of what a step counts


class Stepwise(CudaLayer[OpT]):
    """A recurrent layer; see `runtime.layers.recurrent`.

    What enters the units and the cells is float32. What products read (x, h, `held`,
    which is cont times h before, and gradients) is stored as the precision says.
    """

    op: ops.LSTM | ops.RNN  # type: ignore[assignment]
    options = ("num_output", "expose_hidden", "static", "timesteps", "streams")
    units: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)

    @classmethod
    def suits(cls, op: Any) -> bool:
        """Take what is not empty, and steps that can be counted."""
        width = cls.units * op.num_output
        sizes = [count(shape) for shape in (*op.bottoms, *op.tops)]
        return all(sizes) and op.streams * width <= MOST

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want Caffe's order; indicators and states are float32."""
        op: Any = node.op
        static = (True,) if op.static else ()
        states = (False,) * (len(op.tops) - 1)
        half = (True, False, *static, *states)
        first: Order = "first"
        bottoms = Wanted((first,) * len(half), half)
        return bottoms, Wanted((first,) * len(op.tops), (True, *states))

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        op = self.op
        self.steps, self.streams, self.size = op.timesteps, op.streams, op.num_output
        self.width, self.rows = self.units * self.size, self.steps * self.streams
        self.inputs = count(op.bottoms[0], 2)
        self.static = count(op.bottoms[2], 1) if op.static else 0
        self.hidden = 3 if op.static else 2  # the place of its weights
        self.weights = {
            slot: Working(self, slot, "first")
            for slot, one in enumerate(op.params)
            if len(one.shape) == 2
        }

    # ------------------------------------------------------------ arrays

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for what all steps compute, and for scratch of one step."""
        carrier = CARRIERS[self.storage]
        step = self.streams * self.size
        wide = self.streams * self.width
        specs = {
            "pre": ArraySpec((self.steps * wide,), "float32", life="saved"),
            "held": ArraySpec((self.steps * step,), carrier, life="saved"),
            "dpre": ArraySpec((self.steps * wide,), carrier),
            "carry": ArraySpec((step,), "float32"),
            "sums": self.columns.partial(),
        }
        if self.static:
            specs["fixed"] = ArraySpec((wide,), "float32")
            specs["total"] = ArraySpec((wide,), carrier)
        if not self.op.expose_hidden:
            for state in self.states:
                for when in ("initial", "final"):
                    specs[f"{when} {state}"] = ArraySpec((step,), "float32", "state")
        for weights in self.weights.values():
            specs |= weights.arrays()
        most = max(one.workspace_bytes for one in self.planned.values())
        if most:
            specs["workspace"] = workspace_of(most)
        return specs

    def setup(self) -> None:
        """Find the states that a pass begins with, and those that it leaves."""
        if self.op.expose_hidden:
            number = len(self.states)
            self.initial = [memory_of(one) for one in self.bottoms[-number:]]
            self.final = [memory_of(one) for one in self.tops[-number:]]
        else:
            self.initial = [self.work[f"initial {state}"] for state in self.states]
            self.final = [self.work[f"final {state}"] for state in self.states]

    def go_on_from(self, other: Kernel[OpT]) -> None:
        """Keep the states of the last pass where there are as many streams as then."""
        for state in () if self.op.expose_hidden else self.states:
            old, new = (kernel.work[f"final {state}"] for kernel in (other, self))
            if old.size == new.size and other.op.streams == self.streams:  # type: ignore[attr-defined]
                new[...] = old.reshape(new.shape)
            else:
                new.fill(0)

    def at(self, blob: Blob, step: int) -> Array:
        """Return what a step has of an array of all steps."""
        memory = memory_of(blob)
        size = memory.size // self.steps
        offset = step * size * memory.dtype.itemsize
        return self.device.cut(memory, offset, (size,), str(memory.dtype))

    @cached_property
    def columns(self) -> Columns:
        """The gradients of what enters the units: a row for each step and stream."""
        return Columns.of(self.device, (self.rows, self.width), self.storage)

    def matrix(self, memory: Array) -> Blob:
        """Return such gradients as a blob."""
        shape = (self.rows, self.width)
        if self.storage == "float32":
            return memory.reshape(shape)
        place = Place("first", self.storage)  # type: ignore[arg-type]
        return Tensor(memory, shape, place)

    # ------------------------------------------------------------ products

    @cached_property
    def planned(self) -> dict[str, Any]:
        """All products of this layer, by name."""
        return {
            name: self.device.product(product)
            for name, product in self.products().items()
        }

    def products(self) -> dict[str, Product]:
        """Return the products, by name: those that both layers have."""
        rows, streams, width, size = self.rows, self.streams, self.width, self.size
        node, inputs = self.node, self.inputs
        found = {
            "pre": self.forward_product(rows, width, inputs),
            "step": self.forward_product(streams, width, size, beta=1, stepwise=True),
            "carry": self.backward_product(streams, width, size, stepwise=True),
            "x": self.backward_product(rows, width, inputs, out=self.storage),
        }
        for beta in (0, 1):
            found |= self._gradient_products(beta)
        if self.static:
            found["fixed"] = self.forward_product(streams, width, self.static)
            found["static"] = self.backward_product(
                streams, width, self.static, out=self.storage
            )
        if not node.propagate[0]:
            del found["x"]
        return found

    def _gradient_products(self, beta: int) -> dict[str, Product]:
        width, learn = self.width, self.node.learn
        found = {
            0: (self.rows, self.inputs),
            self.hidden: (self.rows, self.size),
        }
        if self.static:
            found[2] = (self.streams, self.static)
        return {
            f"weights {slot} {beta}": self.weight_product(rows, width, columns, beta)
            for slot, (rows, columns) in found.items()
            if learn[slot]
        }

    def product(
        self, m: int, n: int, k: int, *, stepwise: bool = False, **options: Any
    ) -> Product:
        """Return a product; one that is `stepwise` begins where a step does."""
        alignment = ALIGNMENT
        if stepwise:
            least = np.dtype(CARRIERS[self.storage]).itemsize  # of both storages
            sizes = (self.streams * self.width, self.streams * self.size)
            alignment = math.gcd(ALIGNMENT, *(least * size for size in sizes))
        storage: Any = self.storage
        return Product(
            m=m,
            n=n,
            k=k,
            storage=storage,
            tf32=self.precision == "tf32",
            alignment=alignment,
            **{"out": "float32", **options},
        )

    def forward_product(self, m: int, n: int, k: int, **options: Any) -> Product:
        """Return out (m, n) = rows (m, k) weights (n, k)^T."""
        sizes: dict[str, Any] = {
            "a_rows": True,
            "b_rows": False,
            "lda": k,
            "ldb": k,
            "ldc": n,
        }
        return self.product(m, n, k, **sizes, **options)

    def backward_product(self, m: int, k: int, n: int, **options: Any) -> Product:
        """Return out (m, n) = gradients (m, k) weights (k, n)."""
        sizes: dict[str, Any] = {
            "a_rows": True,
            "b_rows": True,
            "lda": k,
            "ldb": n,
            "ldc": n,
        }
        return self.product(m, n, k, **sizes, **options)

    def weight_product(self, k: int, m: int, n: int, beta: int) -> Product:
        """Return out (m, n) = gradients (k, m)^T rows (k, n), stored or added."""
        sizes: dict[str, Any] = {
            "a_rows": False,
            "b_rows": True,
            "lda": m,
            "ldb": n,
            "ldc": n,
        }
        return self.product(m, n, k, **sizes, beta=float(beta))

    def call(self, name: str, a: Blob, b: Blob, out: Blob) -> Call:
        """Return the call of a product."""
        memories = {"a": memory_of(a), "b": memory_of(b), "out": memory_of(out)}
        work = self.work.get("workspace")
        return LibraryCall(self.device, self.planned[name], memories, work)

    # ------------------------------------------------------------ launches

    def unit_launch(self, name: str, *arguments: Any) -> Call:
        """Return the launch of a kernel that has a thread for each unit of a step."""
        blocks = -(-self.streams * self.size // UNITS)
        kernel = self._kernel(name)
        sizes = (self.streams, self.size)
        return self.launch(kernel, (blocks,), (UNITS,), *arguments, *sizes)

    def _kernel(self, name: str) -> CudaKernel:
        return CudaKernel(SOURCE, name).with_defines(STORE=IN_SOURCES[self.storage])

    def all_launch(self, name: str, size: int, *arguments: Any) -> Call:
        """Return the launch of a kernel that strides through `size` elements."""
        return self.strided(self._kernel(name), size, *arguments)

    def enter(self) -> list[Call]:
        """Return the calls ahead of the steps: inputs, and the state before."""
        weights, work = self.weights, self.work
        calls = [call for one in weights.values() for call in one.before()]
        calls.append(self.call("pre", self.x, weights[0].memory, work["pre"]))
        if self.static:
            calls.append(
                self.call("fixed", self.bottoms[2], weights[2].memory, work["fixed"])
            )
        cont, held = self.at(self.bottoms[1], 0), self.at(work["held"], 0)
        kept = [None] * 2 if self.op.expose_hidden else [*self.initial, None][:2]
        given = self.initial if self.op.expose_hidden else self.final
        begun = [*given, None][:2]
        calls.append(self.unit_launch("begin", *begun, *kept, cont, held))
        return calls

    def hold(self, step: int) -> Call:
        """Return the product of the state before a step."""
        held, pre = self.at(self.work["held"], step), self.at(self.work["pre"], step)
        return self.call("step", held, self.weights[self.hidden].memory, pre)

    def next_of(self, step: int) -> tuple[Array | None, Array | None]:
        """Return cont and held of the step behind a step, if there is one."""
        if step + 1 == self.steps:
            return None, None
        held = self.at(self.work["held"], step + 1)
        return self.at(self.bottoms[1], step + 1), held

    def final_of(self, step: int) -> list[Array | None]:
        """Return where the states go that a step leaves: behind the last, the final."""
        last = step + 1 == self.steps
        return [one if last else None for one in self.final]

    def release(self, step: int) -> list[Call]:
        """Return the product that gives the gradient of the state before a step."""
        if step == 0:
            return []
        dpre, carry = self.at(self.work["dpre"], step), self.work["carry"]
        return [self.call("carry", dpre, self.weights[self.hidden].memory, carry)]

    def leave(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls of all gradients that follow from `dpre`."""
        work, dpre = self.work, self.work["dpre"]
        calls = self.weight_gradient(0, dpre, self.x, accumulate)
        calls += self.bias_gradient(1, dpre, accumulate)
        calls += self.weight_gradient(self.hidden, dpre, work["held"], accumulate)
        if self.dx is not None:
            calls.append(self.call("x", dpre, self.weights[0].memory, self.dx))
        dstatic = self.dbottoms[2] if self.static else None
        if self.static and (self.dparams[2] is not None or dstatic is not None):
            total, size = work["total"], self.streams * self.width
            calls.append(
                self.all_launch("sum_steps", size, dpre, total, self.steps, size)
            )
            calls += self.weight_gradient(2, total, self.bottoms[2], accumulate)
            if dstatic is not None:
                weights = self.weights[2].memory
                calls.append(self.call("static", total, weights, dstatic))
        return calls

    def weight_gradient(
        self, slot: int, gradients: Blob, rows: Blob, accumulate: Sequence[bool]
    ) -> list[Call]:
        """Return the product that is the gradient of weights."""
        out = self.dparams[slot]
        if out is None:
            return []
        name = f"weights {slot} {int(accumulate[slot])}"
        return [self.call(name, gradients, rows, out)]

    def bias_gradient(
        self, slot: int, gradients: Array, accumulate: Sequence[bool]
    ) -> list[Call]:
        """Return the calls that sum up the gradient of a bias."""
        out = self.dparams[slot]
        if out is None:
            return []
        matrix, sums, add = self.matrix(gradients), self.work["sums"], accumulate[slot]
        return column_sum(self, self.columns, matrix, out, sums, accumulate=add)
