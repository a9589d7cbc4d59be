"""`export_for` and `check_for`: a net for one reader."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.errors import UnsupportedError, join
from netspec.files import make_folder
from netspec.ops.base import label
from netspec.readers.draft import Draft
from netspec.readers.form import plain_form
from netspec.readers.reader import reader_named
from netspec.readers.report import Finding, Report
from netspec.readers.rewriting import rewrite
from netspec.readers.rules.normalization import uses_batch
from netspec.surgery.folding import fold_layers
from netspec.text import write_message
from netspec.weights import Model


@dataclass(frozen=True)
class Exported:
    """A net in the form for one reader, and what was changed for it.

    model: the net with its values; without, where none were given.
    """

    model: Model
    report: Report

    def save(self, folder: str | Path, name: str = "net") -> list[Path]:
        """Write `name.prototxt`, and `name.caffemodel` if there are values.

        The folder is made where it is missing. Returns the paths. Raises `FileError`.
        """
        folder = make_folder(folder)
        paths = [folder / f"{name}.prototxt"]
        write_message(paths[0], self.model.net)
        if self.model.weights is not None:
            paths.append(folder / f"{name}.caffemodel")
            self.model.save(paths[1])
        return paths


def export_for(
    net: Any,
    reader: str,
    weights: Any = None,
    *,
    anyway: bool = False,
    fold: bool = False,
) -> Exported:
    """Return a net for use in the form in which a reader computes what Caffe does.

    net: what `netspec.load` takes, for use: see `netspec.deploy`. reader: one of
    `netspec.readers.READERS`, such as "opencv". weights: a weight file, or arrays by
    layer name; None takes those in the net. Without any, what has to change arrays is
    warned of. anyway: what the reader does not get right is warned of, not refused.
    fold: first make BatchNorm, Scale and Bias a part of the weights before them, where
    that is equal: see `netspec.surgery.fold_batchnorm`.

    Raises `UnsupportedError` that names every layer, option and reader for which
    nothing equal is known; `SpecError` for a net or weights that are wrong.
    """
    exported = _rewritten(net, reader, weights, fold)
    report = exported.report
    if report.refused and anyway:
        findings = [
            dataclasses.replace(each, action="warned")
            if each.action == "refused"
            else each
            for each in report.findings
        ]
        return Exported(exported.model, Report(report.reader, findings))
    if report.refused:
        raise UnsupportedError(join([str(each) for each in report.refused]))
    return exported


def check_for(
    net: Any, reader: str, weights: Any = None, *, fold: bool = False
) -> Report:
    """Return what `export_for` would do, and what it would refuse; see there."""
    return _rewritten(net, reader, weights, fold).report


def _rewritten(net: Any, reader: str, weights: Any, fold: bool) -> Exported:
    known = reader_named(reader)
    model = plain_form(net, weights)
    findings: list[Finding] = []
    if fold:
        model, findings = _folded(model)
    if known.name == "caffe":
        return Exported(model, Report(known, findings))
    draft = Draft(model)
    report = rewrite(draft, known)
    report.findings[:0] = findings
    return Exported(draft.model(), report)


def _folded(model: Model) -> tuple[Model, list[Finding]]:
    """Return a model with its BatchNorm, Scale and Bias in weights, and what is told.

    A BatchNorm that takes the statistics of the batch cannot go into weights.
    """
    labels = {layer.name: label(layer) for layer in model.net.layer}
    only = [layer.name for layer in model.net.layer if not uses_batch(layer)]
    done = fold_layers(model, only=only)
    findings = [
        Finding(labels[name], "fold", "rewritten", f"now a part of {labels[into]}")
        for name, into in done.folded.items()
    ]
    return done.model, findings
