"""What the writers of layers write with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np

from netspec.errors import UnsupportedError
from netspec.graph import Node
from netspec.onnx.writing.draft import Draft
from netspec.onnx.writing.values import Body, Piece, Value
from netspec.ops.base import Op, Shape, count, label

FLOAT = 1  # ONNX's numbers of types of values
INT64 = 7
BOOL = 9
FAR = 2**31 - 1  # an end of a slice that no axis reaches

_T = TypeVar("_T")
Writer: TypeAlias = Callable[["Layer"], "Value | Sequence[Value]"]
WRITERS: dict[str, Writer] = {}


def writes(*types: str) -> Callable[[Writer], Writer]:
    """Register the decorated function as the writer of the layer `types`.

    It returns the value of the top, or one for every top.
    """

    def register(function: Writer) -> Writer:
        for name in types:
            if name in WRITERS:
                raise TypeError(f"two writers of layer type {name!r}")
            WRITERS[name] = function
        return function

    return register


class Layer:
    """One layer while it is written.

    op: the layer. other: the same with another batch, where the model is to take any;
    what differs between the two is not known before the model runs. bottoms: values.
    """

    def __init__(
        self,
        draft: Draft,
        node: Node,
        other: Op | None,
        bottoms: Sequence[Value],
    ) -> None:
        self.draft, self.node, self.other = draft, node, other
        self.bottoms = bottoms
        self.op: Any = node.op
        self.opset = draft.opset

    @property
    def x(self) -> Value:
        """The first bottom."""
        return self.bottoms[0]

    def refused(self, why: str) -> UnsupportedError:
        """Return the error that says why ONNX has nothing equal to this layer."""
        return UnsupportedError(
            f"cannot be written as ONNX: {why}", layer=label(self.node.layer)
        )

    def several(
        self, outputs: int, kind: str, *inputs: Value | None, **attributes: Any
    ) -> list[Value]:
        """Add a node with several outputs and return them."""
        made = [Value(f"{self.node.name}/{kind}") for _ in range(outputs)]
        piece = Piece(kind, inputs, made, attributes, self.node.index)
        self.draft.pieces.append(piece)
        return made

    def add(self, kind: str, *inputs: Value | None, **attributes: Any) -> Value:
        """Add a node and return its output."""
        return self.several(1, kind, *inputs, **attributes)[0]

    def constant(self, array: Any, dtype: str = "float32", hint: str = "") -> Value:
        """Return a constant."""
        name = f"{self.node.name}/{hint or 'constant'}"
        return self.draft.constant(np.asarray(array, dtype, order="C"), name)

    def number(self, value: float) -> Value:
        """Return a scalar."""
        with np.errstate(over="ignore"):  # infinite is what float arithmetic has, too
            array = np.array(value, np.float64).astype(np.float32)
        return self.draft.constant(array, f"number_{value:g}")

    def integers(self, *values: int) -> Value:
        """Return a list of integers, as shapes and axes are."""
        said = "_".join(map(str, values))
        return self.draft.constant(np.array(values, np.int64), f"integers_{said}")

    def array(self, slot: int) -> np.ndarray:
        """Return the values of a parameter, in the shape that this layer gives it."""
        shape = self.op.params[slot].shape
        return self.draft.array(self.node.params[slot]).reshape(shape)

    def parameter(self, slot: int, shape: Shape | None = None) -> Value:
        """Return a parameter, in its own shape or another one."""
        shape = self.op.params[slot].shape if shape is None else shape
        value, fits = self.draft.parameter(self.node.params[slot], shape)
        return value if fits else self.add("Reshape", value, self.integers(*shape))

    def derived(self, slots: Sequence[int], what: str, make: Callable[[], _T]) -> _T:
        """Return what `make` returns, once for all layers that share parameters."""
        key = (what, *(self.node.params[slot] for slot in slots))
        made: _T = self.draft.derived(key, make)
        return made

    def same(self, what: str, tell: Callable[[Any], _T]) -> _T:
        """Return what does not depend on the batch; refuse what does."""
        value = tell(self.op)
        if self.other is not None and tell(self.other) != value:
            raise self.refused(
                f"{what} depends on the batch, which is to be dynamic; it is {value} "
                f"here. Fix the batch with a number"
            )
        return value

    def is_known(self, tell: Callable[[Any], int]) -> bool:
        """Tell whether a size does not depend on the batch."""
        return self.other is None or tell(self.other) == tell(self.op)

    def reshape(
        self,
        x: Value,
        target: Callable[[Any], Shape],
        source: Callable[[Any], Shape] = lambda op: op.bottoms[0],
    ) -> Value:
        """Return x in another shape.

        target, source: the new shape and that of x, from the op.
        """
        wanted, given = target(self.op), source(self.op)
        if wanted == given and (
            self.other is None or target(self.other) == source(self.other)
        ):
            return x
        return self.add("Reshape", x, self.integers(*self._sizes(target, source)))

    def _sizes(
        self, target: Callable[[Any], Shape], source: Callable[[Any], Shape]
    ) -> list[int]:
        """Return the second input of a Reshape: 0 copies a size, -1 is inferred."""
        sizes = list(target(self.op))
        if self.other is None:
            return sizes
        after = list(zip(sizes, target(self.other), strict=True))
        before = list(zip(source(self.op), source(self.other), strict=True))
        inferred = 0
        for place, pair in enumerate(after):
            if pair[0] == pair[1]:
                continue
            if place < len(before) and before[place] == pair:
                sizes[place] = 0
            else:
                sizes[place] = -1
                inferred += 1
        if inferred > 1:
            raise self.refused(
                f"the new shape {tuple(target(self.op))} has two sizes that depend on "
                f"the batch, which is to be dynamic. Fix the batch with a number"
            )
        return sizes

    def reduce(self, kind: str, x: Value, axes: Sequence[int], keep: bool) -> Value:
        """Return x reduced over some axes, which older opsets have as an attribute."""
        if kind == "ReduceSum" or self.opset >= 18:
            return self.add(kind, x, self.integers(*axes), keepdims=int(keep))
        return self.add(kind, x, axes=list(axes), keepdims=int(keep))

    def reduce_last(
        self,
        kind: str,
        x: Value,
        first: int,
        keep: bool,
        source: Callable[[Any], Shape] = lambda op: op.bottoms[0],
    ) -> Value:
        """Return x reduced over its axes from `first` on; source: its shape.

        Three and more, and all, become one axis before: OpenCV 4.14 reduces three to
        other values, and ends the process for all.
        """
        rank = len(source(self.op))
        if first and rank - first < 3:
            return self.reduce(kind, x, range(first, rank), keep)
        ones = (1,) * (rank - first - 1) if keep else ()

        def joined(op: Any) -> Shape:
            shape = source(op)
            return (*shape[:first], *ones, count(shape, first))

        x = self.reshape(x, joined, source)
        return self.reduce(kind, x, [first + len(ones)], keep)

    def cut(
        self,
        x: Value,
        starts: Sequence[int],
        ends: Sequence[int],
        axes: Sequence[int],
        steps: Sequence[int] = (),
    ) -> Value:
        """Return a part of x."""
        parts = [starts, ends, axes, *([steps] if steps else [])]
        return self.add("Slice", x, *(self.integers(*part) for part in parts))

    def affine(self, x: Value, scale: float, shift: float) -> Value:
        """Return scale x + shift."""
        if scale != 1:
            x = self.add("Mul", x, self.number(scale))
        return self.add("Add", x, self.number(shift)) if shift != 0 else x

    @contextmanager
    def body(self, *inputs: str) -> Iterator[Body]:
        """Let the nodes added within this block be those of a body."""
        body = Body([Value(f"{self.node.name}/{name}") for name in inputs])
        outside, self.draft.pieces = self.draft.pieces, body.pieces
        try:
            yield body
        finally:
            self.draft.pieces = outside
