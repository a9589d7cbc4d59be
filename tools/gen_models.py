"""Write the table of the models in docs/models.md.

    python tools/gen_models.py [--check]

For each file in `models`: the first line of its docstring, its lines and those of the
neighbours that it imports, and the lines of the prototxt that it writes. With --check
nothing is written; the exit status is 1 if the table differs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.model_files import load_model
from netspec.errors import SpecError
from netspec.text import to_text
from tools.generated_page import write_table

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- models: begin -->\n", "<!-- models: end -->\n"
HEAD = """
| file | what it is | Python | train | deploy |
| --- | --- | ---: | ---: | ---: |
"""


def table() -> str:
    """Return the table of all models, in alphabetical order."""
    return HEAD + "".join(row(path) for path in sorted(MODELS.glob("*.py"))) + "\n"


def row(path: Path) -> str:
    """Return the line of one model."""
    what = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
    python = f"{lines(path)}"
    if shared := sum(lines(neighbour) for neighbour in neighbours(path)):
        python += f" + {shared}"
    cells = (f"`{path.name}`", what.rstrip("."), python, prototxt(path, deploy=False))
    return f"| {' | '.join(cells)} | {prototxt(path, deploy=True)} |\n"


def lines(path: Path) -> int:
    """Return the number of lines of a file."""
    return path.read_text().count("\n")


def neighbours(path: Path) -> set[Path]:
    """Return the files beside `path` that it imports, and those that they import."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            beside = path.with_name(f"{name}.py")
            if beside.exists():
                found |= {beside, *neighbours(beside)}
    return found


def prototxt(path: Path, *, deploy: bool) -> str:
    """Return the number of lines that a model writes, nothing without a deploy net."""
    try:
        text = to_text(load_model(path, deploy=deploy))
    except SpecError:
        if not deploy:
            raise
        return ""
    return f"{len(text.splitlines()):,}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return write_table(PAGE, (BEGIN, END), table, "models", arguments)


if __name__ == "__main__":
    sys.exit(main())
