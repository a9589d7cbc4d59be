"""A picture as text for Graphviz: open modules are clusters."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from netspec.draw.box_svg import describe
from netspec.draw.boxes import Box, Picture, Row
from netspec.draw.colours import COLOURS
from netspec.draw.line_captions import blob_caption
from netspec.draw.lines import wires
from netspec.draw.modules import Module, inner_name
from netspec.draw.totals import totals

_WRONG = ("#ffd9d9", "#d11a2a")
_CLOSED = ("#eef2f7", "#4a5a6e")


def to_dot(
    picture: Picture,
    root: Module,
    *,
    opened: Collection[Module] = (),
    sideways: bool = False,
) -> str:
    """Write the picture in the DOT language; `dot` finds the places."""
    lines = [
        "digraph net {",
        f"  label={_quoted(picture.title)}; labelloc=t; fontsize=18;",
        f"  rankdir={'LR' if sideways else 'TB'};",
        '  graph [fontname="Helvetica"];',
        '  node [shape=box, style="filled,rounded", fontname=Helvetica, fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=10, color="#5d6b7a"];',
    ]
    writer = _Writer(picture, set(opened))
    lines += writer.write(root, "  ")
    for wire in wires(root, picture):
        caption = blob_caption(picture.blobs[wire.blob])
        label = f" [label={_quoted(caption)}]" if caption else ""
        source = writer.node_of[wire.source]
        for target in dict.fromkeys(writer.node_of[box] for box in wire.targets):
            if source != target:
                lines.append(f"  {source} -> {target}{label};")
    lines.append("}")
    return "\n".join(lines) + "\n"


class _Writer:
    """Writes nodes and clusters; notes which node stands for each box."""

    def __init__(self, picture: Picture, opened: set[Module]) -> None:
        self.picture = picture
        self.opened = opened
        self.node_of: dict[int, str] = {}
        self.modules = 0

    def write(self, module: Module, indent: str) -> Iterator[str]:
        """Yield what is in a module."""
        for child in module.children:
            if isinstance(child, int):
                yield from self._box(child, module, indent)
            elif child not in self.opened:
                yield from self._closed(child, indent)
            else:
                yield from self._open(child, indent)

    def _box(self, number: int, around: Module, indent: str) -> Iterator[str]:
        box = self.picture.boxes[number]
        self.node_of[number] = f"n{number}"
        fill, border = _WRONG if box.mistake else COLOURS[box.rows[0].family]
        label = _quoted(_label(box, around))
        colours = f'fillcolor="{fill}", color="{border}"'
        yield f"{indent}n{number} [label={label}, {colours}];"

    def _closed(self, module: Module, indent: str) -> Iterator[str]:
        boxes = module.boxes()
        found = totals(self.picture, module)
        self.node_of |= dict.fromkeys(boxes, f"m{boxes[0]}")
        count = f" ×{len(module.children)}" if module.is_fold else ""
        phase = f" [{found.phase}]" if found.phase else ""
        label = f"{module.name}{count}{phase}\n{found.layers} layers"
        fill, border = _WRONG if found.wrong else _CLOSED
        yield (
            f"{indent}m{boxes[0]} [label={_quoted(label)}, peripheries=2, "
            f'fillcolor="{fill}", color="{border}"];'
        )

    def _open(self, module: Module, indent: str) -> Iterator[str]:
        shown = module.shown
        yield (
            f"{indent}subgraph cluster_{self.modules} {{ "
            f"label={_quoted(shown.header)}; "
            f'style="rounded,filled"; fillcolor="#f5f7fa"; color="#d5dbe3";'
        )
        self.modules += 1
        yield from self.write(shown, indent + "  ")
        yield f"{indent}}}"


def _label(box: Box, around: Module) -> str:
    rows = [_row(row, around) for row in box.rows]
    return "\n".join([*rows, f"✗ {box.mistake}"] if box.mistake else rows)


def _row(row: Row, around: Module) -> str:
    text = f"{inner_name(row.name, around)}: {describe(row)}"
    return f"{text} [{row.phase}]" if row.phase else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
