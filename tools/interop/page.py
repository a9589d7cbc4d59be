"""docs/interop.md: its parts that are written by a program."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
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


# The parts that follow from the rules alone, and what returns them.
STATIC = {"readers": readers_part, "layers": layers_part, "rules": rules_part}


def models_part(found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """Return the table of models, with the versions and the reasons below it."""
    titles = [TITLES[reader] for reader in TRIED]
    lines = [f"\n{versions()}\n\n"]
    lines.append(f"| {' | '.join(['model', 'inputs', *titles, 'rules'])} |\n")
    lines.append("|" + " --- |" * (len(TRIED) + 3) + "\n")
    reasons: dict[str, int] = {}
    for name, outcomes in found.items():
        cells = [_cell(reader, outcomes[reader], reasons) for reader in TRIED]
        used = sorted({rule for one in outcomes.values() for rule in one.rules})
        rules = ", ".join(f"`{rule}`" for rule in used)
        row = [f"`{name}`", models.inputs_of(name), *cells, rules]
        lines.append(f"| {' | '.join(row)} |\n")
    lines.append("\n")
    lines += [f"{number}. {text}\n" for text, number in reasons.items()]
    return "".join(lines) + "\n"


def versions() -> str:
    """Return the line of the date and of the versions that ran."""
    found = [
        f"{TITLES[reader]} {importlib.metadata.version(package)}"
        for reader, package in PACKAGES.items()
    ]
    found += [
        f"{title} {importlib.metadata.version(package)}"
        for title, package in (("protobuf", "protobuf"), ("NumPy", "numpy"))
    ]
    return f"{dt.datetime.now(dt.UTC).date()}: {', '.join(found)}."


def _cell(reader: str, outcome: Outcome, reasons: dict[str, int]) -> str:
    if outcome.off is not None:
        return outcome.shown
    text = f"{TITLES[reader]}: {outcome.reason}"
    number = reasons.setdefault(text, len(reasons) + 1)
    return f"{outcome.verdict} ({number})"


def mistakes(text: str) -> list[str]:
    """Return what is not as it should be in the page, without running a reader."""
    found = [
        f"the part '{name}' differs from what the rules say"
        for name, written in STATIC.items()
        if part(text, name) != written()
    ]
    return found + mistakes_of_models(part(text, "models"))


def mistakes_of_models(table: str) -> list[str]:
    """Return what is missing in the table of models."""
    known = {rule.name for rule in RULES}
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", table, re.M)
    found = []
    if [name for name, _ in rows] != models.names():
        found.append("the rows of the table of models are not those of `models`")
    for name, cells in rows:
        shown = [cell.strip() for cell in cells.split("|")][1 : 1 + len(TRIED)]
        if not all(_is_result(cell) for cell in shown):
            found.append(f"{name}: a cell has neither a number nor a reason")
        for rule in re.findall(r"`(.*?)`", cells.split("|")[-1]):
            if rule not in known:
                found.append(f"{name}: there is no rule {rule!r}")
    named = {int(number) for number in re.findall(r"\w \((\d+)\)", table)}
    told = [int(number) for number in re.findall(r"^(\d+)\. \S", table, re.M)]
    if sorted(named) != told:
        found.append("numbers of reasons and reasons differ")
    return found


def _is_result(cell: str) -> bool:
    return bool(re.fullmatch(r"< 1e-\d|(refused|not compared) \(\d+\)", cell))


def wrong(found: Mapping[str, Mapping[str, Outcome]]) -> Sequence[str]:
    """Return what readers computed wrongly, or failed at, though it was exported."""
    return [
        f"{name}: {TITLES[reader]}: {outcome.reason or f'off by {outcome.off}'}"
        for name, outcomes in found.items()
        for reader, outcome in outcomes.items()
        if not outcome.is_fine
    ]
