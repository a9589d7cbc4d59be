"""Write the catalogue of forks from the tables in tools/forks.

    python tools/gen_forks.py [--check]

`netspec/forks/catalogue.bin` is compressed JSON; `netspec/forks/catalogue.py` says what
is in it. With --check nothing is written; the exit status is 1 if it differs. Both
check the tables: every word is a fork, every type is known in the schema of each fork
that uses it, and no fork gives two fields of a message one name or one number.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLES = "tools/forks"
CATALOGUE = "netspec/forks/catalogue.bin"

_BLOCK = re.compile(r"\[([\w.]+|-)\] (.+)")
_ENUM = re.compile(r"enum (\w+): (.+)")
_ROW = re.compile(
    r"(?P<name>\w+) (?P<number>\d+) (?P<type>[\w.]+)(?P<label>[*!]?)"
    r"(?P<packed> packed)?(?: = (?P<default>.*))?"
)
_TYPE = re.compile(r"(\w+|\*)((?: \w+)*): (.+)")
_LABELS = {"": 1, "!": 2, "*": 3}  # of FieldDescriptorProto


class TableError(Exception):
    """A line of a table that cannot mean anything."""


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line, with those that go on it."""
    held, number = "", 0
    for place, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith(" "):
            held += " " + line.strip()
            continue
        if held:
            yield number, held
        held, number = "" if line.startswith("#") else line.strip(), place
    if held:
        yield number, held


def read_tables(folder: Path) -> dict[str, Any]:
    """Return the catalogue, as it is stored, from the tables in `folder`."""
    forks = [
        [cell.strip() for cell in line.split("|")]
        for _, line in lines_of(folder / "forks.txt")
    ]
    places = {fork[0]: place for place, fork in enumerate(forks)}
    catalogue: dict[str, Any] = {"forks": forks}
    catalogue |= {name: {} for name in ("messages", "fields", "enums", "types")}
    for name in ("bvlc.txt", "fields.txt"):
        _read_fields(folder / name, places, catalogue)
    for number, line in lines_of(folder / "types.txt"):
        found = _TYPE.fullmatch(line)
        if found is None:
            raise TableError(f"types.txt:{number}: {line!r} is no row of a type")
        mask = _mask(found[3], places, f"types.txt:{number}")
        catalogue["types"].setdefault(found[1], []).append([found[2].split(), mask])
    return catalogue


def _mask(words: str, places: dict[str, int], where: str) -> int:
    unknown = [word for word in words.split() if word not in places]
    if unknown:
        raise TableError(f"{where}: {unknown} are not in forks.txt")
    return sum(1 << places[word] for word in words.split())


def _read_fields(path: Path, places: dict[str, int], catalogue: dict[str, Any]) -> None:
    message, mask = "", 0
    for number, line in lines_of(path):
        where = f"{path.name}:{number}"
        if block := _BLOCK.fullmatch(line):
            message, mask = block[1], _mask(block[2], places, where)
            if message != "-":
                catalogue["fields"].setdefault(message, [])
                masks = catalogue["messages"]
                masks[message] = masks.get(message, 0) | mask
        elif enum := _ENUM.fullmatch(line):
            name = enum[1] if message == "-" else f"{message}.{enum[1]}"
            for value in enum[2].split():
                word, _, of = value.partition("=")
                values = catalogue["enums"].setdefault(name, [])
                values.append([word, int(of), mask])
        elif row := _ROW.fullmatch(line):
            kind = row["type"]
            if kind.startswith("."):
                kind = message + kind
            default = row["default"]
            if default is not None and default.startswith('"'):
                default = json.loads(default)
            label, packed = _LABELS[row["label"]], 1 if row["packed"] else 0
            catalogue["fields"][message].append(
                [row["name"], int(row["number"]), kind, label, packed, default, mask]
            )
        else:
            raise TableError(f"{where}: {line!r} is no row")


def generate(root: Path = ROOT) -> bytes:
    """Return the catalogue as JSON; raises `TableError` for tables that are wrong."""
    catalogue = read_tables(root / TABLES)
    check(catalogue)
    return json.dumps(catalogue, separators=(",", ":")).encode()


def check(catalogue: dict[str, Any]) -> None:
    """Raise `TableError` where the schema of a fork cannot be built."""
    from netspec.forks.catalogue import Catalogue
    from netspec.forks.schemas import build

    loaded = Catalogue(catalogue)
    for fork in loaded.forks:
        try:
            build(loaded, fork)
        except (TypeError, ValueError, KeyError) as error:
            raise TableError(f"fork {fork.word}: {error}") from error


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the catalogue, or compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    options = parser.parse_args(arguments)
    path = root / CATALOGUE
    try:
        wanted = generate(root)
    except TableError as error:
        print(error, file=sys.stderr)
        return 1
    if path.is_file() and zlib.decompress(path.read_bytes()) == wanted:
        return 0
    if options.check:
        print(f"{CATALOGUE}: differs from {TABLES}\nRun: python tools/gen_forks.py")
        return 1
    path.write_bytes(zlib.compress(wanted, 9))
    print(f"{CATALOGUE}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
