"""Charts are SVG without scripts, in the colours of the page."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from runtime.html import Markup, closed, output, table
from runtime.training.history import History, StepRecord, TestRecord
from runtime.training.showing.chart import COLOURS, Line, chart, thinned
from runtime.training.showing.curves import Losses, curves_html

NOT_FINITE = re.compile(r"\b(nan|inf)\b")
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [one.text for one in ET.fromstring(svg).iter(f"{SVG}text")]


def paths(svg, colour):
    found = ET.fromstring(svg).iter(f"{SVG}path")
    return [one.get("d") for one in found if colour in (one.get("stroke"),)]


def points(path):
    pairs = re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)
    return np.array([[float(x), float(y)] for x, y in pairs])


def test_a_line_lies_where_its_values_are():
    svg = chart([Line("loss", np.array([0.0, 10, 20]), np.array([4.0, 3.0, 0.0]))])
    line = next(p for p in paths(svg, COLOURS[0]) if p.count("L") == 2)
    (x0, y0), (x1, y1), (x2, y2) = points(line)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert (y1 - y0) == pytest.approx((y2 - y1) / 3, abs=0.2)
    assert y0 < y1 < y2  # downwards
    assert {"loss", "iteration", "0", "2", "10"} <= set(texts(svg))


def test_values_that_fall_far_have_a_logarithmic_axis():
    x = np.arange(4.0)
    svg = chart([Line("loss", x, 10.0**-x)])
    line = points(next(p for p in paths(svg, COLOURS[0]) if p.count("L") == 3))
    steps = np.diff(line[:, 1])
    np.testing.assert_allclose(steps, steps[0], atol=0.2)
    assert {"1", "0.1", "0.01"} <= set(texts(svg))


def test_what_is_not_finite_is_a_gap_and_nothing_finite_no_chart():
    y = np.array([1.0, 2.0, np.nan, np.inf, 3.0])
    svg = chart([Line("loss", np.arange(5.0), y)])
    (path,) = (p for p in paths(svg, COLOURS[0]) if p.count("M") == 2)
    assert len(points(path)) == 3
    assert not NOT_FINITE.search(svg)
    assert len(list(ET.fromstring(svg).iter(f"{SVG}circle"))) == 1  # the lone one
    assert chart([Line("loss", np.arange(2.0), np.full(2, np.nan))]) == ""
    assert chart([]) == ""


@pytest.mark.parametrize("y", [[0.0], [5.0, 5.0], [-3.0, -3.0], [1e-20, 1e-20]])
def test_one_value_alone_has_a_range(y):
    svg = chart([Line("loss", np.arange(len(y)), np.array(y))])
    assert not NOT_FINITE.search(svg)
    assert texts(svg)


def test_many_points_are_thinned_to_their_ranges():
    x = np.arange(10_000)
    y = np.sin(x / 700.0)
    y[5_000] = 9
    y[77] = np.nan
    places, low, high = thinned(x, y)
    assert len(places) <= 240
    assert high.max() == 9
    assert low.min() == pytest.approx(np.nanmin(y))
    assert len(chart([Line("", places, low, high=high)])) < 12_000


def history(steps, tests=()):
    records = [StepRecord(i, 2.0 / (i + 1), 1.0, 0.1, 0.01) for i in range(steps)]
    found = [
        TestRecord(i, 0, {"acc": np.array(i / 10), "l<x": np.array(1.0)}, {"l<x": 1.0})
        for i in tests
    ]
    return History(train=records, tests=found)


def test_losses_and_scores_have_charts_of_their_own():
    html = curves_html(history(30, tests=(0, 10, 20)))
    first, second = re.findall(r"<svg.*?</svg>", html)
    assert {"train loss", "test l<x"} <= set(texts(first))
    assert "test acc" in texts(second)
    assert "test l<x" not in texts(second)
    assert "script" not in html
    assert " id=" not in html
    assert re.findall(r"<svg", curves_html(history(3))) == ["<svg"]
    assert "<svg" not in curves_html(History())


def test_losses_are_read_on_and_anew_after_a_snapshot_was_restored():
    losses, run = Losses(), history(5)
    np.testing.assert_array_equal(losses.of(run.train)[0], range(5))
    run.train.append(StepRecord(5, 7.0, 7.0, 0.1, 0.1))
    assert losses.of(run.train)[1][-1] == 7.0
    run.drop(2)
    run.train += [StepRecord(i, -1.0, 0.0, 0.1, 0.1) for i in range(2, 9)]
    iterations, values = losses.of(run.train)
    np.testing.assert_array_equal(iterations, range(9))
    np.testing.assert_array_equal(values[2:], -1)
    assert losses.of([])[0].size == 0


def test_html_is_escaped_and_has_no_background_of_its_own():
    html = output(table(["a<b", "n"], [["x & y", 3], [Markup("<b>z</b>"), 4]], {1}))
    assert "a&lt;b" in html
    assert "x &amp; y" in html
    assert "<b>z</b>" in html
    assert html.count('class="number"') == 3
    assert not re.search(r"background: (?!transparent)", html)
    assert closed("<i>", "in", is_open=True).startswith("<details open><summary>&lt;i")
