"""A net as HTML: a table of its layers, whose modules open on a click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.graph import Graph, Node, is_inserted
from netspec.nets.phases import PHASE_NAMES
from netspec.ops.base import count
from runtime.execution.named import shape_text
from runtime.html import KIND, Markup, closed, escaped, line, output

HEADS = ("layer", "type", "bottoms", "tops", "parameters", "number")
STYLE = f"""
.{KIND} .row {{ display: grid; gap: 0 1em; padding: 0.1em 0;
  grid-template-columns: minmax(10em, 1.4fr) 9em 1.2fr 1.6fr 1.2fr 6em;
  border-bottom: 1px solid rgba(128, 128, 128, 0.3); }}
.{KIND} .row > span {{ overflow-wrap: anywhere; }}
.{KIND} .head {{ font-weight: bold; }}
.{KIND} summary.row .name::before {{ content: "▸ "; }}
.{KIND} details[open] > summary.row .name::before {{ content: "▾ "; }}
"""


@dataclass
class _Module:
    """Layers whose names have a path in common, in the order of the net."""

    path: str
    parts: list[Node | _Module] = field(default_factory=list)

    def nodes(self) -> list[Node]:
        found: list[Node] = []
        for part in self.parts:
            found += part.nodes() if isinstance(part, _Module) else [part]
        return found


def net_html(net: Any) -> str:
    """Return the layers of a built net, without those that it inserts."""
    return output(*net_parts(net))


def net_parts(net: Any) -> list[Markup]:
    """Return the pieces of `net_html`."""
    graph: Graph = net.graph
    nodes = [node for node in graph.nodes if not is_inserted(graph, node)]
    values = sum(count(parameter.shape) for parameter in graph.parameters)
    said = (
        f"{net.name or 'net'}, phase {PHASE_NAMES[net.phase]} on {net.backend.name}: "
        f"{len(nodes)} layers, {values:,} parameters"
    )
    tree = _tree(nodes)
    body = "".join(_html(graph, part, 0) for part in tree.parts)
    head = _row(HEADS, 0, "div", "row head")
    return [
        line(Markup(f"<b>{escaped(said)}</b>")),
        Markup(f"<style>{STYLE}</style>{head}{body}"),
    ]


def _tree(nodes: Sequence[Node]) -> _Module:
    """Return the nodes by the paths in their names; a slash ends a module's name."""
    root = _Module("")
    modules = {"": root}
    for node in nodes:
        place, path = root, ""
        for step in node.name.split("/")[:-1]:
            path = f"{path}{step}/"
            if path not in modules:
                modules[path] = _Module(path[:-1])
                place.parts.append(modules[path])
            place = modules[path]
        place.parts.append(node)
    return root


def _html(graph: Graph, part: Node | _Module, level: int) -> str:
    if not isinstance(part, _Module):
        cells = (
            part.name.rpartition("/")[2] or part.name,
            part.layer.type,
            ", ".join(_blob(graph, edge) for edge in part.bottoms),
            _tops(graph, part),
            ", ".join(shape_text(one.shape) for one in part.op.params),
            _number(sum(count(one.shape) for one in part.op.params)),
        )
        return _row(cells, level, "div", "row")
    nodes = part.nodes()
    cells = (
        part.path.rpartition("/")[2],
        f"{len(nodes)} layer{'s' if len(nodes) > 1 else ''}",
        ", ".join(_outside(graph, nodes)),
        _tops(graph, nodes[-1]),
        "",
        _number(sum(count(p.shape) for node in nodes for p in node.op.params)),
    )
    inside = "".join(_html(graph, each, level + 1) for each in part.parts)
    summary = _row(cells, level, "summary", "row")
    return f"<details>{summary}{inside}</details>"


def _outside(graph: Graph, nodes: Sequence[Node]) -> list[str]:
    """Return the names of the blobs that some layers read, and do not make."""
    own = {_blob(graph, edge) for node in nodes for edge in node.tops}
    read = [_blob(graph, edge) for node in nodes for edge in node.bottoms]
    return list(dict.fromkeys(name for name in read if name not in own))


def _blob(graph: Graph, edge: int) -> str:
    """Return the name of a blob, for one of an inserted Split that of its bottom."""
    found = graph.edges[edge]
    producer = graph.nodes[found.producer]
    if is_inserted(graph, producer):
        return graph.edges[producer.bottoms[0]].blob
    return found.blob


def _tops(graph: Graph, node: Node) -> str:
    edges = [graph.edges[edge] for edge in node.tops]
    return ", ".join(f"{edge.blob} {shape_text(edge.shape)}" for edge in edges)


def _number(values: int) -> str:
    return f"{values:,}" if values else ""


def _row(cells: Sequence[str], level: int, tag: str, kind: str) -> str:
    spans = []
    for place, cell in enumerate(cells):
        name = "name" if place == 0 else "number" if place == len(cells) - 1 else ""
        style = f' style="padding-left: {1.2 * level:.1f}em"'
        indent = style if place == 0 and level > 0 else ""
        spans.append(f'<span class="{name}"{indent}>{escaped(cell)}</span>')
    return f'<{tag} class="{kind}">{"".join(spans)}</{tag}>'


def closed_net(net: Any, title: str) -> Markup:
    """Return a net that opens on a click."""
    return closed(title, "".join(net_parts(net)))
