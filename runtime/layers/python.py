"""Layers written in Python: what calls them."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.errors import UnsupportedError
from netspec.ops.base import label
from netspec.ops.python import Python as PythonOp
from runtime.layers.base import Kernel, register


@register
class Python(Kernel[PythonOp]):
    """Calls the object of a layer written in Python.

    The object belongs to the net, not to the kernel: it outlives every plan.

    Shapes: as its code says.
    """

    types = ("Python",)

    def setup(self) -> None:
        """Find the object."""
        hosts = self.context.python
        if hosts is None:
            raise UnsupportedError(
                "code in Python runs in a Net only; make one with allow_python",
                layer=label(self.op.layer),
            )
        self._hosted = hosts.of(self.op.layer)

    def refill(self) -> None:
        """Give the object its arrays."""
        self._hosted.bind(self)

    def forward(self) -> None:
        """Call reshape and forward."""
        self._hosted.forward()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Call backward."""
        self._hosted.backward(accumulate)
