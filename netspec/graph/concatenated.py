"""Bottoms of Concat that are written into its top, where nothing runs backward.

That is right for a bottom that only the Concat reads and nobody keeps. With several
images it is a run of the channels of each, so that whoever computes it has to leave out
what lies between; it is contiguous where nothing lies ahead of the axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from netspec.graph.memory import Touch, kept_edges
from netspec.graph.types import Graph, Node
from netspec.ops.base import count
from netspec.ops.batch_norm import BatchNorm
from netspec.ops.concat import Concat
from netspec.ops.convolution import Convolution, Deconvolution
from netspec.ops.eltwise import Eltwise
from netspec.ops.inner_product import InnerProduct
from netspec.ops.pooling import Pooling
from netspec.ops.relu import ReLU
from netspec.ops.scale import Bias, Scale

# The top is there from the first of its bottoms on, which takes memory. It pays where
# these are so much of it; not as in DenseNet, where most was there before.
LEAST_SHARE = 0.5


class Concatenated:
    """The bottoms that are written in place.

    Args:
        graph: the net.
        kept: the edges whose data must be there after a pass.
        together: returns the nodes that run as one and end with a node.
        fits: whether such nodes can write their result into a part of a top, given
            whether that is contiguous. For a Concat of which nothing is asked, whether
            it can be one that others write into.
    """

    def __init__(
        self,
        graph: Graph,
        kept: Container[int],
        together: Callable[[int], Sequence[int]],
        fits: Callable[[Sequence[int], bool], bool],
    ) -> None:
        self._graph, self._kept = graph, kept
        self.together, self._fits = together, fits
        self.inside: dict[int, tuple[int, int]] = {}  # edge: Concat, which bottom
        self._apart: set[int] = set()  # those of them with other memory between images
        for node in reversed(graph.nodes):
            if not isinstance(node.op, Concat) or node.backward:
                continue
            if fits([node.index], node.tops[0] not in self._apart):
                self._take(node, node.op)

    def _take(self, node: Node, op: Concat) -> None:
        """Find the bottoms of a Concat that can be written in place."""
        top = node.tops[0]
        contiguous = count(op.tops[0], 0, op.axis) == 1 and top not in self._apart
        if not contiguous and op.axis != 1:
            return
        found = {
            edge: (node.index, place)
            for place, edge in enumerate(node.bottoms)
            if self._can_be_inside(edge, node, contiguous=contiguous)
        }
        if self._size(found) >= LEAST_SHARE * self._size([top]):
            self.inside |= found
            self._apart.update(() if contiguous else found)

    def _size(self, edges: Iterable[int]) -> int:
        return sum(count(self._graph.edges[edge].shape) for edge in edges)

    def _can_be_inside(self, index: int, concat: Node, *, contiguous: bool) -> bool:
        nodes, edge = self._graph.nodes, self._graph.edges[index]
        node = nodes[edge.producer]
        if index in self._kept or len(edge.consumers) != 1 or len(node.tops) != 1:
            return False
        if node.backward or any(node.loss_weights) or not count(edge.shape):
            return False
        made = self.together(node.index)
        # A layer whose shapes change as it runs may change how the pass goes on.
        amid = nodes[made[0] : concat.index]
        if any(one.op.learns_shapes or one.op.resizable for one in amid):
            return False
        return self._fits(made, contiguous)

    def maker(self, edge: int) -> int:
        """Return the node that computes an edge."""
        return self._graph.edges[edge].producer

    @property
    def nodes(self) -> set[int]:
        """The nodes that write, or are, one of these bottoms."""
        found = {node for node, _ in self.inside.values()}
        for edge in self.inside:
            found.update(self.together(self.maker(edge)))
        return found

    def touched(self) -> Iterator[Touch]:
        """Yield the tops that are written ahead of their own step, and when.

        And the edges that are never written: all those of their memory, as others may
        read what lies there before.
        """
        nodes, edges = self._graph.nodes, self._graph.edges
        sharing = Counter(edge.buffer for edge in edges)
        for edge in self.inside:
            made = self.together(self.maker(edge))
            outermost = self._outermost(edge)
            yield nodes[outermost].tops[0], "forward", made[0]
            own = [nodes[node].tops[0] for node in made]
            mine = Counter(edges[one].buffer for one in own)
            for one in own:
                if mine[edges[one].buffer] == sharing[edges[one].buffer]:
                    yield one, "never", outermost

    def _outermost(self, edge: int) -> int:
        """Return the Concat in whose top an edge is written."""
        node, _ = self.inside[edge]
        while (top := self._graph.nodes[node].tops[0]) in self.inside:
            node, _ = self.inside[top]
        return node


def usual(graph: Graph) -> Concatenated:
    """Return the bottoms that are written in place by the usual layers.

    It foresees what backends do that know their kernels.
    """
    nodes, edges = graph.nodes, graph.edges
    kept = kept_edges(graph, ())

    def together(index: int) -> Sequence[int]:
        """Return a layer, or a convolution with what it takes with it."""
        made = [index]
        while isinstance(nodes[made[0]].op, BatchNorm | Scale | Bias | ReLU):
            below = edges[nodes[made[0]].bottoms[0]]
            if len(below.consumers) != 1 or below.index in kept:
                break
            made.insert(0, below.producer)
        head = nodes[made[0]].op
        return made if isinstance(head, Convolution | Deconvolution) else [index]

    def fits(made: Sequence[int], contiguous: bool) -> bool:
        op = nodes[made[0]].op
        match op:
            case Convolution() | Deconvolution():
                return contiguous or not 1 < op.group == op.channels
            case Pooling():
                usual_ones = {((3, 3), (1, 1)), ((3, 3), (2, 2)), ((2, 2), (2, 2))}
                return contiguous or (op.kernel, op.stride) in usual_ones
            case Concat():
                return contiguous or op.axis == 1
            case Eltwise() | InnerProduct() | ReLU():
                return contiguous
        return False

    return Concatenated(graph, kept, together, fits)
