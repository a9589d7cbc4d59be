"""Curves of a training run as a picture file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError, SpecError
from netspec.files import replacing
from runtime.training.history import History

FORMATS = ("svg", "png", "pdf")
MOST_POINTS = 2000  # of a curve, about three for each pixel of width
WINDOWS = 50  # the smooth curve is a mean over this fraction of the run
LOG_RANGE = 100.0  # largest loss over smallest one from which the axis is logarithmic


def check_plot_path(path: str | Path) -> None:
    """Raise `SpecError` for a file name that says no picture format."""
    if Path(path).suffix[1:].lower() not in FORMATS:
        raise SpecError(
            f"{path}: a curve's file must end in {', '.join('.' + f for f in FORMATS)}"
        )


def draw_history(history: History, path: str | Path, *, title: str = "") -> None:
    """Draw the losses, and below them the other outputs of the tests, into a file.

    The training loss is drawn as recorded, and smoothed over a fiftieth of the run. The
    suffix of `path` says the format: .svg, .png or .pdf.

    Raises `MachineError` without matplotlib, `FileError` where the file cannot be
    written.
    """
    check_plot_path(path)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MachineError(
            "the loss curve needs matplotlib, which is not installed; install the "
            "extra netspec[plot]"
        ) from error
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    scores = test_curves(history, losses=False)
    figure = Figure(figsize=(7, 6.5 if scores else 4), layout="constrained")
    axes = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False)[:, 0]
    _draw_losses(axes[0], history)
    if title:
        axes[0].set_title(title)
    if scores:
        for name, (iterations, values) in scores.items():
            axes[1].plot(iterations, values, marker=".", label=name)
        axes[1].set_ylabel("test outputs")
        axes[1].legend()
    axes[-1].set_xlabel("iteration")
    for one in axes:
        one.grid(alpha=0.3)
    with replacing(path) as file:
        kind = Path(path).suffix[1:].lower()
        try:
            # Without a date, equal runs give equal files.
            metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
            figure.savefig(file, format=kind, metadata=metadata[kind])
        except OSError as error:
            raise FileError(f"{path}: cannot be written: {error.strerror}") from error


def _draw_losses(axes: Any, history: History) -> None:
    iterations = np.array([record.iteration for record in history.train])
    raw = np.array([record.loss for record in history.train])
    # A long run has more points than a picture shows: of each group of neighbours,
    # the range is drawn and the last mean.
    group = -(-len(raw) // MOST_POINTS)
    starts = np.arange(0, len(raw), group)
    low, high = np.minimum.reduceat(raw, starts), np.maximum.reduceat(raw, starts)
    if group == 1:
        axes.plot(iterations, raw, color="C0", alpha=0.35, linewidth=0.8)
    else:
        axes.fill_between(iterations[starts], low, high, color="C0", alpha=0.2)
    last = np.append(starts[1:], len(raw)) - 1
    means = running_mean(raw, -(-len(raw) // WINDOWS))
    axes.plot(iterations[last], means[last], color="C0", label="train loss")
    for number, (name, curve) in enumerate(test_curves(history, losses=True).items()):
        axes.plot(*curve, marker=".", color=f"C{number + 1}", label=f"test {name}")
    finite = raw[np.isfinite(raw)]
    # Losses that fall by orders of magnitude show only on a logarithmic axis.
    if finite.size and finite.min() > 0 and finite.max() / finite.min() > LOG_RANGE:
        axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.legend()


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of each value and those before it, `window` in all.

    Shapes: values (n) -> (n). Values that are not finite are left out.
    """
    finite = np.isfinite(values)
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    sums = np.append(0, np.cumsum(np.where(finite, values, 0)))
    counts = np.append(0, np.cumsum(finite))
    return (sums[ends] - sums[starts]) / np.maximum(1, counts[ends] - counts[starts])


def test_curves(
    history: History, *, losses: bool
) -> dict[str, tuple[list[int], list[float]]]:
    """Return the scalar test outputs that are losses, or those that are not."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    several = any(record.net > 0 for record in history.tests)
    for record in history.tests:
        for name, value in record.scalars().items():
            if (name in record.loss_weights) == losses:
                key = f"{name} (net {record.net})" if several else name
                iterations, values = found.setdefault(key, ([], []))
                iterations.append(record.iteration)
                values.append(value)
    return found
