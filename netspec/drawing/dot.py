"""A picture as text for Graphviz."""

from __future__ import annotations

from netspec.drawing.boxes import Box, Picture, Row
from netspec.drawing.svg import COLOURS, describe
from netspec.drawing.text import shape_text


def to_dot(picture: Picture, *, sideways: bool = False) -> str:
    """Write the picture in the DOT language; `dot` finds the places."""
    lines = [
        "digraph net {",
        f"  label={_quoted(picture.title)}; labelloc=t; fontsize=18;",
        f"  rankdir={'LR' if sideways else 'TB'};",
        '  graph [fontname="Helvetica"];',
        '  node [shape=box, style="filled,rounded", fontname=Helvetica, fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=10, color="#5d6b7a"];',
    ]
    for index, box in enumerate(picture.boxes):
        fill, border = COLOURS[box.rows[0].family]
        label = _quoted(_label(box))
        lines.append(
            f'  n{index} [label={label}, fillcolor="{fill}", color="{border}"];'
        )
    for number, (name, members) in enumerate(picture.groups.items()):
        nodes = " ".join(f"n{index};" for index in members)
        lines.append(
            f"  subgraph cluster_{number} {{ label={_quoted(name)}; "
            f'style="rounded,filled"; fillcolor="#f5f7fa"; color="#d5dbe3"; {nodes} }}'
        )
    for blob in picture.blobs:
        label = f" [label={_quoted(shape_text(blob.shape))}]" if blob.shape else ""
        for target in blob.net.targets:
            lines.append(f"  n{blob.net.source} -> n{target}{label};")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _label(box: Box) -> str:
    return "\n".join(_row(row) for row in box.rows)


def _row(row: Row) -> str:
    text = f"{row.name}: {describe(row)}"
    return f"{text} [{row.phase}]" if row.phase else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
