"""A summary as a tree of modules, as text and as HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from netspec.columns import aligned
from netspec.ops.base import Shape
from netspec.summary.row import Row

Line: TypeAlias = "Row | Branch"

KIB, MIB = 2**10, 2**20
UNKNOWN = "?"
NUMBERS = ("num_params", "own_params", "macs", "activation_bytes")
HEADS = ("layer", "type", "output", "memory", "parameters", "MACs")
TEXT_COLUMNS = 3  # these are flush left, the others right


@dataclass(frozen=True)
class Branch:
    """A module, or a layer, with totals.

    name: its path. layers: the number of layers in it. own_params counts parameters
    that layers share once, in the branch of the first; frozen and statistics are those
    of them that training leaves, and that no gradient changes. children: what is in it,
    in the order of the net; a layer has none. tops: of a module those of its last
    layer. None is a number that is not known. Those of a module are sums of what is
    known, and `partly` has the names of those with more that is not.
    """

    name: str
    type: str
    tops: Mapping[str, Shape | None]
    layers: int
    num_params: int | None
    own_params: int | None
    shared: bool
    macs: int | None
    activation_bytes: int | None
    frozen: int = 0
    statistics: int = 0
    children: tuple[Branch, ...] = ()
    partly: frozenset[str] = frozenset()

    def lines(self, depth: int) -> Iterator[Branch]:
        """Yield what is seen with `depth` levels of modules open, in order."""
        for child in self.children:
            if child.children and depth > 0:
                yield from child.lines(depth - 1)
            else:
                yield child


def tree_of(name: str, rows: Sequence[Row]) -> Branch:
    """Return a tree of layers by the paths of their modules."""
    parts = [[*row.path.split("/"), ""] if row.path else [""] for row in rows]
    return _module(name, "net", "", list(zip(parts, rows, strict=True)))


def _module(
    name: str, kind: str, prefix: str, rows: Sequence[tuple[list[str], Row]]
) -> Branch:
    inside: dict[str, list[tuple[list[str], Row]]] = {}
    order: list[tuple[str, Row | None]] = []
    for parts, row in rows:
        if len(parts) == 1:
            order.append((row.name, row))
            continue
        if parts[0] not in inside:
            inside[parts[0]] = []
            order.append((parts[0], None))
        inside[parts[0]].append((parts[1:], row))
    children = []
    for key, layer in order:
        if layer is None:
            path = f"{prefix}{key}"
            children.append(_module(path, "module", f"{path}/", inside[key]))
        else:
            children.append(_layer(layer))
    return Branch(
        name=name,
        type=kind,
        tops=children[-1].tops if children else {},
        layers=sum(child.layers for child in children),
        num_params=known_sum(child.num_params for child in children),
        own_params=known_sum(child.own_params for child in children),
        shared=any(child.shared for child in children),
        macs=known_sum(child.macs for child in children),
        activation_bytes=known_sum(child.activation_bytes for child in children),
        frozen=sum(child.frozen for child in children),
        statistics=sum(child.statistics for child in children),
        children=tuple(children),
        partly=frozenset(
            name
            for name in NUMBERS
            if any(name in c.partly or getattr(c, name) is None for c in children)
        ),
    )


def known_sum(numbers: Iterable[int | None]) -> int:
    """Return the sum of the numbers that are known."""
    return sum(number for number in numbers if number is not None)


def _layer(row: Row) -> Branch:
    return Branch(
        name=row.name,
        type=row.type,
        tops=row.tops,
        layers=1,
        num_params=row.num_params,
        own_params=row.own_params,
        shared=row.shared,
        macs=row.macs,
        activation_bytes=row.activation_bytes,
        frozen=row.frozen,
        statistics=row.statistics,
    )


def _cells(line: Line) -> tuple[str, ...]:
    kind = line.type
    if isinstance(line, Branch) and line.children:
        kind = f"{line.layers} layer{'s' if line.layers > 1 else ''}"
    partly = line.partly if isinstance(line, Branch) else frozenset()
    params = _number(line.num_params, "num_params" in partly)
    return (
        line.name,
        kind,
        ", ".join(map(_shape, line.tops.values())),
        _number(line.activation_bytes, "activation_bytes" in partly, _size),
        f"{params} {marks}" if (marks := _marks(line)) else params,
        _number(line.macs, "macs" in partly),
    )


def _marks(line: Line) -> str:
    """Return what is said of parameters: shared, and why none of them learns."""
    own = line.own_params or 0
    still = line.frozen > 0 and line.frozen + line.statistics == own
    counted = 0 < own == line.statistics
    words = (("shared", line.shared), ("frozen", still), ("statistics", counted))
    return ", ".join(word for word, holds in words if holds)


def _shape(shape: Shape | None) -> str:
    return UNKNOWN if shape is None else " x ".join(map(str, shape)) or "scalar"


def _number(
    number: int | None,
    partly: bool,
    write: Callable[[int], str] = lambda number: f"{number:,}",
) -> str:
    if number is None or (partly and not number):
        return UNKNOWN
    shown = write(number) if number else ""
    return f"{shown} + {UNKNOWN}" if partly else shown


def _size(nbytes: int) -> str:
    if nbytes >= MIB:
        return f"{nbytes / MIB:,.1f} MiB"
    if nbytes >= KIB:
        return f"{nbytes / KIB:,.1f} KiB"
    return f"{nbytes} B" if nbytes else ""


def table(lines: Iterable[Line]) -> list[str]:
    """Lay lines out as a table, with rules above and below."""
    head, *rest = aligned([HEADS, *map(_cells, lines)], range(TEXT_COLUMNS))
    rule = "-" * len(head)  # its last column is flush right
    return [head, rule, *rest, rule]


STYLE = """
.netspec-summary { font-size: 0.9em; overflow-x: auto; }
.netspec-summary summary, .netspec-summary .layer { display: grid;
  gap: 0 0.6em; min-width: 49.5em;
  grid-template-columns: minmax(8.5em, 2fr) 9em minmax(8.5em, 1fr) 5.2em 8em 7em; }
