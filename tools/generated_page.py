"""What the generators of tables in documents share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def write_table(
    page: Path,
    marks: tuple[str, str],
    table: Callable[[], str],
    what: str,
    arguments: Sequence[str] | None,
) -> int:
    """Write the table of `what` between two marks of a page, or compare: `--check`.

    Returns the exit status: 1 where a comparison finds another table.
    """
    parser = argparse.ArgumentParser(description=f"Write the table of the {what}.")
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args(arguments)
    begin, end = marks
    text = page.read_text()
    before, rest = text.split(begin)
    written = before + begin + table() + end + rest.split(end)[1]
    if written == text:
        return 0
    if options.check:
        print(f"{page}: differs from the {what}; run make gen", file=sys.stderr)
        return 1
    page.write_text(written)
    return 0
