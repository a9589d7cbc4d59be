"""Records of the steps and tests of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

DIGITS = 7  # of a float32


def plain(value: float) -> float:
    """Return a float32 as it was written: 0.05 for 0.05000000074505806."""
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True)
class StepRecord:
    """One iteration: its loss was computed with the parameters before its update.

    `smoothed_loss` is the mean over the last `average_loss` iterations, `seconds` the
    time of forward, backward and update, without that of compiling kernels.
    """

    iteration: int
    loss: float
    smoothed_loss: float
    lr: float
    seconds: float

    def __repr__(self) -> str:
        return (
            f"StepRecord(iteration={self.iteration}, loss={self.loss:.6g}, "
            f"smoothed_loss={self.smoothed_loss:.6g}, lr={plain(self.lr)}, "
            f"seconds={self.seconds:.3g})"
        )

    def values(self) -> Iterator[tuple[str, str, float]]:
        """Yield (phase, name, value)."""
        yield "train", "loss", self.loss
        yield "train", "lr", self.lr
        yield "train", "seconds", self.seconds


@dataclass(frozen=True)
class TestRecord:
    """One test pass: the mean of every output of a test net over its batches.

    `loss_weights` says which outputs are losses; `loss` is the mean of the whole
    objective, or None if that was not asked for.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    iteration: int
    net: int
    outputs: Mapping[str, np.ndarray]
    loss_weights: Mapping[str, float]
    loss: float | None = None
    seconds: float = 0.0

    def scalars(self) -> dict[str, float]:
        """Return the outputs that are a single number."""
        return {
            name: float(values.reshape(-1)[0])
            for name, values in self.outputs.items()
            if values.size == 1
        }

    def __repr__(self) -> str:
        outputs = "".join(
            f", {name}={value.item():.6g}" if value.size == 1 else f", {name}=..."
            for name, value in self.outputs.items()
        )
        return f"TestRecord(iteration={self.iteration}, net={self.net}{outputs})"

    def values(self) -> Iterator[tuple[str, str, float]]:
        """Yield (phase, name, value)."""
        phase = "test" if self.net == 0 else f"test{self.net}"
        for name, value in self.scalars().items():
            yield phase, name, value


class Records(Protocol):
    """What there is to show of a run; a `History` is."""

    train: list[StepRecord]
    tests: list[TestRecord]
    epoch_size: int | None
