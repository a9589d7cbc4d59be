"""The loss curve as a file."""

import math
import sys

import numpy as np
import pytest

from netspec.errors import FileError, MachineError, SpecError
from runtime.training import plots
from runtime.training.history import History, StepRecord, TestRecord
from runtime.training.plots import draw_history

matplotlib = pytest.importorskip("matplotlib")


def history(steps=40, nets=1):
    losses = 3.0 * 0.9 ** np.arange(steps)
    train = [
        StepRecord(i, loss, loss * 1.1, 0.1, 0.01) for i, loss in enumerate(losses)
    ]
    tests = [
        TestRecord(
            at,
            net,
            {"loss": np.array(1.5), "accuracy": np.array(0.75), "prob": np.ones(3)},
            {"loss": 1.0},
        )
        for at in (0, 20)
        for net in range(nets)
    ]
    return History(train, tests)


@pytest.fixture
def axes(monkeypatch):
    """The axes of the next figure that is drawn."""
    seen = []

    def savefig(figure, file, **_):
        seen.extend(figure.axes)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    return seen


def labels(one):
    return one.get_legend_handles_labels()[1]


@pytest.mark.parametrize(
    "suffix, start", [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_suffix_says_the_format(tmp_path, suffix, start):
    path = tmp_path / f"curve.{suffix}"
    draw_history(history(), path, title="lenet")
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_losses_and_scores_have_axes_of_their_own(tmp_path, axes):
    draw_history(history(), tmp_path / "curve.svg", title="lenet")
    losses, scores = axes
    assert losses.get_title() == "lenet"
    assert labels(losses) == ["train loss", "test loss"]
    assert labels(scores) == ["accuracy"]
    raw, smoothed, tested = losses.get_lines()
    np.testing.assert_allclose(raw.get_ydata()[:2], [3.0, 2.7])
    assert raw.get_color() == smoothed.get_color() != tested.get_color()
    assert list(tested.get_xdata()) == [0, 20]
    assert list(scores.get_lines()[0].get_ydata()) == [0.75, 0.75]


def test_smooth_curve_is_the_mean_of_a_fiftieth_of_the_run(tmp_path, axes):
    long = history(130)
    long.train[5] = StepRecord(5, math.inf, 1.0, 0.1, 0.01)
    draw_history(long, tmp_path / "curve.svg")
    raw, smoothed = axes[0].get_lines()[:2]
    losses = raw.get_ydata()
    assert not math.isfinite(losses[5])
    assert smoothed.get_ydata()[0] == losses[0]
    assert smoothed.get_ydata()[1] == pytest.approx(losses[:2].mean())
    assert smoothed.get_ydata()[6] == pytest.approx((losses[4] + losses[6]) / 2)
    assert smoothed.get_ydata()[9] == pytest.approx(losses[7:10].mean())


def test_several_test_nets_are_told_apart(tmp_path, axes):
    draw_history(history(nets=2), tmp_path / "curve.svg")
    assert labels(axes[1]) == ["accuracy (net 0)", "accuracy (net 1)"]


def test_losses_alone_need_one_picture(tmp_path, axes):
    only = history()
    only.tests.clear()
    draw_history(only, tmp_path / "curve.svg")
    assert len(axes) == 1


@pytest.mark.parametrize("steps, scale", [(30, "linear"), (60, "log")])
def test_axis_is_logarithmic_where_losses_fall_far(tmp_path, axes, steps, scale):
    draw_history(history(steps), tmp_path / "curve.svg")
    assert axes[0].get_yscale() == scale


def test_long_runs_are_drawn_as_the_range_of_neighbours(tmp_path, axes, monkeypatch):
    monkeypatch.setattr(plots, "MOST_POINTS", 10)
    long = history(38)
    draw_history(long, tmp_path / "curve.svg")
    (smoothed, _), (band,) = axes[0].get_lines(), axes[0].collections
    ends = [3, 7, 11, 15, 19, 23, 27, 31, 35, 37]
    assert list(smoothed.get_xdata()) == ends
    np.testing.assert_allclose(
        smoothed.get_ydata(), [long.train[at].loss for at in ends]
    )
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(long.train[0].loss)
    assert corners[:, 1].min() == pytest.approx(long.train[37].loss)


def test_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "curve.svg").symlink_to("/dev/full")
    with pytest.raises(FileError, match="curve.svg: cannot be written: No space left"):
        draw_history(history(), tmp_path / "curve.svg")
    with pytest.raises(
        FileError, match="lost/curve.svg: cannot be written: there is no folder"
    ):
        draw_history(history(), tmp_path / "lost" / "curve.svg")


def test_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(
        SpecError, match=r"curve.gif: .* must end in \.svg, \.png, \.pdf"
    ):
        draw_history(history(), tmp_path / "curve.gif")


def test_missing_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MachineError, match=r"install the extra netspec\[plot\]"):
        draw_history(history(), tmp_path / "curve.svg")