.netspec-summary span { overflow-wrap: anywhere; }
.netspec-summary span.number { overflow-wrap: normal; white-space: nowrap; }
.netspec-summary .number { text-align: right; font-variant-numeric: tabular-nums; }
.netspec-summary .head { font-weight: bold; border-bottom: 1px solid; }
.netspec-summary summary { cursor: pointer; }
.netspec-summary summary .name::before { content: "▸ "; }
.netspec-summary details[open] > summary .name::before { content: "▾ "; }
"""


def to_html(tree: Branch, totals: Sequence[str]) -> str:
    """Return the tree as HTML, where modules open on a click."""
    body = "".join(_html(child, 0) for child in tree.children)
    ends = "".join(f"<div>{escape(line)}</div>" for line in totals)
    head = _html_row(HEADS, 0, "div", "layer head")
    return (
        f'<div class="netspec-summary"><style>{STYLE}</style>{head}{body}{ends}</div>'
    )


def _within(name: str, around: str) -> str:
    """Return the name of a layer or module as it is called in a module."""
    return name[len(around) + 1 :] if around and name.startswith(f"{around}/") else name


def _html(branch: Branch, level: int, around: str = "") -> str:
    cells = (_within(branch.name, around), *_cells(branch)[1:])
    if not branch.children:
        return _html_row(cells, level, "div", "layer")
    inside = "".join(_html(c, level + 1, branch.name) for c in branch.children)
    return f"<details>{_html_row(cells, level, 'summary', '')}{inside}</details>"


def _html_row(cells: Sequence[str], level: int, tag: str, kind: str) -> str:
    spans = []
    for place, cell in enumerate(cells):
        name = "name" if place == 0 else "" if place < TEXT_COLUMNS else "number"
        indent = f' style="padding-left: {1.2 * level:.1f}em"' if place == 0 else ""
        spans.append(f'<span class="{name}"{indent}>{escape(cell)}</span>')
    return f'<{tag} class="{kind}">{"".join(spans)}</{tag}>'
