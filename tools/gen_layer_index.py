"""Write the index of layers by family in docs/layers.md from the catalogue.

    python -m tools.gen_layer_index [--check]

With --check nothing is written; the exit status is 1 if the page differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.catalogue.table import FAMILIES
from netspec.language.foreign_words import TYPES
from tools.generated_page import write_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "layers.md"
LAYERS = ("<!-- layers: begin -->\n", "<!-- layers: end -->\n")
CODE = re.compile(r"L\.\w+(?:\([^()]*\))?|\bx [-+*] y|\w+=\S+")
WORDS = ("<!-- words: begin -->\n", "<!-- words: end -->\n")


def index() -> str:
    """Return a table of the layers of each family."""
    parts = []
    for title, rows in FAMILIES.items():
        lines = [f"## {title}", "", "| layer | what it does |", "| --- | --- |"]
        for row in sorted(rows, key=lambda row: row.name.lower()):
            link = f"{{py:func}}`L.{row.name} <netspec.layers.{row.name}>`"
            lines.append(f"| {link} | {row.summary} |")
        parts.append("\n".join(lines))
    return "\n" + "\n\n".join(parts) + "\n\n"


def words() -> str:
    """Return a table of what others call a layer."""
    lines = ["", "| elsewhere | here |", "| --- | --- |"]
    by_layer: dict[str, list[str]] = {}
    for word, here in TYPES.items():
        by_layer.setdefault(here, []).append(word)
    for here, names in by_layer.items():
        lines.append(f"| {', '.join(names)} | {coded(here)} |")
    return "\n".join(lines) + "\n\n"


def coded(text: str) -> str:
    """Return a way to write a layer with its code marked as such."""
    return CODE.sub(lambda found: f"`{found[0]}`", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or compare it; return the exit status."""
    first = write_table(PAGE, LAYERS, index, "layers", arguments)
    return max(first, write_table(PAGE, WORDS, words, "words for layers", arguments))


if __name__ == "__main__":
    sys.exit(main())
