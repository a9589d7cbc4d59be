"""Write the table of what works of each fork in docs/forks.md.

    python -m tools.gen_fork_table [--check]

The cells come from `tools/fork_nets.py`, which makes a net of every fork. With --check
nothing is written; the exit status is 1 if the table differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools import fork_nets
from tools.generated_page import write_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "forks.md"
BEGIN, END = "<!-- forks: begin -->\n", "<!-- forks: end -->\n"
HEAD = """
| `--fork` | name | read | drawn | types | shapes | run | train |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def table() -> str:
    """Return the table."""
    rows = []
    for fork in fork_nets.forks():
        types = len(fork_nets.types_of(fork))
        read = fork_nets.text_is_kept(fork) and fork_nets.binary_is_kept(fork)
        cells = [f"`{fork.word}`", fork.name, _word(read)]
        cells += [_word(fork_nets.is_drawn(fork)), str(types)]
        for count in (fork_nets.with_shapes, fork_nets.running, fork_nets.training):
            cells.append(str(len(count(fork))) if types else "-")
        rows.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(rows) + "\n"


def _word(holds: bool) -> str:
    return "yes" if holds else "no"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table, or compare it; return the exit status."""
    return write_table(PAGE, (BEGIN, END), table, "forks", arguments)


if __name__ == "__main__":
    sys.exit(main())
