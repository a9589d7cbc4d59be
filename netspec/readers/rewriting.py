"""Applying the rules to a net until none of them holds for the reader."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.readers.draft import Draft, Made, Place
from netspec.readers.reader import Reader
from netspec.readers.report import Finding, Report
from netspec.readers.rule import Fault, Finds, Rule
from netspec.readers.rules import RULES
from netspec.readers.rules.types import whether_known

MAX_PASSES = 20  # over the table; each rule ends what it is about


def rewrite(draft: Draft, reader: Reader) -> Report:
    """Rewrite a net for a reader, in place, and report.

    What cannot be helped stays as it is and is in the report as refused or warned of.
    """
    report = Report(reader)
    for _ in range(MAX_PASSES):
        changed = [_apply(rule, draft, report) for rule in RULES]
        if not any(changed):
            break
    else:
        raise RuntimeError(f"the rules for {reader.name} do not come to an end")
    for place in draft.places:
        reason = whether_known(place, reader.name)
        if reason and not _is_told(report, place):
            report.findings.append(
                Finding(place.label, "type", "refused", f"{reader.title} {reason}")
            )
    return report


def _apply(rule: Rule, draft: Draft, report: Report) -> bool:
    """Apply one rule to every layer; tell whether the net changed."""
    finds = rule.readers.get(report.reader.name)
    if finds is None:
        return False
    changed = False
    for place in [x for x in draft.places if x.type in rule.types and rule.applies(x)]:
        label = place.label
        if not rule.mends:
            _tell(report, label, rule, finds)
        elif rule.needs_values and not draft.has_values:
            _tell(report, label, rule, finds, without_values=True)
        elif rule.edit is None and not _replace(rule, draft, place):
            _tell(report, label, rule, finds, overwrites_input=True)
        else:
            if rule.edit is not None:
                rule.edit(place)
            changed = True
            text = f"{rule.says}: {report.reader.title} {finds.what}"
            now = f"; now {rule.instead}" if rule.instead else ""
            report.findings.append(Finding(label, rule.name, "rewritten", text + now))
    if changed:
        draft.build()
    return changed


def _replace(rule: Rule, draft: Draft, place: Place) -> bool:
    """Replace a layer; return False where an output would get another name."""
    draft.own_top(place)
    made = rule.written(place)
    overwrites = set(place.layer.bottom) & set(place.layer.top)
    if not all(_is_in_place(each, blob) for each in made for blob in overwrites):
        if draft.overwritten_outputs(place):
            return False
        draft.own_top(place, of_inputs=True)
        made = rule.written(place)
    draft.replace(place, made)
    return True


def _is_in_place(made: Made, blob: str) -> bool:
    return list(made.layer.bottom) == list(made.layer.top) == [blob]


def _tell(
    report: Report,
    label: str,
    rule: Rule,
    finds: Finds,
    *,
    without_values: bool = False,
    overwrites_input: bool = False,
) -> None:
    """Put into the report, once, that nothing could be done."""
    text = f"{rule.says}: {report.reader} {finds.what}"
    if without_values:
        text += f"; give the weights too, so that {rule.instead} can be written"
    if overwrites_input:
        text += (
            f"; {rule.instead} cannot work in place on an input of the net: give the "
            f"top a name of its own"
        )
    action = "refused"
    if finds.fault is Fault.DOUBTFUL or (
        without_values and finds.fault is Fault.SILENT
    ):
        action = "warned"
    finding = Finding(label, rule.name, action, text)  # type: ignore[arg-type]
    if finding not in report.findings:
        report.findings.append(finding)


def _is_told(report: Report, place: Place) -> bool:
    return any(
        finding.layer == place.label and finding.action == "refused"
        for finding in report.findings
    )


def would_find(draft: Draft, readers: Sequence[Reader]) -> list[tuple[str, Rule, str]]:
    """Return what readers would compute wrongly without a word: reader, rule, layer."""
    return [
        (reader.name, rule, place.label)
        for rule in RULES
        for place in draft.places
        if place.type in rule.types
        for reader in readers
        if (finds := rule.readers.get(reader.name)) is not None
        and finds.fault is Fault.SILENT
        and rule.applies(place)
    ]
