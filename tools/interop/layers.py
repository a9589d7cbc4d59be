"""The table of layer types and readers, and that of the rules."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from netspec.catalogue.table import LAYER_TYPES
from netspec.errors import NetspecError, SpecWarning
from netspec.readers import READERS, check_for
from netspec.readers.rules import RULES
from netspec.weights import Model
from runtime.layers import portable_kernels
from tools.interop.attempt import TITLES, TRIED, Outcome, attempt, write_onnx
from tools.interop.examples import DATA, EXAMPLES, LOSSES, OWN, Example
from tools.interop.nets import Computed, computed, with_ones

NOT_TRIED = tuple(name for name in READERS if name not in ("caffe", *TRIED))
FAULTS = {"SILENT": "silently", "REFUSED": "refuses", "DOUBTFUL": "perhaps"}


def head() -> str:
    """Return the head of the table of layers."""
    titles = [TITLES[name] for name in TRIED]
    titles += [READERS[name].title for name in NOT_TRIED]
    cells = ["layer", "options", *titles, "rules"]
    return f"| {' | '.join(cells)} |\n|{' --- |' * len(cells)}\n"


def table() -> str:
    """Return the table of layers: what the exporter does with each example."""
    return head() + "".join(row(example) for example in EXAMPLES)


def row(example: Example) -> str:
    """Return the line of one example."""
    model = model_of(example)
    cells, rules = [], dict[str, None]()
    for reader in (*TRIED, *NOT_TRIED):
        said, used = statement(reader, model)
        if not said:
            said = "right" if reader in TRIED and _runs(example) else "unchanged"
        cells.append(said)
        rules.update(dict.fromkeys(used))
    named = ", ".join(f"`{name}`" for name in sorted(rules))
    return f"| {example.kind} | {example.options} | {' | '.join(cells)} | {named} |\n"


def statement(reader: str, model: Model) -> tuple[str, list[str]]:
    """Return what is done with a net for a reader, and by which rules.

    "" where it is written as it is.
    """
    if reader == "onnx":
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", SpecWarning)
            try:
                write_onnx(model, None)
            except NetspecError:
                return "refused", []
        return "warned" if said else "", []
    report = check_for(model, reader)
    rules = [each.rule for each in report.findings if each.rule != "type"]
    if report.refused:
        return "refused", rules
    return ", ".join(x for x in ("rewritten", "warned") if report.of(x)), rules


def model_of(example: Example) -> Model:
    """Return the net of an example with values."""
    return _computed(example).model if _runs(example) else with_ones(example.net())


def differences(example: Example) -> Iterator[tuple[str, Outcome]]:
    """Run an example in every reader that takes it."""
    if not _runs(example):
        return
    done = _computed(example)
    for reader in TRIED:
        if statement(reader, done.model)[0] != "refused":
            yield reader, attempt(reader, done)


def _runs(example: Example) -> bool:
    return example.kind in portable_kernels()


def _computed(example: Example) -> Computed:
    return computed(example.net(), example.values)


def unlisted() -> set[str]:
    """Return the layer types that no table says anything of."""
    listed = {example.kind for example in EXAMPLES} | {*DATA, *LOSSES, *OWN}
    return set(LAYER_TYPES) - listed


def rules() -> str:
    """Return the table of rules."""
    lines = ["| rule | layers | what | readers | instead |\n", f"|{' --- |' * 5}\n"]
    for rule in RULES:
        readers = "; ".join(
            f"{READERS[name].title} ({FAULTS[finds.fault.name]}): {finds.what}"
            for name, finds in rule.readers.items()
        )
        cells = (f"`{rule.name}`", ", ".join(rule.types), rule.says, readers)
        lines.append(f"| {' | '.join(_cell(c) for c in (*cells, rule.instead))} |\n")
    return "".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def names(listed: Sequence[str]) -> str:
    """Return layer types as a sentence has them."""
    return ", ".join(sorted(listed))
