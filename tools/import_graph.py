"""Read who imports whom: circles of files, and imports against the order of packages.

    python tools/import_graph.py

Prints for every folder with an order how many files and folders lie side by side, how
many pairs of them are tied by an import, and how many imports run against the order,
and below that every circle and every such import with its two files and the names.
Imports inside functions and under TYPE_CHECKING count like any other. The exit status
is 1 where there is a circle, an import against the order, or something without a place
in the order.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Each line may import those above it, and nothing else of its folder: names on one line
# do not import each other. A folder that is not listed may have any order inside that
# has no circle.
ORDER: Mapping[str, Sequence[str]] = {
    "": ("netspec", "runtime"),
    "netspec": (
        "notebooks",
        "errors  version",
        "bundled  site  files  formats  parser  schema  room  columns",
        "catalogue  ops",
        "forks",
        "text",
        "nets",
        "graph  language",
        "layers  params  reading  commands",
        "weights",
        "surgery",
        "readers  onnx",
        "draw  summary  to_python  export  flatten",
        "net_spec",
        "blocks  models  tuning  __main__",
        "__init__  compatible",
        "coord_map",
    ),
    "netspec/language": (
        "__init__",
        "arithmetic  python_to_proto  shown  foreign_words",
        "unknown",
        "calls",
        "scope  options  dangling  entries  views  doubts",
        "naming  defaults  shapes  results  proto_to_python",
        "sharing",
        "record  emit",
        "rewiring",
        "folder",
        "modules  argument_types  editing  drafts",
        "own_layers",
    ),
    "runtime": (
        "arrays  compilation  distributed  fillers  habits  html  interrupts",
        "counter_random",
        "primitives  data",
        "layers  arena",
        "gradient_looks",
        "update_rules",
        "backends",
        "execution",
        "checking  pictures  training",
        "callbacks  evaluation",
        "fitting",
        "cli  pycaffe  __init__",
        "__main__",
    ),
    "runtime/backends": (
        "base  caches  layer_kernel",
        "cpu  cuda  portable",
        "by_name",
        "__init__",
    ),
    "runtime/backends/cpu": (
        "machine",
        "correlation",
        "layers",
        "looking  table  inference  residual",
        "updates",
        "concatenated",
        "fusion",
        "backend",
        "__init__",
    ),
    "runtime/backends/cuda": (
        "storage  formulas",
        "machine",
        "found  tensor  together",
        "layer  tiles  updates",
        "columns  converted  iteration",
        "arrange  layers",
        "chained  folded  joined  normalized  rectified  table",
        "fusion",
        "backend",
        "__init__",
    ),
}


@dataclass(frozen=True)
class Import:
    """One import of a file of the project by another: `names` from `imported`."""

    importer: str
    line: int
    imported: str
    names: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.names} of {self.imported}"


def source_files(root: Path) -> list[str]:
    """Return the Python files of both packages, as paths from the root."""
    return sorted(
        path.relative_to(root).as_posix()
        for package in ORDER[""]
        for path in (root / package).rglob("*.py")
    )


def imports_of(root: Path, files: Sequence[str]) -> list[Import]:
    """Return every import among `files`, wherever in a file it stands."""
    known = set(files)
    found: dict[tuple[str, int, str], list[str]] = {}
    for importer in files:
        for node in ast.walk(ast.parse((root / importer).read_text())):
            for module, name in _imported(node):
                imported = _file_of(f"{module}.{name}", known) if name else None
                imported = imported or _file_of(module, known)
                if imported is not None and imported != importer:
                    key = (importer, getattr(node, "lineno", 0), imported)
                    found.setdefault(key, []).append(name or module)
    return [Import(*key, ", ".join(names)) for key, names in found.items()]


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of an import; no name where it is the module."""
    if isinstance(node, ast.Import):
        for each in node.names:
            yield each.name, ""
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        for each in node.names:
            yield node.module, each.name


def _file_of(module: str, known: set[str]) -> str | None:
    path = module.replace(".", "/")
    return next((f for f in (f"{path}.py", f"{path}/__init__.py") if f in known), None)


def circles(imports: Sequence[Import]) -> list[list[str]]:
    """Return the sets of files that import each other, each sorted (Tarjan, 1972)."""
    graph: dict[str, set[str]] = {}
    for each in imports:
        graph.setdefault(each.importer, set()).add(each.imported)
        graph.setdefault(each.imported, set())
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(file: str) -> None:
        number[file] = lowest[file] = len(number)
        stack.append(file)
        for other in sorted(graph[file]):
            if other not in number:
                visit(other)
                lowest[file] = min(lowest[file], lowest[other])
            elif other in stack:
                lowest[file] = min(lowest[file], number[other])
        if lowest[file] == number[file]:
            place = stack.index(file)
            members = stack[place:]
            del stack[place:]
            if len(members) > 1:
                found.append(sorted(members))

    for file in sorted(graph):
        if file not in number:
            visit(file)
    return found


def unit_of(file: str, folder: str) -> str | None:
    """Return the file or folder right below `folder` that `file` is or lies in."""
    start = f"{folder}/" if folder else ""
    if not file.startswith(start):
        return None
    return file.removeprefix(start).partition("/")[0].removesuffix(".py")


def ties(imports: Sequence[Import], folder: str) -> dict[tuple[str, str], list[Import]]:
    """Return the imports between what lies side by side in `folder`, by pair."""
    pairs: dict[tuple[str, str], list[Import]] = {}
    for each in imports:
        importer, imported = (
            unit_of(file, folder) for file in (each.importer, each.imported)
        )
        if importer and imported and importer != imported:
            pairs.setdefault((importer, imported), []).append(each)
    return pairs


def against(imports: Sequence[Import], folder: str) -> list[Import]:
    """Return the imports that run against the order of `folder`."""
    level = {
        name: place for place, row in enumerate(ORDER[folder]) for name in row.split()
    }
    return [
        each
        for (importer, imported), group in ties(imports, folder).items()
        if level.get(importer, -1) <= level.get(imported, len(level))
        for each in group
    ]


def units(files: Sequence[str], folder: str) -> list[str]:
    """Return the names of what lies side by side in `folder`."""
    return sorted({unit for file in files if (unit := unit_of(file, folder))})


def unplaced(files: Sequence[str], folder: str) -> list[str]:
    """Return what the order of `folder` does not list, or lists and does not exist."""
    return sorted(set(units(files, folder)) ^ set(" ".join(ORDER[folder]).split()))


def main() -> int:
    """Print the figures and what is wrong; return the exit status."""
    files = source_files(ROOT)
    imports = imports_of(ROOT, files)
    wrong: list[str] = []
    print(f"{'folder':<22}{'side by side':>13}{'tied pairs':>12}{'against':>9}")
    for folder in ORDER:
        back = against(imports, folder)
        row = (len(units(files, folder)), len(ties(imports, folder)), len(back))
        print(f"{folder or '.':<22}{row[0]:>13}{row[1]:>12}{row[2]:>9}")
        wrong += [f"against the order of {folder or 'packages'}: {i}" for i in back]
        where = f"{folder}/" if folder else ""
        wrong += [f"no place: {where}{name}" for name in unplaced(files, folder)]
    found = circles(imports)
    print(f"circles of files: {len(found)}")
    wrong += [f"circle: {' '.join(circle)}" for circle in found]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
