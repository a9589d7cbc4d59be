"""One net in one reader: how far it is from `runtime`, or why there is no number."""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import NetspecError, SpecError, SpecWarning
from netspec.readers import Report, check_for, export_for
from netspec.readers.report import Finding
from netspec.weights import Model
from tools.interop.nets import Computed, difference
from tools.interop.running import ReaderError, makers_of, run

DETECTION = 7  # columns: item, class, score and corners
BOUNDS = (1e-5, 1e-4)  # what is above is wrong
TRIED = ("opencv", "mnn", "onnx")
TITLES = {"opencv": "OpenCV", "mnn": "MNN", "onnx": "ONNX Runtime"}


@dataclass(frozen=True)
class Outcome:
    """What came of one net in one reader.

    off: the largest difference, relative to the largest output; None where there is
    none, for a `reason`. verdict: that in a word: "refused" by the exporter, "not
    compared", or "failed" in the reader. rules: those that rewrote something.
    """

    off: float | None
    verdict: str = ""
    reason: str = ""
    rules: tuple[str, ...] = ()

    @property
    def is_fine(self) -> bool:
        """Whether the reader is right, or nothing was written for it."""
        return self.verdict != "failed" if self.off is None else self.off < BOUNDS[-1]

    @property
    def shown(self) -> str:
        """The cell of a table: the bound that the difference keeps, or the verdict."""
        if self.off is None:
            return self.verdict
        below = [bound for bound in BOUNDS if self.off < bound]
        return f"< {below[0]:.0e}".replace("e-0", "e-") if below else f"{self.off:.1e}"

    def __str__(self) -> str:
        off = "" if self.off is None else f"{self.off:.1e}"
        return off or f"{self.verdict}: {self.reason}"


def attempt(reader: str, net: Computed, patience_s: float = 60) -> Outcome:
    """Export a net for a reader, run it there, and compare."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        try:
            rules, layers = _export(reader, net.model, Path(folder))
        except _Refused as error:
            return Outcome(None, "refused", str(error))
        names = list(net.outputs)
        try:
            got = run(
                reader,
                folder,
                net.inputs,
                names,
                makers_of(layers),
                patience_s=patience_s,
            )
        except ReaderError as error:
            return Outcome(None, "failed", " ".join(str(error).split()), rules)
    rows = {
        top
        for layer in net.model.net.layer
        if layer.type == "DetectionOutput"
        for top in layer.top
    }
    off = max(
        difference(sorted_detections(got[name]), sorted_detections(net.outputs[name]))
        if name in rows
        else difference(got[name], net.outputs[name])
        for name in names
    )
    return Outcome(off, rules=rules)


def sorted_detections(rows: np.ndarray) -> np.ndarray:
    """Return detections by item, class and score, without rows that fill up.

    OpenCV has other orders, and zeros behind what it finds, which its rule tells.
    """
    rows = rows.reshape(-1, DETECTION)
    rows = rows[rows[:, 2] > 0]
    return rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]


def refusal(reader: str, model: Model) -> str:
    """Return why a net is not written for a reader, "" where it is."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        try:
            _export(reader, model, Path(folder))
        except _Refused as error:
            return str(error)
    return ""


class _Refused(Exception):
    """The exporter refuses; the text says why, in short."""


def _export(
    reader: str, model: Model, folder: Path
) -> tuple[tuple[str, ...], Sequence[Any]]:
    """Write the files; return the rules that were needed, and the layers written."""
    if reader == "onnx":
        try:
            write_onnx(model, folder / "net.onnx")
        except NetspecError as error:
            raise _Refused(" ".join(str(error).split())) from error
        return (), model.net.layer
    try:
        done = export_for(model, reader)
    except NetspecError as error:
        raise _Refused(why_refused(check_for(model, reader))) from error
    done.save(folder)
    rules = dict.fromkeys(each.rule for each in done.report.rewritten)
    return tuple(rules), done.model.net.layer


def write_onnx(model: Model, path: Path | None) -> None:
    """Make an ONNX model of a net, and write it if a path is given."""
    try:
        to_onnx = importlib.import_module("netspec").to_onnx
    except AttributeError:
        raise SpecError("netspec.to_onnx is not there yet") from None
    to_onnx(model, path=path)


def why_refused(report: Report) -> str:
    """Return the reasons, each once, with the first layer that has it."""
    first: dict[str, list[Finding]] = {}
    for finding in report.refused:
        first.setdefault(finding.text, []).append(finding)
    said = []
    for text, findings in first.items():
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        said.append(f"{findings[0].layer}{more}: {text}")
    return "; ".join(said)
