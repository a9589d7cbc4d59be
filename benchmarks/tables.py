"""Tables of measurements in Markdown, and their place in a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without its empty columns."""
    columns = zip(heads, *rows, strict=True)
    used = [column for column in columns if any(column[1:])]
    first, *rest = (" | ".join(row) for row in zip(*used, strict=True))
    line = "| --- |" + " ---: |" * (len(used) - 1)
    return "\n".join([f"| {first} |", line, *(f"| {row} |" for row in rest)])


def write_into(path: Path, text: str, name: str = "measured") -> None:
    """Replace what stands between the markers of this name in a file."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = path.read_text(encoding="utf-8")
    if begin not in whole or end not in whole:
        raise SystemExit(f"{path} has no place for {name}: {begin} and {end}")
    before, _, rest = whole.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
