"""A drawing as a file: SVG, HTML, DOT, PNG or PDF by the suffix of its name."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from netspec.errors import MachineError, SpecError
from netspec.files import replacing

SUFFIXES = (".svg", ".html", ".htm", ".dot", ".gv", ".png", ".pdf")
MAX_PIXELS = 32_000  # of a side; Cairo takes 32,767


class Drawing(Protocol):
    """What can be written."""

    def svg(self, theme: str = "") -> str:
        """Return SVG, of the theme that was asked for if none is given."""

    def dot(self) -> str:
        """Return text for Graphviz."""

    def html(self) -> str:
        """Return a page."""


def check_suffix(path: Path) -> None:
    """Refuse a name that does not say how to draw."""
    if path.suffix.lower() not in SUFFIXES:
        raise SpecError(
            f"{path}: a drawing's name must end in .svg, .html, .dot, .png or .pdf"
        )


def write(path: Path, drawing: Drawing) -> None:
    """Write a drawing; the file appears whole or not at all."""
    suffix = path.suffix.lower()
    if suffix in (".dot", ".gv"):
        data = drawing.dot().encode()
    elif suffix in (".html", ".htm"):
        data = drawing.html().encode()
    else:
        # No program that renders SVG knows what the page around wants.
        svg = drawing.svg() if suffix == ".svg" else drawing.svg("light")
        data = svg.encode()
        if suffix != ".svg":
            data = _rendered(data, suffix[1:])
    with replacing(path) as file:
        file.write(data)


def _rendered(svg: bytes, kind: str) -> bytes:
    """Turn SVG into PNG or PDF with whatever is there."""
    if importlib.util.find_spec("cairosvg"):
        import cairosvg

        convert = cairosvg.svg2png if kind == "png" else cairosvg.svg2pdf
        return bytes(convert(bytestring=svg, scale=_scale(svg.decode())))
    if kind == "png" and importlib.util.find_spec("resvg_py"):
        import resvg_py

        return _with_fonts(resvg_py.svg_to_bytes, svg.decode())
    rsvg = shutil.which("rsvg-convert")
    if rsvg is None:
        wheel = "resvg-py (pip install resvg-py), " if kind == "png" else ""
        raise MachineError(
            f"a .{kind} needs {wheel}CairoSVG (pip install cairosvg) or rsvg-convert, "
            f"and none is here; write a .svg instead, which every browser shows"
        )
    command = [rsvg, f"--format={kind}", "--unlimited"]
    done = subprocess.run(command, input=svg, capture_output=True, check=False)
    if done.returncode != 0:
        raise MachineError(f"{rsvg} failed: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _with_fonts(convert: Callable[..., Any], svg: str) -> bytes:
    """Return PNG of `convert`, which leaves text out where no font is installed."""
    letter = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">'
        '<text x="2" y="16" font-family="sans-serif">{}</text></svg>'
    )
    if bytes(convert(letter.format("M"))) == bytes(convert(letter.format(""))):
        raise MachineError(
            "a .png needs a font, and resvg-py finds none; install one, such as "
            "fonts-dejavu, or write a .svg instead"
        )
    return bytes(convert(svg, zoom=_scale(svg)))


def _scale(svg: str) -> float:
    """Return how much to enlarge: twice, or as far as a PNG can go."""
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    longest = max(int(side) for side in size.groups()) if size else 1
    return min(2.0, MAX_PIXELS / longest)
