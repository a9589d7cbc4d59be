"""Cells of a notebook, run in a kernel, as a page that shows them light or dark."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600
COLOURS = {
    "light": ("#ffffff", "#1f2328", "#f4f5f7"),
    "dark": ("#111417", "#e1e4e8", "#1c2126"),
}
STYLE = """
body {{ background: {0}; color: {1}; margin: 14px; font: 14px sans-serif; }}
pre {{ background: {2}; margin: 0 0 8px; padding: 8px 10px; font: 13px monospace; }}
pre.text {{ background: none; padding: 0; white-space: pre-wrap; }}
.cell {{ margin-bottom: 14px; }}
"""


def execute(cells: Sequence[str]) -> list[list[Any]]:
    """Run cells in one kernel, from the folder of the project; return their outputs."""
    import nbformat
    from nbclient import NotebookClient

    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=made)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3")
    client.execute()
    return [cell.outputs for cell in notebook.cells]


def page(cells: Sequence[str], outputs: Sequence[Sequence[Any]], theme: str) -> str:
    """Return a page with cells and their outputs; theme: "light" or "dark"."""
    body = "".join(
        f'<div class="cell"><pre>{html.escape(source)}</pre>'
        f"{''.join(map(_shown, found))}</div>"
        for source, found in zip(cells, outputs, strict=True)
    )
    style = STYLE.format(*COLOURS[theme])
    light = "true" if theme == "light" else "false"  # as Jupyter marks its pages
    return (
        f'<!doctype html><html data-jp-theme-light="{light}"><head>'
        f'<meta charset="utf-8"><style>{style}</style>'
        f"</head><body>{body}</body></html>"
    )


def _shown(output: Any) -> str:
    """Return the richest form of an output, as a notebook chooses it."""
    data = output.get("data", {})
    if "text/html" in data:
        return str(data["text/html"])
    if "image/svg+xml" in data:
        return str(data["image/svg+xml"])
    if "image/png" in data:
        return f'<img src="data:image/png;base64,{data["image/png"]}">'
    text = data.get("text/plain", output.get("text", ""))
    return f'<pre class="text">{html.escape(text)}</pre>'
