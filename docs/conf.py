"""How Sphinx builds the documentation: `make docs`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.notebook_pages import markdown  # noqa: E402

project = "netspec"
author = "The netspec authors"
copyright = "2026, The netspec authors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
html_static_path = ["static"]
html_css_files = ["notebooks.css"]

html_theme = "furo"
html_title = "netspec"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
nitpicky = False

SPECIAL = re.compile(r"([*_|\\])")


def plain_text(*event: Any) -> None:
    """Docstrings are plain text: formulas keep their lines, `code` stays code."""
    lines: list[str] = event[-1]
    blocks = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    lines[:] = [line for block in blocks for line in [*as_rst(block), ""]]


def as_rst(block: str) -> list[str]:
    """Turn one paragraph into reStructuredText."""
    rows = block.split("\n")
    if any(row.startswith(" ") for row in rows):
        return ["::", "", *(f"    {row}" for row in rows)]
    pieces = re.split(r"(`[^`]+`)", " ".join(row.strip() for row in rows))
    return [
        "".join(
            f"`{piece}`" if piece.startswith("`") else SPECIAL.sub(r"\\\1", piece)
            for piece in pieces
        )
    ]


def notebook_page(app: Any, name: str, source: list[str]) -> None:
    """Notebooks become Markdown when they are read."""
    path = Path(app.env.doc2path(name))
    if path.suffix == ".ipynb":
        source[0] = markdown(source[0], path.name)


def setup(app: Any) -> None:
    app.connect("source-read", notebook_page)
    app.connect("autodoc-process-docstring", plain_text)
