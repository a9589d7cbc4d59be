"""Notebooks as pages of the documentation: `docs/conf.py` reads them through this."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

HEADING = re.compile(r"^# .*\n*")


def markdown(text: str, name: str) -> str:
    """Return the Markdown, as MyST reads it, of a notebook's file.

    text: of the file. name: of the file, which the page offers below its title. Outputs
    are shown as a notebook shows them, the richest form of each.
    """
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(_fenced(source, "python"))
        parts += [_shown(output) for output in cell["outputs"]]
    title = HEADING.match(parts[0]) if parts else None
    head = title.group().rstrip() if title else f"# {name}"
    parts[:1] = [parts[0][title.end() :]] if title else parts[:1]
    link = f"The notebook: {{download}}`{name} <{name}>`"
    return "\n\n".join([head, *parts, link]) + "\n"


def _shown(output: dict[str, Any]) -> str:
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    for kind in ("text/html", "image/svg+xml"):
        if kind in data:
            page = f'<div class="notebook-output">\n{data[kind]}\n</div>'
            return _fenced(page, "{raw} html")
    if "image/png" in data:
        image = f'<img src="data:image/png;base64,{escape(data["image/png"])}">'
        return _fenced(image, "{raw} html")
    text = data.get("text/plain", "".join(output.get("text", "")))
    return _fenced(text.rstrip("\n"), "{code-block} none", "notebook-output")


def _fenced(text: str, kind: str, mark: str = "") -> str:
    """Return a block whose fence is longer than any row of ` in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    options = f":class: {mark}\n\n" if mark else ""
    return f"{fence}{kind}\n{options}{text}\n{fence}"
