"""How far backward has run since the last pass forward."""

from __future__ import annotations

from netspec.errors import SpecError
from netspec.graph import Graph


class BackwardRan:
    """Whether layers of a net may run backward, whose blobs are not kept.

    Backward takes the memory of what it has used, so that every layer can run once
    for each pass forward.
    """

    _ran: int | None = None  # the lowest layer that has run since

    def forward(self) -> None:
        """Note a pass forward."""
        self._ran = None

    def both(self, *, kept: bool) -> None:
        """Note passes forward and backward over all layers.

        kept: whether all blobs are kept, so that backward may run again.
        """
        self._ran = None if kept else 0

    def backward(self, graph: Graph, first: int, last: int) -> None:
        """Note a pass backward over the layers number `last` to `first`.

        Raises `SpecError` if one of them has run already.
        """
        if self._ran is not None and last >= self._ran:
            raise SpecError(
                f"backward runs through layer {graph.nodes[last].name!r} again, whose "
                f"blobs are gone: not all are kept, so that backward takes their "
                f"memory; run forward before it, or make the net with keep=None"
            )
        self._ran = first
