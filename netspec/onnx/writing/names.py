"""Names of values and nodes: those of blobs and layers wherever one has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from netspec.graph import Graph
from netspec.onnx.writing.values import Body, Piece, Value


class Names:
    """Names that are taken; `unique` makes another one of them."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        """Return a name that nothing else has: the wanted one, or with a number."""
        name = wanted
        while name in self._taken or not name:
            number = self._next.get(wanted, 1)
            self._next[wanted] = number + 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def name_values(
    graph: Graph, edges: Mapping[int, Value], outputs: Mapping[str, Value]
) -> Names:
    """Give values the names of blobs, inputs and outputs first.

    The last version of a blob has the blob's name, earlier ones have the name of their
    layer behind it. Of an input that layers change in place, the first version has the
    name, as the caller gives it. Returns the names for all that is named later.
    """
    last = {edge: blob for blob, edge in graph.blobs.items()}
    names = Names(last.values())
    given = set()
    for node in graph.nodes:
        for edge in node.tops if node.type == "Input" else ():
            edges[edge].name = graph.edges[edge].blob
            given.add(edges[edge].name)
    for blob, value in outputs.items():
        if blob not in given:
            value.name = blob
    for edge, value in sorted(edges.items(), key=itemgetter(0)):
        blob = last.get(edge, "")
        if not value.name and blob not in given:
            value.name = blob
    for edge, value in sorted(edges.items(), key=itemgetter(0)):
        if not value.name:
            blob, node = graph.edges[edge].blob, graph.nodes[graph.edges[edge].producer]
            value.name = names.unique(f"{blob}/{node.name}")
    return names


def name_rest(graph: Graph, names: Names, pieces: Sequence[Piece]) -> None:
    """Name nodes and what is between them.

    The last node of a layer has the layer's name, the others have their kind behind it.
    """
    nodes = Names()
    main = {piece.layer: piece for piece in pieces}
    for number in sorted(main):
        main[number].name = nodes.unique(graph.nodes[number].name)
    for piece in all_pieces(pieces):
        if not piece.name:
            layer = graph.nodes[piece.layer].name
            piece.name = nodes.unique(f"{layer}/{piece.kind}")
        for value in values_of(piece):
            value.name = value.name or names.unique(value.hint)


def values_of(piece: Piece) -> Iterator[Value]:
    """Yield every value that a node reads or makes."""
    yield from (value for value in piece.inputs if value is not None)
    body = piece.attributes.get("body")
    if isinstance(body, Body):
        yield from body.inputs
    yield from piece.outputs


def all_pieces(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield every node, and those in bodies behind the one that runs them."""
    for piece in pieces:
        yield piece
        body = piece.attributes.get("body")
        if isinstance(body, Body):
            yield from all_pieces(body.pieces)
