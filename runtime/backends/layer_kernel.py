"""A layer made of calls: what the kernels of every device have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Protocol

from netspec.graph import Node
from netspec.ops import Op
from runtime.layers.base import Bound, Kernel, OpT

COMMON = {field.name for field in fields(Op)}  # what every layer has


class CallRunner(Protocol):
    """What a compiled layer asks of its backend beside the primitives.

    threads: how many run a call; each needs a part of the scratch memory.
    """

    threads: int

    def runner(self, calls: Sequence[Any]) -> Callable[[], None]:
        """Return a function that runs compiled calls in order."""


class LayerKernel(Kernel[OpT]):
    """A kernel whose steps are lists of calls that its backend runs.

    options: the fields of its op that it honours, or that `suits` looks at. A node
    whose op has another field, whatever its value, runs on the portable kernel: an
    option that is new to a layer type is never ignored.
    """

    options: ClassVar[tuple[str, ...]] = ()
    backend: CallRunner  # type: ignore[assignment]  # it is both

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether this kernel knows all options of a node and suits their values."""
        op: OpT = node.op  # type: ignore[assignment]
        return has_only(op, cls.options) and cls.suits(op)

    @classmethod
    def suits(cls, op: OpT) -> bool:
        """Whether this kernel can do what an op says, all of whose options it knows."""
        return True

    def forward_calls(self) -> list[Any]:
        """Return the calls of `forward`."""
        raise NotImplementedError

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Any]:
        """Return the calls of `backward`."""
        raise NotImplementedError

    def bind(self, bound: Bound) -> None:
        """Take the arrays and prepare every view that the steps need."""
        super().bind(bound)
        self._runners: dict[tuple[bool, ...] | None, Callable[[], None]] = {}

    def forward(self) -> None:
        """Compute the tops from the bottoms and the parameters."""
        if None not in self._runners:
            self._runners[None] = self.backend.runner(self.forward_calls())
        self._runners[None]()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients from `dtops`."""
        flags = tuple(accumulate)
        if flags not in self._runners:
            self._runners[flags] = self.backend.runner(self.backward_calls(flags))
        self._runners[flags]()


class PreparedKernel(LayerKernel[OpT]):
    """One that reads a blob on the host ahead of its calls, and so is not joined."""

    def prepare(self) -> None:
        """Read what the calls of `forward` need to know."""
        raise NotImplementedError

    def prepare_gradient(self) -> None:
        """Read what those of `backward` do; another plan may have run `forward`."""
        self.prepare()

    def own_calls(self) -> list[Any]:
        """Return the calls of `forward`."""
        raise NotImplementedError

    def gradient_calls(self) -> list[Any]:
        """Return the calls of `backward`."""
        raise NotImplementedError

    def forward_calls(self) -> None:  # type: ignore[override]
        """Return none: `forward` has more to do."""

    def backward_calls(  # type: ignore[override]
        self, accumulate: Sequence[bool]
    ) -> None:
        """Return none: `backward` has more to do."""

    def forward(self) -> None:
        """Compute the tops from the bottoms."""
        self.prepare()
        self._run((), self.own_calls)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the gradient of the first bottom."""
        if self.dx is not None:
            self.prepare_gradient()
            self._run((True,), self.gradient_calls)

    def _run(self, key: tuple[bool, ...], calls: Callable[[], list[Any]]) -> None:
        if key not in self._runners:
            self._runners[key] = self.backend.runner(calls())
        self._runners[key]()


def has_only(op: Op, options: Collection[str]) -> bool:
    """Whether an op has no field but those of every layer and these."""
    return {field.name for field in fields(op)} <= COMMON | set(options)
