"""`Converted`: a kernel among blobs that lie elsewhere than it wants them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netspec.graph import Node
from netspec.ops import Shape
from netspec.ops.base import count
from runtime.arrays import ArraySpec
from runtime.backends.cuda.layer import STORAGE, CudaLayer, Wanted
from runtime.backends.cuda.tensor import (
    CARRIERS,
    PLAIN,
    Blob,
    Place,
    conversion,
    made,
)
from runtime.layers.base import Bound, Context, Kernel

# What takes its blobs as they lie, as it does no arithmetic: it uploads or downloads.
ANYWHERE = frozenset({"Input", "Data", "ImageData", "HDF5Data", "MemoryData"}) | {
    "AnnotatedData",
    "DenseImageData",
    "ImageLabelmapData",
    "ImageSegData",
    "VideoData",
    "WindowData",
    "DummyData",
    "HDF5Output",
    "Silence",
}


class Converted(Kernel[Any]):
    """A kernel and, around its steps, the conversions of its blobs.

    `settle` tells where the blobs lie; until then they are plain arrays. What lies as
    the kernel wants it is passed on; for the rest it gets scratch arrays. A portable
    kernel wants plain arrays.
    """

    backend: Any  # the `CudaBackend`

    def __init__(
        self, make: Callable[[Node, Context], Kernel[Any]], node: Node, context: Context
    ) -> None:
        super().__init__(node, context)
        self.inner = make(node, context)
        own = isinstance(self.inner, CudaLayer)
        self.wanted = type(self.inner).wanted(node) if own else None  # type: ignore[attr-defined]
        op = node.op
        self.settle([PLAIN] * len(op.bottoms), [PLAIN] * len(op.tops))

    def settle(self, bottoms: Sequence[Place], tops: Sequence[Place]) -> None:
        """Take where the blobs lie, before any array is asked for."""
        self._given = {"bottom": list(bottoms), "top": list(tops)}
        if self.wanted is None:
            anywhere = self.node.type in ANYWHERE
            places = self._given if anywhere else {}
            self._inner_places = {
                "bottom": list(places.get("bottom", [PLAIN] * len(bottoms))),
                "top": list(places.get("top", [PLAIN] * len(tops))),
            }
            return
        storage = STORAGE[self.context.precision]
        pairs = zip(("bottom", "top"), self.wanted, strict=True)
        loose = [
            given
            for kind, wanted in pairs
            for given, order, half in zip(
                self._given[kind], wanted.orders, wanted.half, strict=True
            )
            if order is None and half
        ]
        order = "last" if any(one.order == "last" for one in loose) else "first"
        halved = bool(loose) and all(one.storage == storage for one in loose)
        common = Place(order, storage if halved else "float32")  # type: ignore[arg-type]
        self._inner_places = {
            kind: _inner(wanted, storage, common)
            for kind, wanted in zip(("bottom", "top"), self.wanted, strict=True)
        }

    @property
    def converts(self) -> bool:
        """Whether any blob lies elsewhere than the kernel wants it."""
        return any(
            self._differs(kind, index)
            for kind, places in self._given.items()
            for index in range(len(places))
        )

    def _differs(self, kind: str, index: int) -> bool:
        inner = self._inner_places[kind][index]
        return not self._given[kind][index].equals(inner, self._shape(kind, index))

    def _shape(self, kind: str, index: int) -> Shape:
        op = self.node.op
        return op.bottoms[index] if kind == "bottom" else op.tops[index]

    # ------------------------------------------------------------ arrays

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the kernel's arrays and for those that are converted to."""
        wanted = dict(self.inner.arrays())
        for kind, places in self._given.items():
            for index in range(len(places)):
                if not self._differs(kind, index):
                    continue
                place = self._inner_places[kind][index]
                size = (count(self._shape(kind, index)),)
                spec = ArraySpec(size, CARRIERS[place.storage])
                wanted[f"{kind} {index}"] = spec
                wanted[f"gradient of {kind} {index}"] = spec
        return wanted

    def bind(self, bound: Bound) -> None:
        """Bind the kernel to its blobs, converted ones where they differ."""
        super().bind(bound)
        bottoms = self._blobs("bottom", "{kind} {index}", bound.bottoms, ())
        pairs = zip(bound.bottoms, bottoms, strict=True)
        tops = self._blobs("top", "{kind} {index}", bound.tops, list(pairs))
        named = "gradient of {kind} {index}"
        dbottoms = self._blobs("bottom", named, bound.dbottoms, ())
        pairs = zip(bound.dbottoms, dbottoms, strict=True)
        dtops = self._blobs("top", named, bound.dtops, list(pairs))
        inner = dataclasses.replace(
            bound,
            bottoms=tuple(bottoms),
            tops=tuple(tops),
            dbottoms=tuple(dbottoms),
            dtops=tuple(dtops),
        )
        self.inner.bind(inner)
        op = self.node.op
        reads = [bottoms[i] for i in op.backward_bottoms]
        reads += [tops[i] for i in op.backward_tops]
        data = [*zip(bound.bottoms, bottoms, strict=True)]
        results = [*zip(bound.tops, tops, strict=True)]
        self._before = self._conversions(data)
        self._after = self._conversions([(b, a) for a, b in results])
        self._before_gradient = self._conversions(
            [
                *(pair for pair in (*data, *results) if _among(pair[1], reads)),
                *zip(bound.dtops, dtops, strict=True),
            ]
        )
        self._after_gradient = self._conversions(
            [(b, a) for a, b in zip(bound.dbottoms, dbottoms, strict=True)]
        )

    def _blobs(
        self,
        kind: str,
        name: str,
        blobs: Sequence[Blob | None],
        known: Sequence[tuple[Blob, Blob]],
    ) -> list[Blob | None]:
        """Return what the kernel gets; a blob that is known gets what it has."""
        result: list[Blob | None] = []
        for index, blob in enumerate(blobs):
            same = [other for one, other in known if blob is not None and one is blob]
            if same:
                result.append(same[0])
            elif blob is None or not self._differs(kind, index):
                result.append(blob)
            else:
                memory = self.work[name.format(kind=kind, index=index)]
                place = self._inner_places[kind][index]
                result.append(_in_memory(memory, blob.shape, place))
        return result

    def _conversions(self, pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
        launches: list[Any] = []
        done: list[Any] = []
        for source, target in pairs:
            if source is None or target is None or source is target:
                continue
            if not _among(target, done):
                launches.append(conversion(self.backend.device, source, target))
                done.append(target)
        return launches

    # ------------------------------------------------------------ steps

    def forward(self) -> None:
        """Convert, run the kernel, convert back."""
        for call in self._before:
            call()
        self.inner.forward()
        for call in self._after:
            call()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Convert, run the kernel, convert back."""
        for call in self._before_gradient:
            call()
        self.inner.backward(accumulate)
        for call in self._after_gradient:
            call()

    def forward_calls(self) -> Sequence[Any] | None:
        """Return the kernel's calls between conversions, if it has any."""
        calls = self.inner.forward_calls()
        return None if calls is None else [*self._before, *calls, *self._after]

    def backward_calls(self, accumulate: Sequence[bool]) -> Sequence[Any] | None:
        """Return the kernel's calls between conversions, if it has any."""
        calls = self.inner.backward_calls(accumulate)
        if calls is None:
            return None
        return [*self._before_gradient, *calls, *self._after_gradient]

    @property
    def found(self) -> Any:
        """What the kernel had found before it asked for other shapes."""
        return self.inner.found

    @found.setter
    def found(self, what: Any) -> None:
        self.inner.found = what

    def refill(self) -> None:
        """Fill what stays in the blobs."""
        self.inner.refill()

    def take_over(self, other: Kernel[Any]) -> None:
        """Take what the kernel of the same node in another plan knows of its pass."""
        self.inner.take_over(bare(other))

    def go_on_from(self, other: Kernel[Any]) -> None:
        """Take what lasts from pass to pass from the kernel of an older plan."""
        self.inner.go_on_from(bare(other))


def bare(kernel: Kernel[Any]) -> Kernel[Any]:
    """Return the kernel inside its conversions."""
    return kernel.inner if isinstance(kernel, Converted) else kernel


def _inner(wanted: Wanted, storage: Any, common: Place) -> list[Place]:
    places = []
    for order, half in zip(wanted.orders, wanted.half, strict=True):
        if order is not None:
            places.append(Place(order, storage if half else "float32"))
        elif half:
            places.append(common)
        else:
            places.append(Place(common.order, "float32"))
    return places


def _in_memory(memory: Any, shape: Shape, place: Place) -> Blob:
    def cut(size: Shape, dtype: str) -> Any:
        return memory.reshape(size)

    return made(cut, shape, place, "float32")


def _among(blob: Blob, blobs: Iterable[Blob]) -> bool:
    return any(blob is one for one in blobs)
