"""Whether ranks that train together see different data, where their code decides it.

Data layers, feeds and what is drawn on the net go by the number of the pass, so that
each rank has its own batches. What a script writes into Input layers, and what layers
in Python without bottoms read, is up to them.
"""

from __future__ import annotations

import zlib

from netspec.errors import NetspecError, SpecWarning, UnsupportedError
from netspec.graph import Node
from netspec.ops.base import label
from runtime.distributed import Communicator
from runtime.execution.net import Net
from runtime.training.divergence import warn
from runtime.training.ranks.carried import hidden_state, written

Sums = list[int | None]  # of the tops of a layer; None where nobody keeps them


class SharedData:
    """Looks once at what each rank has trained with.

    Raises `UnsupportedError` for a layer that writes its batches to a file, which all
    ranks would do.

    Warns, with `SpecWarning`, of hidden states that go on from batch to batch.
    """

    def __init__(self, net: Net, communicator: Communicator) -> None:
        self._net, self._communicator = net, communicator
        self._looked = False
        for node in net.graph.nodes:
            why = written(node)
            if why is not None:
                raise UnsupportedError(
                    f"{why}, and so would all {communicator.size} ranks that train "
                    f"together; leave it out of training (include: TEST)",
                    layer=label(node.layer),
                )
        state = hidden_state(net)
        if state is not None and communicator.rank == 0:
            warn(
                f"{state}, and the batch before is one of another of the "
                f"{communicator.size} ranks: each goes on from its own last batch; let "
                f"every batch begin its sequences (cont 0 at the first step)",
                SpecWarning,
            )

    def look(self) -> None:
        """After the first pass of all ranks, compare what their scripts gave them.

        Warns, with `SpecWarning` on rank 0, of a layer that has the same on several.
        """
        if self._looked:
            return
        self._looked = True
        given = self._given()
        if not given:
            return
        told = self._communicator.gather([self._sums(node) for node in given])
        if self._communicator.rank:
            return
        for place, node in enumerate(given):
            pair = _alike([sums[place] for sums in told])
            if pair is not None:
                warn(_same(node, *pair, len(told)), SpecWarning)

    def _given(self) -> list[Node]:
        """Return the nodes whose values scripts and layers in Python decide."""
        fed = self._net.sources
        feed = self._net.its_feed
        return [
            node
            for node in self._net.graph.nodes
            if not node.bottoms
            and node.type in ("Input", "Python")
            and node.name not in fed
            and (feed is None or node.name not in feed.sources)
        ]

    def _sums(self, node: Node) -> Sums:
        found: Sums = []
        for top in node.layer.top:
            try:
                values = self._net.blobs[top].data
            except NetspecError:  # its memory holds something else by now
                found.append(None)
                continue
            found.append(zlib.crc32(values.tobytes()))
        return found


def _alike(told: list[Sums]) -> tuple[int, int] | None:
    """Return two ranks that have the same in all tops, or None."""
    seen: dict[tuple[int | None, ...], int] = {}
    for rank, sums in enumerate(told):
        key = tuple(sums)
        if key in seen and None not in key:
            return seen[key], rank
        seen[key] = rank
    return None


def _same(node: Node, one: int, other: int, ranks: int) -> str:
    said = f"{label(node.layer)}: ranks {one} and {other} train on the same values"
    if node.type == "Input":
        return (
            f"{said}; fill it on rank r of {ranks} with the batches r, r + {ranks} and "
            f"so on (communicator.rank and size), or give the data to runtime.fit, "
            f"which does"
        )
    return (
        f"{said}; let it read the batches r, r + {ranks} and so on on rank r, which "
        f"runtime.distributed.launched() and caffe.solver_rank() tell; in a layer of "
        f"netspec.layer c.iteration is the number of the batch"
    )
