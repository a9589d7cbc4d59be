"""A batch in equal parts, whose gradients add up to that of the whole.

With k parts data layers bring batch_size / k items at a time and an iteration has
iter_size k passes, so that it sees the same items in the same order:

    loss(batch) = sum of loss(part i) / k;  dw(batch) = sum of dw(part i) / k

That holds where items do not meet but in the mean of a loss; what else there is in a
net is refused, see `netspec.graph.dividing`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from netspec.errors import SpecWarning, UnsupportedError
from netspec.graph import Graph, build_kept
from netspec.graph.dividing import (
    REFUSED,
    Parts,
    batches_of,
    check_divides,
    divisors,
    draws,
    refuse_layers,
    refuse_meetings,
    refused,
    summed,
)
from netspec.graph.recompute import LimitError
from netspec.nets.filter import keeps, kept_net
from netspec.notebooks import warn_user
from netspec.ops.base import Shape
from netspec.schema import LayerParameter, NetParameter, SolverParameter
from runtime.data.opening import DATA_LAYERS, open_sources
from runtime.data.source import Source
from runtime.training.solver_param import NetChoice

T = TypeVar("T")


@dataclass(frozen=True)
class FedParts:
    """Parts of batches of which data fill the Input layers with tops `inputs`."""

    parts: Parts | None
    inputs: frozenset[str]


def may_divide(net: NetParameter, fed: Collection[str] = ()) -> bool:
    """Tell at a glance whether a net has data layers, and none that is refused."""
    types = {
        layer.type
        for layer in net.layer
        if not (layer.type == "Input" and set(layer.top) <= set(fed))
    }
    data = bool(fed) or not types.isdisjoint(DATA_LAYERS)
    return data and types.isdisjoint(REFUSED)


class Division:
    """A net to train whose batches can be divided; `batches` has their sizes.

    Raises `UnsupportedError` that names the layer because of which parts would train
    otherwise than the whole, and what reading the net raises.
    """

    def __init__(self, choice: NetChoice, seed: int, fed: Collection[str] = ()) -> None:
        self._choice = choice
        kept = kept_net(choice.net, choice.state)
        refuse_layers(kept.message, fed)
        sources = open_sources(kept.message, choice.state, seed)
        try:
            shapes = {
                top: shape
                for layer in kept.message.layer
                if layer.name in sources
                for top, shape in zip(
                    layer.top, sources[layer.name].shapes, strict=True
                )
            }
            graph = build_kept(kept, shapes=shapes)
            self._shapes = shapes
            _refuse_sources(graph, sources)
            self.batches = batches_of(graph)
        finally:
            for source in sources.values():
                source.close()
        refuse_meetings(graph)
        self._sums = summed(graph)
        self._draws = draws(graph)

    def divisors(self) -> list[int]:
        """Return the numbers of parts that can be, from 1 on."""
        return divisors(self.batches.values())

    def shapes(self, parts: int) -> dict[str, Shape]:
        """Return the shapes of the tops of data layers that bring a part."""
        return {
            top: (shape[0] // parts, *shape[1:]) for top, shape in self._shapes.items()
        }

    def net(self, parts: int) -> NetChoice:
        """Return the net that takes a part at a time.

        Raises `SpecError` where a batch cannot be divided so.
        """
        net = NetParameter()
        net.CopyFrom(self._choice.net)
        for layer in net.layer:
            if not keeps(self._choice.state, layer):
                continue
            if layer.name in self.batches:
                self._divide(layer, parts)
            tops, sums = self._sums.get(layer.name, (0, set[int]()))
            if sums and not layer.loss_weight:  # of a loss: 1 for its first top
                layer.loss_weight.extend([1.0] + [0.0] * (tops - 1))
            for top in sums:
                layer.loss_weight[top] *= parts
        return NetChoice(net, self._choice.state)

    def _divide(self, layer: LayerParameter, parts: int) -> None:
        batch = self.batches[layer.name]
        check_divides(layer, batch, parts)
        if layer.type == "Input":
            for shape in layer.input_param.shape:
                shape.dim[0] //= parts
            return
        if layer.type == "DummyData":
            for shape in layer.dummy_data_param.shape:
                shape.dim[0] //= parts
            sizes: Any = layer.dummy_data_param.num
            sizes[:] = [size // parts for size in sizes]
            return
        for field, param in layer.ListFields():
            if field.name.endswith("_param") and hasattr(param, "batch_size"):
                param.batch_size = batch // parts

    def warn(self) -> None:
        """Warn of layers that draw other numbers for parts than for the whole."""
        if self._draws:
            warn_user(
                f"micro_batch: {', '.join(self._draws)} draw other numbers for the "
                f"parts of a batch than for the whole, so that results are alike and "
                f"not equal",
                SpecWarning,
            )


# What brings pictures: those of a batch have one size, and so have its parts.
PICTURES = ("Data", "ImageData")


def _refuse_sources(graph: Graph, sources: Mapping[str, Source]) -> None:
    """Refuse what brings data of which nobody knows how to divide them."""
    for node in graph.nodes:
        known = node.type in DATA_LAYERS or node.type in ("DummyData", "Input")
        if node.op.is_source and not known:
            raise refused(node.layer, "is no source of items")
        varies = getattr(sources.get(node.name), "varies", False)
        if varies and node.type not in PICTURES:
            raise refused(node.layer, "brings batches of several sizes")


def divide_solver(param: SolverParameter, parts: int) -> None:
    """Let a solver take so many passes where it took one.

    Gradients are clipped before they are divided by iter_size: what is a norm of the
    sum of whole batches is `parts` times as much of the sum of parts.
    """
    param.iter_size *= parts
    if param.clip_gradients > 0 and parts > 1:
        param.clip_gradients *= parts


def build_divided(
    choice: NetChoice,
    parts: Parts,
    seed: int,
    build: Callable[[NetChoice], T],
    check: Callable[[NetChoice, Mapping[str, Shape]], None],
    fed: Collection[str] = (),
) -> tuple[int, T]:
    """Build the nets of a solver; return the number of parts, and what was built.

    build: makes them, or raises `LimitError` where the limit of memory cannot be met.
    check: raises it from the net alone, and the shapes of its data. fed: the tops of
    Input layers that data fill. "auto" takes the smallest number of parts for which
    neither does.
    """
    if parts == 1:
        return 1, build(choice)
    if parts != "auto":
        division = Division(choice, seed, fed)
        built = build(division.net(parts))
        division.warn()
        return parts, built
    try:
        division = Division(choice, seed, fed)
    except UnsupportedError as error:
        return 1, _undivided(choice, build, error)
    missed: list[LimitError] = []
    able = division.divisors()
    for k in able:
        part = choice if k == 1 else division.net(k)
        try:
            check(part, division.shapes(k))
            built = build(part)
        except LimitError as error:
            missed.append(error.with_traceback(None))
            continue
        if k > 1:
            division.warn()
        return k, built
    least = min(missed, key=lambda one: one.least)
    if able == [1]:
        raise least
    raise least.replaced(text=f"{least.text} (with micro_batch up to {able[-1]})")


def _undivided(
    choice: NetChoice, build: Callable[[NetChoice], T], why: UnsupportedError
) -> T:
    """Build a net that cannot be divided, or say both why it must be and why not."""
    try:
        return build(choice)
    except LimitError as error:
        told = f"{why.text}; and undivided {error.text}"
    raise why.replaced(text=told).with_traceback(None) from None
