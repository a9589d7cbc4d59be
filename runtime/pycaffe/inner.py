"""Names of pycaffe's `Net` that begin with an underscore, and calls around layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from netspec.errors import ShapeError, SpecError
from runtime.execution import net as _net
from runtime.execution.blob import Blob
from runtime.execution.net_passes import Pass

Hook: TypeAlias = Callable[[int], Any]


class InnerNames(_net.Net):
    """What scripts use of pycaffe's `Net` beside its documented names.

    Numbers of layers are places in `_layer_names`, those of blobs places in
    `_blob_names`.
    """

    _hooks: dict[str, list[Hook]]

    @property
    def hooked(self) -> bool:  # type: ignore[override]
        """Whether somebody's code runs between layers."""
        return bool(self.__dict__.get("_hooks"))

    # ------------------------------------------------------------ numbers

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    def _top_ids(self, layer: int) -> list[int]:
        tops = self.top_names[self._layer_names[layer]]
        return [self._blob_names.index(name) for name in tops]

    def _bottom_ids(self, layer: int) -> list[int]:
        bottoms = self.bottom_names[self._layer_names[layer]]
        return [self._blob_names.index(name) for name in bottoms]

    # ------------------------------------------------------------ passes

    def _forward(self, start: int, end: int) -> float:
        """Run the layers `start` to `end` forward; return what they add to the loss."""
        self.make_gradients()
        first, last = self._number(start), self._number(end)
        self._take_shapes(first, last)
        self._run_forward(first, last)
        return self.loss_of(first, last)

    def _backward(self, start: int, end: int) -> None:
        """Run the layers `start` to `end` backward, from the later to the earlier."""
        last, first = self._number(start), self._number(end)
        self.make_gradients()
        self._check_gradients()
        self._check_shapes(first, last)
        self._run_pass("accumulate", first, last)

    def _number(self, layer: int) -> int:
        count = len(self.graph.nodes)
        if not 0 <= layer < count:
            raise SpecError(
                f"no layer has the number {layer}; the net has {count} layers, 0 to "
                f"{count - 1}, named in _layer_names"
            )
        return int(layer)

    def _set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        self.set_input_arrays(data, labels)

    def _batch(self, blobs: Mapping[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches that fill the net, the last one with zeros at its end."""
        for batch, _ in batches(self, blobs):
            yield batch

    # ------------------------------------------------------------ calls around layers

    def before_forward(self, call: Hook) -> None:
        """Call `call(i)` before layer number i runs forward, from now on."""
        self._add_hook("before_forward", call)

    def after_forward(self, call: Hook) -> None:
        """Call `call(i)` after layer number i has run forward, from now on."""
        self._add_hook("after_forward", call)

    def before_backward(self, call: Hook) -> None:
        """Call `call(i)` before layer number i runs backward, from now on."""
        self._add_hook("before_backward", call)

    def after_backward(self, call: Hook) -> None:
        """Call `call(i)` after layer number i has run backward, from now on."""
        self._add_hook("after_backward", call)

    def _add_hook(self, place: str, call: Hook) -> None:
        if not callable(call):
            raise SpecError(
                f"{place} takes a function of the number of a layer; got {call!r}"
            )
        self.make_gradients()
        self.forget_pass()
        hooks: dict[str, list[Hook]] = self.__dict__.setdefault("_hooks", {})
        hooks.setdefault(place, []).append(call)

    def _run_pass(
        self, kind: Pass, first: int, last: int, *, again: bool = False
    ) -> None:
        """Run a pass, layer by layer where something is called in between.

        Every layer is told, also one without work of its own in this pass, such as a
        Split; data is ready, and on the host, when a call looks at it.
        """
        hooks = self.__dict__.get("_hooks", {})
        way = "forward" if kind == "forward" else "backward"
        before, after = hooks.get(f"before_{way}", ()), hooks.get(f"after_{way}", ())
        if not before and not after:
            super()._run_pass(kind, first, last, again=again and not hooks)
            return
        layers = range(first, last + 1)
        for layer in layers if way == "forward" else reversed(layers):
            for call in before:
                call(layer)
            super()._run_pass(kind, layer, layer)
            self.backend.synchronize()
            for call in after:
                call(layer)


def batches(
    net: _net.Net, arrays: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield batches that fill the net, with how many of their items are not padding."""
    if not arrays:
        raise SpecError(f"give all of the inputs, {net.inputs}, by name")
    values = {name: np.asarray(value) for name, value in arrays.items()}
    lengths = {len(value) for value in values.values()}
    if len(lengths) > 1:
        raise ShapeError(f"all arrays need equal lengths; got {sorted(lengths)}")
    size = net.blobs[next(iter(values))].shape[0]
    for start in range(0, lengths.pop(), size):
        part = {name: value[start : start + size] for name, value in values.items()}
        count = len(next(iter(part.values())))
        if count < size:
            part = {name: _filled(value, size) for name, value in part.items()}
        yield part, count


def _filled(value: np.ndarray, size: int) -> np.ndarray:
    missing: Sequence[int] = (size - len(value), *value.shape[1:])
    return np.concatenate([value, np.zeros(missing, value.dtype)])
