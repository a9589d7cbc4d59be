"""Layers of `netspec.layer` in a net: their methods called with arrays of a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import Shape, label
from netspec.ops.own_layer import Definition
from netspec.ops.python import OwnPython, own_op
from netspec.schema import LayerParameter
from runtime.arrays import Array
from runtime.execution.python_layers.call import Call

if TYPE_CHECKING:
    from runtime.layers.base import Kernel


class OwnHosted:
    """One layer of `netspec.layer`; it has no state but its `Call`."""

    layer = None  # it has no blobs to show
    seen = None

    def __init__(self, definition: Definition) -> None:
        self._definition = definition

    def op(self, layer: LayerParameter, bottoms: tuple[Shape, ...]) -> OwnPython:
        """Return the op under bottoms of these shapes."""
        return own_op(self._definition, layer, bottoms)

    def forget(self) -> None:
        """Do nothing: shapes follow from the bottoms."""

    def hold(self, kernel: Kernel[Any]) -> None:
        """Do nothing: what lasts is not in blobs."""

    def bind(self, kernel: Kernel[Any]) -> None:
        """Take the arrays of a kernel."""
        node = kernel.node
        one = kernel.op.instance
        self._label = label(node.layer)
        self._name = self._definition.title
        self._forward = one.forward
        self._backward = getattr(one, "backward", None)
        before = getattr(self, "_call", None)
        self._call = call = Call(node.name, kernel.context, train=kernel.train)
        if isinstance(before, Call):
            call.go_on_from(before)  # shapes may change amid a pass
        call.bottoms, call.tops = kernel.bottoms, kernel.tops
        call.dbottoms, call.dtops = kernel.dbottoms, kernel.dtops
        call.wanted = node.propagate
        self._gradients: list[tuple[int, str, Array]] = []
        names = self._definition.learned
        pairs = zip(names, kernel.params, kernel.dparams, strict=True)
        for slot, (name, w, dw) in enumerate(pairs):
            setattr(call.learned, name, w)
            # Where nothing is learned there is an array all the same, to write into.
            setattr(call.gradients, name, call.xp.zeros_like(w) if dw is None else dw)
            if dw is not None:
                self._gradients.append((slot, name, dw))

    def forward(self) -> None:
        """Call `forward` and put what it returns into the tops."""
        call = self._call
        call.begin()
        try:
            given = self._forward(call, *call.bottoms)
        except Exception as error:
            self._told(error, "forward")
            raise
        if call.tops:
            self._store("forward", "top", given, call.tops, (True,) * len(call.tops))

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Call `backward` and put what it returns into the gradients of bottoms."""
        call = self._call
        for slot, name, dw in self._gradients:
            if accumulate[slot]:
                setattr(call.gradients, name, call.xp.zeros_like(dw))
            else:
                dw.fill(0)
        try:
            given = self._backward(call, *call.dtops)  # type: ignore[misc]
        except Exception as error:
            self._told(error, "backward")
            raise
        for slot, name, dw in self._gradients:
            if accumulate[slot]:
                call.xp.add(dw, getattr(call.gradients, name), out=dw)
                setattr(call.gradients, name, dw)
        if any(call.wanted):
            self._store("backward", "bottom", given, call.dbottoms, call.wanted)

    def _store(
        self,
        method: str,
        what: str,
        given: Any,
        targets: Sequence[Array | None],
        wanted: Sequence[bool],
    ) -> None:
        values = given if isinstance(given, tuple | list) else (given,)
        if len(values) != len(targets):
            raise SpecError(
                f"{method} of {self._name} returned {len(values)} arrays for "
                f"{len(targets)} {what}s; return one for each",
                layer=self._label,
            )
        for place, (value, target) in enumerate(zip(values, targets, strict=True)):
            if value is target or not wanted[place] or target is None:
                continue
            shape = getattr(value, "shape", ())
            if value is None:
                raise SpecError(
                    f"{method} of {self._name} returned None for {what} {place}; "
                    f"return an array of shape {target.shape}, which may be the "
                    f"{'gradient of the ' if method == 'backward' else ''}{what} "
                    f"itself after writing into it",
                    layer=self._label,
                )
            if shape != target.shape and not (_size(value) == target.size == 1):
                raise ShapeError(
                    f"{method} of {self._name} returned shape {shape} for {what} "
                    f"{place}; expected {target.shape}",
                    layer=self._label,
                )
            target[...] = value if shape == () else value.reshape(target.shape)

    def without_shape(self, _: str) -> str:
        """Say nothing: its class has told all shapes."""
        return ""

    def _told(self, error: Exception, method: str) -> None:
        error.add_note(f"{self._label}: raised in {method} of {self._name}")


def _size(value: Any) -> int:
    return int(getattr(value, "size", 1))
