"""Curves of a training run as a picture file."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError, SpecError
from netspec.errors import shown as told
from netspec.files import replacing
from runtime.execution.arguments import path_of
from runtime.training.records import Records
from runtime.training.scales import scale_of

FORMATS = ("svg", "png", "pdf")
MOST_POINTS = 2000  # of a curve, about three for each pixel of width
WINDOWS = 50  # the smooth curve is a mean over this fraction of the run


def check_plot_path(path: str | Path) -> None:
    """Raise `SpecError` for a file name that says no picture format."""
    if Path(path).suffix[1:].lower() not in FORMATS:
        raise SpecError(
            f"{path}: a curve's file must end in {', '.join('.' + f for f in FORMATS)}"
        )


def draw_history(
    history: Records,
    path: str | Path,
    *,
    title: str = "",
    smooth: int | None = None,
    log: bool | None = None,
) -> None:
    """Draw the losses, and below them the other outputs of the tests, into a file.

    The suffix of `path` says the format: .svg, .png or .pdf. smooth, log: as of
    `History.plot`.

    Raises `MachineError` without matplotlib, `FileError` where the file cannot be
    written.
    """
    path = path_of(path, "path")
    check_plot_path(path)
    figure = figure_of(history, smooth=smooth, log=log, title=title)
    with replacing(path) as file:
        kind = Path(path).suffix[1:].lower()
        try:
            # Without a date, equal runs give equal files.
            metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
            figure.savefig(file, format=kind, metadata=metadata[kind])
        except OSError as error:
            raise FileError(f"{path}: cannot be written: {error.strerror}") from error


def figure_of(
    history: Records,
    *,
    smooth: int | None = None,
    log: bool | None = None,
    title: str = "",
) -> Any:
    """Return a figure of the losses, and below them of the other outputs of the tests.

    The training loss is drawn as recorded, and smoothed. The arguments are those of
    `History.plot`.
    """
    history = getattr(history, "history", history)  # a solver has one
    if not (hasattr(history, "train") and hasattr(history, "tests")):
        raise SpecError(f"history is {told(history)}; expected a History or a Solver")
    if smooth is not None and (isinstance(smooth, bool) or smooth < 1):
        raise SpecError(f"smooth is a number of iterations above 0, got {smooth!r}")
    scores = test_curves(history, losses=False)
    figure = new_figure((7, 6.5 if scores else 4))
    axes = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False)[:, 0]
    shown = _draw_losses(axes[0], history, smooth)
    scale_axis(axes[0], shown, log)
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
    return figure


def new_figure(size: tuple[float, float], what: str = "the loss curve") -> Any:
    """Return a figure of matplotlib that a notebook shows, whatever its back end.

    what: is drawn.

    Raises `MachineError` without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MachineError(
            f"{what} needs matplotlib, which is not installed; install the "
            f"extra netspec[plot]"
        ) from error
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

    def as_png(figure: Figure) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()

    kind = type("Figure", (Figure,), {"_repr_png_": as_png, "__module__": __name__})
    return kind(figsize=size, layout="constrained")


def _draw_losses(axes: Any, history: Records, smooth: int | None) -> np.ndarray:
    """Draw all losses, and return the values that must be seen well."""
    seen = [np.zeros(0)]
    if history.train:
        seen.append(_draw_training(axes, history, smooth))
    for number, (name, curve) in enumerate(test_curves(history, losses=True).items()):
        axes.plot(*curve, marker=".", color=f"C{number + 1}", label=f"test {name}")
        seen.append(np.array(curve[1]))
    axes.set_ylabel("loss")
    if len(seen) > 1:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no losses yet", ha="center", transform=axes.transAxes)
    return np.concatenate(seen)


def _draw_training(axes: Any, history: Records, smooth: int | None) -> np.ndarray:
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
    means = running_mean(raw, smooth or -(-len(raw) // WINDOWS))[last]
    axes.plot(iterations[last], means, color="C0", label="train loss")
    return np.append(means, raw[raw <= 0][:1])  # of which there is no logarithm


def scale_axis(axes: Any, values: np.ndarray, log: bool | None) -> None:
    """Give an axis of losses the scale that shows them well; log: says it instead."""
    logarithmic, top = scale_of(values)
    if logarithmic if log is None else log:
        axes.set_yscale("log")
    elif top is not None and log is None:
        finite = values[np.isfinite(values)]
        room = 0.05 * (top - finite.min()) or 1.0
        axes.set_ylim(finite.min() - room, top + room)
        told = f"up to {finite.max():.3g}"
        axes.text(0.01, 0.02, told, transform=axes.transAxes)


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
    history: Records, *, losses: bool
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
