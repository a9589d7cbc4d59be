"""List the forks of Caffe that are known, or tell from which ones a file may be.

    python -m netspec.forks [FILE ...]

Of a binary file all its fields are compared with the schema of each fork.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.errors import NetspecError
from netspec.files import FileBytes
from netspec.forks.catalogue import BVLC, catalogue
from netspec.forks.chosen import known_meanings
from netspec.forks.meanings import OURS
from netspec.forks.telling import tell
from netspec.parser import Parser


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.forks"
) -> int:
    """Run the command; return its exit status."""
    parser = Parser(
        prog=prog,
        description="List the forks of Caffe that are known, or tell from which ones "
        "a file may be.",
        examples=("", "net.caffemodel"),
    )
    parser.add_argument("file", nargs="*", metavar="FILE", help="a .caffemodel")
    options = parser.parse_args(arguments)
    if not options.file:
        for fork in catalogue().forks:
            at = f"{fork.repository} {fork.branch} {fork.commit}".strip()
            print(f"{fork.word:22} {fork.name:34} {fork.kind:9} {at}")
        return 0
    status = 0
    for path in options.file:
        try:
            print(f"{path}: {_told(Path(path))}")
        except NetspecError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
    return status


def _told(path: Path) -> str:
    """Return what a file tells of its fork, in words."""
    known = known_meanings()
    with FileBytes(path) as data:
        told = tell(data, "NetParameter", known)
    words = [w for w in known.in_order(told.likely) if w not in (BVLC, OURS)]
    if not told.whole:
        missing = ", ".join(told.unexplained) or "no schema has all its fields"
        return f"of no fork that is known here: {missing}"
    plain = told.likely & (known.bits[BVLC] | known.bits[OURS])
    said = "Caffe's own" if plain else f"of {', '.join(words)}"
    return f"{said}; in doubt: {'; '.join(told.doubts)}" if told.doubts else said


if __name__ == "__main__":
    sys.exit(main())
