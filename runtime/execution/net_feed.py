"""How a `Net` takes the batches of a data set into its Input layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from netspec.errors import SpecError, UnsupportedError
from netspec.graph import Graph
from netspec.graph.dividing import part_factors
from netspec.ops.base import Shape
from netspec.schema import TRAIN
from runtime.backends import Backend
from runtime.data.feeding import Feed, fed_layers
from runtime.data.given.base import Dataset
from runtime.data.given.parted import Parted
from runtime.data.source import Source
from runtime.execution.mirror import Mirror
from runtime.execution.plan import Plan
from runtime.layers.base import Clock, Context

_NOTHING = nullcontext()  # without a feed a step need not wait to make one


class NetFeed:
    """Feeding of a `Net`, and what it reads besides."""

    graph: Graph
    context: Context
    clock: Clock
    mirror: Mirror
    sources: dict[str, Source]
    _pending: dict[str, Shape]
    plan: Plan
    backend: Backend
    _feed: Feed | None = None
    _factors: Mapping[int, float] = {}  # of losses, by edge
    _fed = False  # whether passes take batches of the feed now
    _unfed: dict[str, Shape]  # the shapes of inputs before there was a feed

    def feed(
        self,
        data: Any,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        transform: Any = None,
    ) -> None:
        """Let each forward pass take a batch of some data into the Input layers.

            net.feed((x, y), batch_size=32)
            net.forward()  # of the first 32 items
            net.feed(None)  # by hand again

        The last batch of an epoch may be smaller. The arguments are those of
        `runtime.data.dataset.open_dataset`; the order follows from the seed of the net.

        data: for all inputs of the net; None ends it, and the inputs get the shapes
            back that they had.

        Raises what `open_dataset` raises.
        """
        from runtime.data.dataset import open_dataset

        self.end_feed()
        if data is None:
            return
        phase = {node.phase for node in self.graph.nodes}
        dataset = open_dataset(
            data,
            self.input_shapes,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=self.context.seed,
            transform=transform,
            phase=max(phase) if len(phase) == 1 else TRAIN,
        )
        self.feed_with(dataset, always=True)

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """The shapes of the tops of all Input layers, by name, in order."""
        shapes: dict[str, Shape] = {}
        for tops in self.input_tops.values():
            for top in tops:
                edge = self.graph.blobs[top]
                shapes[top] = self.graph.edges[edge].shape
        return shapes

    @property
    def input_tops(self) -> dict[str, list[str]]:
        """The tops of all Input layers, by layer."""
        return {
            node.name: list(node.layer.top)
            for node in self.graph.nodes
            if node.type == "Input"
        }

    def fed_layers(self, names: Sequence[str]) -> dict[str, Sequence[str]]:
        """Return the Input layers that blobs of these names are the tops of."""
        return fed_layers(self.input_tops, names)

    def feed_with(self, dataset: Dataset, *, always: bool) -> Feed:
        """Take the batches of a data set from now on, and return what delivers them.

        always: in every pass, and not only in those of a solver.
        """
        layers = self.fed_layers(dataset.names)
        on_host = self.context.backend.on_host
        feed = Feed(dataset, layers, always=always, direct=on_host)
        self.begin_feed(feed)
        return feed

    def begin_feed(self, feed: Feed) -> None:
        """Take batches of a feed from now on; `feed.always` says in which passes."""
        self.end_feed()
        self._unfed = self.input_shapes
        self._feed = feed
        feed.take_every(self.clock.step, self.clock.first)
        if feed.always:
            self._feed_on(feed, self.clock.first)

    def end_feed(self) -> None:
        """Let the caller fill the Input layers; they get back their shapes."""
        feed, self._feed = self._feed, None
        if feed is None:
            return
        self._feed_off(feed)
        feed.close()
        self._take_back_shapes()

    def rest_feed(self) -> None:
        """Give the inputs the shapes back that they have by hand; the feed stays."""
        if self._feed is not None and not self._feed.always:
            self._take_back_shapes()

    def _take_back_shapes(self) -> None:
        if self.input_shapes != self._unfed:
            self._pending.update(self._unfed)
            self._reshape(len(self.graph.nodes) - 1)

    def feeding(self) -> AbstractContextManager[None]:
        """Take batches in the passes of a block, if there is a feed."""
        feed = self._feed
        return _NOTHING if feed is None or feed.always else self._feeding(feed)

    @contextmanager
    def _feeding(self, feed: Feed) -> Iterator[None]:
        self._feed_on(feed, self.clock.value)
        try:
            yield
        finally:
            self._feed_off(feed)

    @property
    def its_feed(self) -> Feed | None:
        """What it takes batches of, in all passes or in those of a solver."""
        return self._feed

    @property
    def fed_items(self) -> int | None:
        """How many items the batch of the last pass had; None if nothing is fed."""
        return None if self._feed is None else self._feed.items

    @property
    def parts_vary(self) -> bool:
        """Whether it takes parts of batches that are not all equal."""
        dataset = None if self._feed is None else self._feed.dataset
        return isinstance(dataset, Parted) and dataset.varies

    @contextmanager
    def weighed(self) -> Iterator[None]:
        """Let losses count, in a pass backward and in `loss`, what a part is worth."""
        dataset = self._feed.dataset if self._fed and self._feed is not None else None
        factors = (1.0, 1.0)
        if isinstance(dataset, Parted):
            factors = dataset.factors(self.clock.value - 1)
        if factors == (1.0, 1.0):
            self._factors = {}
            yield
            return
        self._factors = part_factors(self.graph, *factors)
        self._weigh(self._factors)
        try:
            yield
        finally:
            self._weigh({})

    def _weigh(self, factors: Mapping[int, float]) -> None:
        for node in self.graph.nodes:
            for edge, weight in zip(node.tops, node.loss_weights, strict=True):
                gradient = self.plan.diff[edge]
                if weight != 0 and gradient is not None:
                    self.backend.fill(gradient, weight * factors.get(edge, 1.0))

    def refuse_by_hand(self, names: Any) -> None:
        """Refuse values for inputs that a feed fills in every pass."""
        if names and self._feed is not None and self._feed.always:
            raise SpecError(
                f"input {next(iter(names))!r} is fed by the data given to net.feed; "
                f"end that by net.feed(None) to give values by hand"
            )

    def take_every(self, step: int, first: int = 0) -> None:
        """Do the passes `first`, `first` + `step` and so on of a run of one process.

        What draws numbers and what reads data goes by the number of a pass, so that
        `step` nets together see what one net sees that does all passes. It begins anew.

        Raises `UnsupportedError` for a source of data that cannot skip batches.
        """
        if not 0 <= first < step:
            raise SpecError(f"take_every({step}, {first}): first must be below step")
        for name, source in self.sources.items():
            if not hasattr(source, "take_every"):
                raise UnsupportedError(
                    f"layer {name!r}: its source of data, {type(source).__name__}, has "
                    f"no take_every, and so cannot share its batches with other "
                    f"processes; write one, or make the source with `read_ahead`"
                )
        self.clock.value, self.clock.step, self.clock.first = first, step, first
        for source in self.sources.values():
            source.take_every(step, first)
        if self._feed is not None:
            self._feed.take_every(step, first)

    def close(self) -> None:
        """Close the data sources."""
        if self._feed is not None:
            self._feed.close()
        for source in self.sources.values():
            source.close()

    def _feed_on(self, feed: Feed, batch: int) -> None:
        for source in feed.sources.values():
            source.seek(batch)
        self.sources.update(feed.sources)
        self._fed = True

    def _feed_off(self, feed: Feed) -> None:
        for name in feed.sources:
            self.sources.pop(name, None)
        self._fed = False

    def _reshape(self, last: int, *, read: bool = False) -> None:
        raise NotImplementedError
