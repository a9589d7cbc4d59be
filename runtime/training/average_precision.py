"""Mean average precision of detections, from the rows of DetectionEvaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from netspec.errors import SpecError
from netspec.schema import SolverParameter

VERSIONS = ("11point", "MaxIntegral", "Integral")
EVALUATIONS = ("classification", "detection")
SAME_RECALL = 1e-6  # recalls that differ by less are one
NO_ITEM = -1  # the item of a row that counts the objects of a class


@dataclass(frozen=True)
class Precision:
    """How test passes sum detections up.

    version: of average precision. per_class: whether every class has a result too.
    required: whether a net without DetectionEvaluate at its end is a mistake.
    """

    version: str = "Integral"
    per_class: bool = False
    required: bool = False


def precision_of(param: SolverParameter) -> Precision:
    """Read `eval_type`, `ap_version` and `show_per_class_result` of a solver.

    Raises `SpecError` for words that mean nothing.
    """
    if param.eval_type not in EVALUATIONS:
        raise SpecError(
            f"solver: eval_type is {param.eval_type!r}; expected "
            f"{' or '.join(EVALUATIONS)}"
        )
    _check(param.ap_version)
    return Precision(
        param.ap_version, param.show_per_class_result, param.eval_type == "detection"
    )


def _check(version: str) -> None:
    if version not in VERSIONS:
        raise SpecError(
            f"ap_version is {version!r}; expected one of {', '.join(VERSIONS)}"
        )


def average_precision(
    scores: Sequence[float] | np.ndarray,
    right: Sequence[bool] | np.ndarray,
    positives: int,
    version: str = "Integral",
) -> float:
    """Return the average precision of the detections of one class.

        after the k highest scores: precision p_k = right / k, recall r_k = right /
        positives

        11point:     the mean over r = 0, 0.1, ... 1 of the largest p_k with r_k >= r
        MaxIntegral: the area below the largest p_j with j >= k, over recall
        Integral:    the sum of p_k (r_k - r_(k-1))

    11point is PASCAL VOC's up to 2007, MaxIntegral that from 2010 on and ILSVRC's.
    Equal scores stay in order. Without positives or detections it is 0.

    Source: ComputeAP in bbox_util.cpp of SSD.
    """
    _check(version)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    found = np.cumsum(np.asarray(right, bool)[order])
    if not len(found) or positives < 1:
        return 0.0
    precision = found / np.arange(1, len(found) + 1)
    recall = (found / np.float32(positives)).astype(np.float32)
    if version == "11point":
        tenths = np.arange(11) / 10
        best = [np.max(precision[recall >= at], initial=0.0) for at in tenths]
        return float(np.mean(best))
    if version == "MaxIntegral":
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall.astype(np.float64), prepend=0.0)
    return float(np.sum(precision[steps > SAME_RECALL] * steps[steps > SAME_RECALL]))


@dataclass
class Detections:
    """The rows of DetectionEvaluate of several batches."""

    _rows: list[np.ndarray] = field(default_factory=list)

    def add(self, rows: np.ndarray) -> None:
        """Take the rows of a batch: (1, 1, K, 5)."""
        self._rows.append(rows.reshape(-1, 5).copy())

    def by_class(self, version: str) -> dict[int, float]:
        """Return the average precision of every class, by its number.

        A class without objects has 0, and counts in the mean, as in SSD.
        """
        rows = np.concatenate(self._rows)
        counted = rows[:, 0] == NO_ITEM
        numbers, found = rows[counted], rows[~counted]
        found = found[(found[:, 3] != 0) | (found[:, 4] != 0)]  # difficult ones
        result = {}
        for label in np.unique(numbers[:, 1]):
            mine = found[found[:, 1] == label]
            positives = int(numbers[numbers[:, 1] == label, 2].sum())
            result[int(label)] = average_precision(
                mine[:, 2], mine[:, 3] != 0, positives, version
            )
        return result

    def results(self, name: str, precision: Precision) -> dict[str, np.ndarray]:
        """Return the mean average precision as output `name`, and of every class."""
        by_class = self.by_class(precision.version)
        results = {name: np.array(np.mean([*by_class.values()] or [0.0]))}
        if precision.per_class:
            for label, value in by_class.items():
                results[f"{name}_class{label}"] = np.array(value)
        return results
