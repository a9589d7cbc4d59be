"""A picture as one page, in which modules open on a click.

The page holds every box as SVG, the ranks and orders inside every module, and a script
that places them anew whenever one opens. It loads nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from html import escape
from pathlib import Path
from typing import Any

from netspec.draw import measures
from netspec.draw.box_svg import COLOURS, draw_box, draw_module
from netspec.draw.boxes import Picture, Row
from netspec.draw.modules import Module
from netspec.draw.svg import (
    ARROW_MARK,
    HEADER_SIZE,
    closed_size,
    header,
    label_widths,
    style,
)
from netspec.draw.text_width import shape_text, text_width
from netspec.schema import LayerParameter
from netspec.text import to_text

VIEWER = Path(__file__).with_name("viewer")
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1>
<button id="open">Open all</button><button id="close">Close all</button>
<button id="in" aria-label="zoom in">+</button>
<button id="out" aria-label="zoom out">&minus;</button><button id="fit">Fit</button>
<span class="space"></span><span id="count" role="status"></span>
<input id="search" type="search" placeholder="Search layers ( / )"
 aria-label="search layers"></header>
<main><svg id="stage" class="netspec">{arrow}<g id="drawing"></g></svg>
<div id="legend">{legend}</div></main>
<aside id="properties" aria-label="properties of a layer"></aside>
<div id="found"></div>
<script id="net" type="application/json">{net}</script>
<script>{script}</script>
</body>
</html>
"""


def to_html(
    picture: Picture,
    root: Module,
    *,
    opened: Collection[Module] = (),
    sideways: bool = False,
) -> str:
    """Write a picture as a page, with these modules open at first."""
    modules = [root, *root.modules()]
    number = {module: index for index, module in enumerate(modules)}
    around: list[list[int]] = [[] for _ in picture.boxes]
    for module in modules[1:]:
        for box in module.boxes():
            around[box].append(number[module])
    content = {
        "sideways": sideways,
        "opened": [number[module] for module in modules if module in opened],
        "modules": [_module(picture, module, number) for module in modules],
        "blobs": [
            {"shape": "" if blob.shape is None else shape_text(blob.shape)}
            for blob in picture.blobs
        ],
        "boxes": [[_row(row) for row in box.rows] for box in picture.boxes],
        "around": around,
    }
    families = {row.family for box in picture.boxes for row in box.rows}
    legend = "".join(
        f'<span><i style="background:{fill};border-color:{border}"></i>{family}</span>'
        for family, (fill, border) in COLOURS.items()
        if family in families
    )
    script = constants() + _file("layout.js") + _file("viewer.js")
    return PAGE.format(
        title=escape(picture.title),
        style=style(picture) + _file("viewer.css"),
        arrow=ARROW_MARK,
        legend=legend,
        net=_json(content),
        script=script,
    )


def constants() -> str:
    """Return the beginning of the script: the distances of `netspec.draw.measures`."""
    values = {name: value for name, value in vars(measures).items() if name.isupper()}
    lines = [f"const {name} = {json.dumps(value)};" for name, value in values.items()]
    return "\n".join(['"use strict";', *lines, ""])


def _file(name: str) -> str:
    return (VIEWER / name).read_text(encoding="utf-8")


def _json(content: Any) -> str:
    """Write JSON in which no text can end the script element around it."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _module(
    picture: Picture, module: Module, number: dict[Module, int]
) -> dict[str, Any]:
    """Return what the script needs to place and draw the inside of a module."""
    grid = module.grid()
    first = len(module.entries)
    return {
        "top": module.parent is None,
        "title": header(module),
        "titleWidth": text_width(header(module), HEADER_SIZE, bold=True),
        "entries": module.entries,
        "exits": module.exits,
        "lines": [
            {"blob": line.blob, "source": line.source, "targets": line.targets}
            for line in module.lines
        ],
        "grid": {
            "boxes": grid.boxes,
            "rank": grid.rank,
            "links": grid.links,
            "rows": grid.rows,
            "place": grid.place,
            "above": grid.above,
            "below": grid.below,
        },
        "children": [
            _child(picture, module, node, child, number)
            for node, child in enumerate(module.children, first)
        ],
    }


def _child(
    picture: Picture,
    module: Module,
    node: int,
    child: int | Module,
    number: dict[Module, int],
) -> dict[str, Any]:
    size = closed_size(picture, module, node)
    closed = {
        "w": size.width,
        "h": size.height,
        "labels": label_widths(picture, module, node),
    }
    if isinstance(child, int):
        svg = draw_box(picture.boxes[child], module, size)
        return {**closed, "box": child, "svg": svg}
    return {
        **closed,
        "id": number[child],
        "shown": number[child.shown],
        "fold": child.is_fold,
        "path": child.path,
        "svg": draw_module(child, picture, size),
    }


def _row(row: Row) -> dict[str, Any]:
    """Return what the panel shows of a layer."""
    options = LayerParameter()
    options.CopyFrom(row.layer)
    for field in ("name", "type", "bottom", "top", "blobs"):
        options.ClearField(field)
    op = row.fact.op
    shapes = [shape_text(shape) for shape in op.tops] if op else []
    shapes += [""] * (len(row.layer.top) - len(shapes))
    names = [param.name for param in row.layer.param]
    params = [shape_text(param.shape) for param in op.params] if op else []
    return {
        "name": row.name,
        "type": row.type,
        "phase": row.phase,
        "mistake": str(row.fact.mistake or ""),
        "bottoms": list(row.layer.bottom),
        "tops": list(zip(row.layer.top, shapes, strict=False)),
        "params": [
            f"{shape}  {names[slot]}" if slot < len(names) and names[slot] else shape
            for slot, shape in enumerate(params)
        ],
        "macs": op.macs if op else 0,
        "text": to_text(options).strip(),
    }
