"""The section of docs/gpu.md that `tools/gpu_check.py` measured.

    python -m tools.gpu_parts.document FOLDER      the folder of a run's results

Nothing of it is copied by hand: what the files of the folder say is written between the
markers, with date, device and versions, and what failed or was left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import gpu  # noqa: E402  # of the benchmarks

PAGE = ROOT / "docs/gpu.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return what a file of lines of JSON says; nothing if it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def parts_table(records: Sequence[dict[str, Any]]) -> str:
    """Return what became of the parts, in Markdown."""
    rows = ["| part | result | seconds | |", "| --- | --- | ---: | --- |"]
    for record in sorted(records, key=lambda record: record["part"]):
        said = record["said"].partition("\n")[0].replace("|", "\\|")
        cells = [record["part"], record["status"], f"{record['seconds']:.0f}", said]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def speed(path: Path) -> str:
    """Return what `benchmarks/gpu.py` measured: device, and a table; "" if nothing."""
    records = lines_of(path)
    device = next((record for record in records if "device" in record), None)
    if device is None:
        return ""
    title = f"{device['date']}, {device['device']}, PyTorch {device['torch']}"
    results = [record for record in records if "net" in record]
    return f"{title}; images (or sequences) a second.\n\n{gpu.table(results)}"


def section(folder: Path) -> str:
    """Return all that stands between the markers.

    Raises `SystemExit` where the folder has no results.
    """
    parts = lines_of(folder / "parts.jsonl")
    if not parts:
        raise SystemExit(f"{folder}: no parts.jsonl, which a run writes")
    text = []
    versions = folder / "versions.txt"
    if versions.exists():
        text += ["```text", versions.read_text("utf-8").strip(), "```", ""]
    text += [parts_table(parts), ""]
    failures = [f for record in parts for f in record["failures"]]
    if failures:
        shown = "\n".join(line[:200] for line in failures)
        text += ["What failed:", "", "```text", shown, "```", ""]
    text.append(speed(folder / "speed.jsonl"))
    return "\n".join(text).strip()


def write(text: str, page: Path = PAGE) -> None:
    """Put a text between the markers of a page."""
    before, found, rest = page.read_text("utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{page}: {BEGIN} and {END} are missing")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Write what a run measured.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    write(section(options.folder), options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
