"""One net in one reader: how far it is from `runtime`, or why there is no number."""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.errors import NetspecError, SpecError, SpecWarning
from netspec.readers import Report, check_for, export_for
from netspec.readers.report import Finding
from netspec.weights import Model
from tools.interop.nets import Computed, difference
from tools.interop.running import ReaderError, is_installed, makers_of, run

BOUNDS = (1e-6, 1e-5, 1e-4)
TRIED = ("opencv", "mnn", "onnx")
TITLES = {"opencv": "OpenCV", "mnn": "MNN", "onnx": "ONNX Runtime"}


@dataclass(frozen=True)
class Outcome:
    """What came of one net in one reader.

    off: the largest difference, relative to the largest output; None where there is
    none. reason: why. rules: the names of those that rewrote something.
    """

    off: float | None
    reason: str = ""
    rules: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The difference as a table has it: below a bound, or the number."""
        if self.off is None:
            return ""
        below = [bound for bound in BOUNDS if self.off < bound]
        return f"< {below[0]:.0e}".replace("e-0", "e-") if below else f"{self.off:.2g}"


def attempt(reader: str, net: Computed, patience_s: float = 60) -> Outcome:
    """Export a net for a reader, run it there, and compare."""
    if not is_installed(reader):
        return Outcome(None, "not installed")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        try:
            rules, layers = _export(reader, net.model, Path(folder))
        except _Refused as refusal:
            return Outcome(None, str(refusal))
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
            return Outcome(None, f"the reader failed: {error}", rules)
    off = max(difference(got[name], net.outputs[name]) for name in names)
    return Outcome(off, "", rules)


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
        to_onnx = importlib.import_module("netspec.onnx").to_onnx
    except AttributeError:
        raise SpecError("netspec.to_onnx is not there yet") from None
    to_onnx(model.net, model.weights, path=path)


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
