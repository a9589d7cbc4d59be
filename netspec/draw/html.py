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
from netspec.draw.box_svg import draw_box, draw_module
from netspec.draw.boxes import Picture, Row
from netspec.draw.colours import COLOURS
from netspec.draw.line_captions import line_caption, shape_text
from netspec.draw.lines import drawn_boxes
from netspec.draw.modules import Line, Module
from netspec.draw.nested import (
    closed_child,
    header_room,
    header_width,
    line_end,
    line_start,
    space,
)
from netspec.draw.svg import style
from netspec.graph.looking import computed, learned
from netspec.schema import LayerParameter
from netspec.text import to_text

VIEWER = Path(__file__).with_name("viewer")
PAGE = """<!DOCTYPE html>
<html lang="en" class="{theme}">
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
<main><svg id="stage" class="netspec netspec-{theme}"><g id="drawing"></g></svg></main>
<aside id="properties" aria-label="properties of a layer"></aside>
<footer id="legend">{legend}</footer>
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
    theme: str = "auto",
) -> str:
    """Write a picture as a page, with these modules open at first."""
    families = {row.family for box in picture.boxes for row in box.rows}
    legend = "".join(
        f'<span><svg class="netspec netspec-{theme}" width="14" height="14"><rect '
        f'x="1" y="1" width="12" height="12" rx="3" class="f-{family} b b-{family}"/>'
        f"</svg>{family}</span>"
        for family in COLOURS
        if family in families
    )
    return PAGE.format(
        theme=theme,
        title=escape(picture.title),
        style=style(picture, theme) + _file("viewer.css"),
        legend=legend,
        net=_json(content(picture, root, opened, sideways)),
        script=placing_script() + _file("viewer.js"),
    )


def content(
    picture: Picture, root: Module, opened: Collection[Module], sideways: bool
) -> dict[str, Any]:
    """Return the net as the script reads it."""
    modules = [root, *root.seen()]
    number = {module: index for index, module in enumerate(modules)}
    around: list[list[int]] = [[] for _ in picture.boxes]
    for module in modules[1:]:
        for box in module.boxes():
            around[box].append(number[module])
    return {
        "sideways": sideways,
        "opened": [number[module] for module in modules if module in opened],
        "modules": [_module(picture, module, number, sideways) for module in modules],
        "boxes": [[_row(row) for row in box.rows] for box in picture.boxes],
        "around": around,
        "drawn": drawn_boxes(root, picture),
    }


def placing_script() -> str:
    """Return the part of the script that finds places, which needs no page."""
    return constants() + _file("layout.js") + _file("nested.js")


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
    picture: Picture, module: Module, number: dict[Module, int], sideways: bool
) -> dict[str, Any]:
    """Return what the script needs to place and draw the inside of a module."""
    if module.is_fold:
        return {"children": []}  # its first module is drawn for it
    grid = module.grid()
    around = space(module, sideways)
    return {
        "header": module.header,
        "headerWidth": header_width(module),
        "headerRoom": header_room(module),
        "space": {
            "entries": around.entries,
            "exits": around.exits,
            "before": around.before,
            "after": around.after,
            "aside": around.aside,
        },
        "lines": [_line(picture, module, line) for line in module.lines],
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
            _child(picture, module, node, number, sideways)
            for node in range(around.entries, around.entries + len(module.children))
        ],
    }


def _line(picture: Picture, module: Module, line: Line) -> dict[str, Any]:
    return {
        "source": line.source,
        "targets": line.targets,
        "start": line_start(module, line),
        "ends": [line_end(module, line, target) for target in line.targets],
        "caption": line_caption(picture, module, line),
    }


def _child(
    picture: Picture,
    module: Module,
    node: int,
    number: dict[Module, int],
    sideways: bool,
) -> dict[str, Any]:
    child = module.children[node - len(module.entries)]
    closed = closed_child(picture, module, node, sideways)
    own = {
        "size": {"width": closed.size.width, "height": closed.size.height},
        "room": {"width": closed.room.width, "height": closed.room.height},
        "stem": closed.stem,
    }
    if isinstance(child, int):
        svg = draw_box(picture.boxes[child], module, closed.size)
        return {**own, "box": child, "svg": svg}
    return {
        **own,
        "id": number[child],
        "shown": number[child.shown],
        "path": child.path,
        "svg": draw_module(child, picture, closed.size),
    }


def _row(row: Row) -> dict[str, Any]:
    """Return what the panel shows of a layer."""
    options = LayerParameter()
    options.CopyFrom(row.layer)
    for field in ("name", "type", "bottom", "top", "blobs"):
        options.ClearField(field)
    op = row.fact.op
    shapes = ["" if shape is None else shape_text(shape) for shape in row.fact.tops]
    shapes += [""] * (len(row.layer.top) - len(shapes))
    names = [param.name for param in row.layer.param]
    told = learned(row.layer, op)
    params = ["?"] if told is None else [shape_text(shape) for shape in told]
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
        "macs": computed(row.layer, op) or 0,
        "text": to_text(options).strip(),
    }
