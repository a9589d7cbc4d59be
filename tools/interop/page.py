"""docs/interop.md: its parts that are written by a program."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netspec.readers import READERS
from netspec.readers.rules import RULES
from tools.interop import layers, models
from tools.interop.attempt import TITLES, TRIED, Outcome
from tools.interop.examples import DATA, LOSSES, OWN

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interop.md"
PACKAGES = {"opencv": "opencv-python-headless", "mnn": "MNN", "onnx": "onnxruntime"}


def part(text: str, name: str) -> str:
    """Return what stands between the marks of a part of the page."""
    return text.split(_mark(name, "begin"))[1].split(_mark(name, "end"))[0]


def replaced(text: str, name: str, new: str) -> str:
    """Return the page with another text between two marks."""
    before, rest = text.split(_mark(name, "begin"))
    after = rest.split(_mark(name, "end"))[1]
    return before + _mark(name, "begin") + new + _mark(name, "end") + after


def _mark(name: str, end: str) -> str:
    return f"<!-- {name}: {end} -->\n"


def readers_part() -> str:
    """Return the table of readers."""
    lines = ["\n| reader | `--for` | version | run here |\n|" + " --- |" * 4 + "\n"]
    for name, reader in READERS.items():
        tried = "yes" if name in TRIED else "no: recorded"
        if name == "caffe":
            tried = "no: the form alone"
        lines.append(f"| {reader.title} | `{name}` | {reader.version} | {tried} |\n")
    return "".join(lines) + "\n"


def layers_part() -> str:
    """Return the table of layers, and the types that it leaves out."""
    return (
        f"\n{layers.table()}\n"
        f"Data layers become inputs: {layers.names(DATA)}. Losses and metrics are left "
        f"out: {layers.names(LOSSES)}. A {layers.names(OWN)} layer runs code of its "
        f"own, which no reader has.\n\n"
    )


def rules_part() -> str:
    """Return the table of rules."""
    return f"\n{layers.rules()}\n"


# The parts that follow from the rules alone, and what returns them. What that of layers
# says is run before it is written.
TOLD = {"readers": readers_part, "rules": rules_part}
STATIC = {**TOLD, "layers": layers_part}


@dataclass
class Row:
    """A line of the table of models.

    cells: of each reader what is shown, and the reason where that is no number.
    """

    inputs: str
    cells: list[tuple[str, str]]
    rules: str


def rows_of(table: str) -> dict[str, Row]:
    """Read the rows of a table of models back, with their reasons."""
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", table, re.M))
    rows = {}
    for line in re.findall(r"^\| `.*\|$", table, re.M):
        name, inputs, *cells, rules = (
            one.strip() for one in line.strip("|").split("|")
        )
        shown = [re.fullmatch(r"(.*?)(?: \((\d+)\))?", cell) for cell in cells]
        told = [(one[1], reasons.get(one[2] or "", "")) for one in shown if one]
        rows[name.strip("`")] = Row(inputs, told, rules)
    return rows


def row_of(name: str, outcomes: Mapping[str, Outcome]) -> Row:
    """Return the row of a model that ran."""
    cells = []
    for reader in TRIED:
        one = outcomes[reader]
        reason = one.reason
        if one.verdict == "refused":
            reason = f"{TITLES[reader]}: {reason}"
        cells.append((one.shown, reason))
    used = sorted({rule for one in outcomes.values() for rule in one.rules})
    return Row(models.inputs_of(name), cells, ", ".join(f"`{rule}`" for rule in used))


def models_part(rows: Mapping[str, Row]) -> str:
    """Return the table of models, with the versions and the reasons below it."""
    titles = [TITLES[reader] for reader in TRIED]
    lines = [f"\n{versions()}\n\n"]
    lines.append(f"| {' | '.join(['model', 'inputs', *titles, 'rules'])} |\n")
    lines.append("|" + " --- |" * (len(TRIED) + 3) + "\n")
    reasons: dict[str, int] = {}
    for name, row in rows.items():
        cells = []
        for shown, reason in row.cells:
            number = reasons.setdefault(reason, len(reasons) + 1) if reason else 0
            cells.append(f"{shown} ({number})" if number else shown)
        line = [f"`{name}`", row.inputs, *cells, row.rules]
        lines.append(f"| {' | '.join(line)} |\n")
    lines.append("\n")
    lines += [f"{number}. {text}\n" for text, number in reasons.items()]
    return "".join(lines) + "\n"


def versions() -> str:
    """Return the line of the date and of the versions that ran."""
    return f"{dt.datetime.now(dt.UTC).date()}: {installed()}."


def installed() -> str:
    """Return the versions of readers and of what they share with this project."""
    found = [
        f"{TITLES[reader]} {importlib.metadata.version(package)}"
        for reader, package in PACKAGES.items()
    ]
    found += [
        f"{title} {importlib.metadata.version(package)}"
        for title, package in (("protobuf", "protobuf"), ("NumPy", "numpy"))
    ]
    return ", ".join(found)


def mistakes(text: str) -> list[str]:
    """Return what is not as it should be in the page, without running a reader."""
    found = [
        f"the part '{name}' differs from what the rules say; "
        f"run make {'gen' if name in TOLD else 'interop'}"
        for name, written in STATIC.items()
        if part(text, name) != written()
    ]
    return found + mistakes_of_models(part(text, "models"))


def mistakes_of_models(table: str) -> list[str]:
    """Return what is missing in the table of models."""
    known = {rule.name for rule in RULES}
    rows = rows_of(table)
    found = []
    if list(rows) != models.names():
        found.append("the rows of the table of models are not those of `models`")
    for name, row in rows.items():
        if not (len(row.cells) == len(TRIED) and all(map(_is_told, row.cells))):
            found.append(f"{name}: a cell has neither a number nor a reason")
        for rule in re.findall(r"`(.*?)`", row.rules):
            if rule not in known:
                found.append(f"{name}: there is no rule {rule!r}")
    return found


def _is_told(cell: tuple[str, str]) -> bool:
    shown, reason = cell
    if shown in ("refused", "not compared"):
        return bool(reason)
    return bool(re.fullmatch(r"< 1e-\d", shown))


def wrong(found: Mapping[str, Mapping[str, Outcome]]) -> Sequence[str]:
    """Return what readers computed wrongly, or failed at, though it was exported."""
    return [
        f"{name}: {TITLES[reader]}: {outcome.reason or f'off by {outcome.off}'}"
        for name, outcomes in found.items()
        for reader, outcome in outcomes.items()
        if not outcome.is_fine
    ]
