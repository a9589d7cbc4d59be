"""Whether what a weight file leaves of a net is a new end, to be trained."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.execution.net import Net
from runtime.execution.weights import CopyReport


def has_new_end(net: Net, reports: Sequence[CopyReport]) -> bool:
    """Tell whether all that files left is the end of the net, and is meant to be new.

    That is so where a file has layers for another end, of other shapes, each file gave
    something, and what it left is trained and is read by nothing that it gave.
    """
    copied = {name for report in reports for name in report.copied}
    missing = {name for report in reports for name in report.missing} - copied
    given = all(report.copied for report in reports)
    other = any(report.unused for report in reports)
    alike = any(pair[1] in missing for report in reports for pair in report.alike)
    if not (missing and given and other) or alike:
        return False
    graph = net.graph
    above = {node.index for node in graph.nodes if node.name in missing}
    if not all(any(graph.nodes[index].learn) for index in above):
        return False
    for node in graph.nodes:
        if any(graph.edges[edge].producer in above for edge in node.bottoms):
            above.add(node.index)
    return not any(graph.nodes[index].name in copied for index in above)
