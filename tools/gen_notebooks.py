"""Write docs/notebooks/*.ipynb: the cells of the .py files beside them, executed.

    python -m tools.gen_notebooks [--check] [NAME ...]

A source has its cells below lines `# %%`, and text below `# %% [markdown]`, as editors
know them. Every notebook runs in a kernel of its own, in a folder that goes away. What
is the same but for times stays as it was written. With --check nothing is run or
written; the exit status is 1 where a notebook has other cells than its source, or has
not been run.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netspec.files import replacing

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
TIMEOUT_S = 600
MAX_BYTES = 150_000  # of a notebook
MARK = re.compile(r"^# %%(.*)\n", re.M)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What differs from run to run: images a second and durations, as numbers and as text.
TIMES = re.compile(
    r"\bimages/s [\d,.]+|\b[\d.,]+ m?s\b|\b\d+(:\d\d)+\b|(?<=>)[\d,.]+(?=</td>)"
)


def read(path: Path) -> Any:
    """Return the notebook of a source, without outputs."""
    import nbformat

    found = MARK.split(path.read_text(encoding="utf-8"))[1:]
    cells: list[Any] = []
    for kind, text in zip(found[::2], found[1::2], strict=True):
        body = text.strip("\n")
        if kind.strip() == "[markdown]":
            rows = [row.removeprefix("#").removeprefix(" ") for row in body.split("\n")]
            cell = nbformat.v4.new_markdown_cell("\n".join(rows).strip("\n"))
        else:
            cell = nbformat.v4.new_code_cell(body)
        cell["id"] = f"cell-{len(cells) + 1}"
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def execute(notebook: Any, folder: str | os.PathLike[str]) -> None:
    """Run all cells in a kernel, in a folder; raise what nbclient does for errors."""
    from nbclient import NotebookClient

    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": os.fspath(folder)}},
    ).execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    notebook.metadata = METADATA


def sources(names: Sequence[str] = ()) -> list[Path]:
    """Return the sources of all notebooks, or of those with these names."""
    paths = {path.stem: path for path in sorted(FOLDER.glob("*.py"))}
    unknown = ", ".join(name for name in names if name not in paths)
    if unknown:
        raise SystemExit(f"no notebook {unknown}; there are {', '.join(paths)}")
    return [path for name, path in paths.items() if not names or name in names]


def differs(path: Path) -> str:
    """Return what is wrong with the notebook of a source, or nothing."""
    import nbformat

    target = path.with_suffix(".ipynb")
    if not target.exists():
        return "is not written"
    written = nbformat.read(target, as_version=4)
    cells = [(cell.cell_type, cell.source) for cell in written.cells]
    if cells != [(cell.cell_type, cell.source) for cell in read(path).cells]:
        return "has other cells than its source"
    runs = [cell.execution_count for cell in written.cells if cell.cell_type == "code"]
    if runs != list(range(1, len(runs) + 1)):
        return "has not been run from its start"
    return ""


def timeless(text: str) -> str:
    """Return a notebook's text without the times in it."""
    return TIMES.sub("0", text)


def write(path: Path) -> bool:
    """Run a notebook and write it, unless it is there; return whether it was written.

    Raises `ValueError` for one that is too large.
    """
    import nbformat

    notebook = read(path)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, folder)
    nbformat.validate(notebook)
    text = nbformat.writes(notebook, version=4) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"{path.stem}: {len(text.encode()):,} bytes are too many")
    target = path.with_suffix(".ipynb")
    if target.exists():
        before = target.read_text(encoding="utf-8")
        if not differs(path) and timeless(before) == timeless(text):
            return False
    with replacing(target) as file:
        file.write(text.encode())
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Write the notebooks.")
    parser.add_argument("--check", action="store_true", help="only compare cells")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of them alone")
    options = parser.parse_args(arguments)
    status = 0
    for path in sources(options.names):
        if options.check:
            wrong = differs(path)
            if wrong:
                target = path.with_suffix(".ipynb")
                print(f"{target}: {wrong}; run make gen", file=sys.stderr)
                status = 1
        elif write(path):
            print(f"wrote docs/notebooks/{path.stem}.ipynb")
    return status


if __name__ == "__main__":
    sys.exit(main())
