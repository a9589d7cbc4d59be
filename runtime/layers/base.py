"""`Kernel`, the arithmetic of one node: the contract of every file in this folder.

A `Kernel` is made from a `Node` of the graph, says which extra arrays it wants, is
bound once to its arrays, and from then on only runs: `forward()` and
`backward(accumulate)` read no proto, compute no shape and allocate no array.

The kernels here are written with `backend.xp`, the array module, and the few
`Primitives`, so that they run on every backend and are the oracle for the faster ones
that a backend may put in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from netspec.ops import Op, Shape
from netspec.schema import TRAIN
from runtime.arrays import Array, ArraySpec
from runtime.distributed import Communicator
from runtime.primitives import Primitives

if TYPE_CHECKING:
    from netspec.graph import Node

OpT = TypeVar("OpT", bound=Op)


@dataclass
class Clock:
    """Counts the forward passes of a net; the only mutable input of random kernels.

    Of several processes that train together each does every so many of the passes of
    one: it begins with number `first` and goes on by `step`.
    """

    value: int = 0
    step: int = 1
    first: int = 0

    def go_on(self) -> None:
        """Count a pass."""
        self.value += self.step


@dataclass(frozen=True)
class Context:
    """What all kernels of one net share."""

    backend: Primitives
    dtype: str = "float32"
    seed: int = 0
    clock: Clock = field(default_factory=Clock)
    sources: Mapping[str, Any] = field(default_factory=dict)  # data layer -> Source
    python: Any = None  # PythonLayers, which has the objects of Python layers
    precision: str = "float32"  # of products and of what blobs are stored as
    ranks: Communicator | None = None  # over whose batches BatchNorm has statistics


@dataclass(frozen=True)
class Bound:
    """The arrays of one node. A gradient that is not wanted is None."""

    bottoms: tuple[Array, ...]
    tops: tuple[Array, ...]
    dbottoms: tuple[Array | None, ...]
    dtops: tuple[Array | None, ...]
    params: tuple[Array, ...]
    dparams: tuple[Array | None, ...]
    work: Mapping[str, Array]
    lasting: frozenset[str] = frozenset()  # of `work`, what outlives the step


class TopsChanged(Exception):
    """Raised by `forward` where the tops need other shapes than they have.

    The net gives them these shapes, and everything above the layer as it was, and runs
    the layer again, where `Kernel.found` is what it has found already. A layer that is
    `done` keeps its tops itself until they have their place; the net asks it for their
    shapes and goes on behind it.
    """

    def __init__(
        self,
        node: int,
        shapes: tuple[Shape, ...],
        *,
        done: bool = False,
        found: Any = None,
    ) -> None:
        super().__init__(f"the tops of node {node} need shapes {shapes}")
        self.node = node
        self.shapes = shapes
        self.done = done
        self.found = found


class Kernel(Generic[OpT]):
    """The arithmetic of one node.

    A bottom and a top may be the same array (an in-place layer), and so may their
    gradients. `backward` stores into `dbottoms` and, for each parameter gradient i,
    stores where `accumulate[i]` is false and adds where it is true.
    """

    types: ClassVar[tuple[str, ...]] = ()
    refused_spoils: ClassVar[bool] = False  # the first top: what it refuses makes NaN
    again = False  # whether `forward` repeats one: what it counts is counted already
    found: Any = None  # by `forward` before it had to ask for other shapes

    def __init__(self, node: Node, context: Context) -> None:
        self.node = node
        self.op: OpT = node.op  # type: ignore[assignment]
        self.context = context
        self.backend = context.backend
        self.xp = context.backend.xp
        self.train = node.phase == TRAIN

    def arrays(self) -> dict[str, ArraySpec]:
        """Return the extra arrays this kernel wants, by name."""
        return {}

    def bind(self, bound: Bound) -> None:
        """Take the arrays and prepare every view that the steps need."""
        self.bottoms, self.tops = bound.bottoms, bound.tops
        self.dbottoms, self.dtops = bound.dbottoms, bound.dtops
        self.params, self.dparams = bound.params, bound.dparams
        self.work, self.lasting = bound.work, bound.lasting
        self.setup()

    def setup(self) -> None:
        """Make views and constants; called once, at the end of `bind`."""

    def refill(self) -> None:
        """Fill what stays in the blobs: their memory has had other contents.

        It comes ahead of the first pass, and of each that follows passes of the net
        with other shapes.
        """

    def take_over(self, other: Kernel[OpT]) -> None:
        """Take what the kernel of the same node in another plan knows of its pass."""
        for name in self.lasting:
            mine, theirs = self.work[name], other.work[name]
            if not self.backend.same_memory(mine, theirs):
                mine[...] = theirs

    def resized(self, bottoms: tuple[Array, ...], tops: tuple[Array, ...]) -> None:
        """Take arrays with other numbers of rows, where the op is `resizable`."""
        self.bottoms, self.tops = bottoms, tops

    def go_on_from(self, other: Kernel[OpT]) -> None:
        """Take what lasts from pass to pass from the kernel of the plan before.

        That may be the same kind of plan again: what lasts is what `other` has, or
        what it is at the start, and not what was left here.
        """

    def forward(self) -> None:
        """Compute the tops from the bottoms and the parameters."""
        raise NotImplementedError

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients from `dtops`."""
        raise NotImplementedError

    def forward_calls(self) -> Sequence[Any] | None:
        """Return calls that the backend can join with others; None: only `forward`."""
        return None

    def backward_calls(self, accumulate: Sequence[bool]) -> Sequence[Any] | None:
        """Return calls that do what `backward` does; None: there are none."""
        return None

    @property
    def x(self) -> Array:
        """The data of the first bottom."""
        return self.bottoms[0]

    @property
    def y(self) -> Array:
        """The data of the first top."""
        return self.tops[0]

    @property
    def dx(self) -> Array | None:
        """The gradient of the first bottom, or None."""
        return self.dbottoms[0]

    @property
    def dy(self) -> Array:
        """The gradient of the first top."""
        return self.dtops[0]


_KERNELS: dict[str, type[Kernel[Any]]] = {}


def register(kernel: type[Kernel[Any]]) -> type[Kernel[Any]]:
    """Class decorator: make `kernel` the portable arithmetic of its `types`."""
    for name in kernel.types:
        if name in _KERNELS:
            raise TypeError(f"two portable kernels for layer type {name!r}")
        _KERNELS[name] = kernel
    return kernel


def portable_kernels() -> Mapping[str, type[Kernel[Any]]]:
    """Return the portable kernel of every layer type that has one."""
    return _KERNELS
