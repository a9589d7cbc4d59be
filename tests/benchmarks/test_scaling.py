"""What the table of expected efficiency computes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import scaling

SLOW = scaling.Link("slow", 1e6, 1e-3)


def training(step_s: float, nbytes: float, backward: float = 0.75) -> scaling.Training:
    return scaling.Training("net", 4, step_s, backward, nbytes, "measured")


def test_a_ring_sends_nearly_all_bytes_twice():
    one = training(1, 3e6)
    assert one.reduce_s(2, SLOW) == pytest.approx(3 + 2e-3)
    assert one.reduce_s(5, SLOW) == pytest.approx(1.6 * 3 + 8e-3)
    assert one.reduce_s(5, SLOW, 1e6) == pytest.approx(1.6 + 8e-3)


def test_what_backward_does_not_hide_makes_a_step_longer():
    one = training(4, 8e6)  # of which 3 s are backward; 8 s for two ranks
    assert one.efficiency(1, SLOW, 0.5) == 1
    assert one.efficiency(2, SLOW, 0) == pytest.approx(4 / (4 + 8.002))
    assert one.efficiency(2, SLOW, 0.5) == pytest.approx(4 / (4 + 8.002 - 1.5))


def test_the_last_bucket_is_never_hidden():
    one = training(1000, 8e6)
    last = scaling.BUCKET_BYTES / 1e6 + 2e-3
    assert one.efficiency(2, SLOW, 1) == pytest.approx(1000 / (1000 + last))


def test_the_table_has_a_row_for_each_net_and_link():
    links = (SLOW, scaling.NVLINK)
    text = scaling.computed([training(1, 3e6), training(2, 3e6)], links, (2, 7), 0.5)
    lines = text.splitlines()
    assert len(lines) == 2 + 4
    assert lines[0].endswith("| 2 ranks | 7 ranks |")
    assert "1000.0 ms, measured" in lines[2]


def test_what_is_hidden_and_waited_for_is_told():
    found = {
        ("2 ranks", "none"): {"step": 0.1, "wait": 0.0},
        ("2 ranks", "after"): {"step": 0.14, "wait": 0.04},
        ("2 ranks", "beside"): {"step": 0.11, "wait": 0.006},
        ("2 ranks", "sums"): {"step": 0.04, "wait": 0.0},
        ("alone", "none"): {"step": 0.08, "wait": 0.0},
    }
    said = scaling.overlap(found, "2 ranks")
    assert "hidden 75 %" in said
    assert "(15 % of the sums)" in said
    faster = scaling.ratio(found, ("2 ranks", "none", 2), ("alone", "none", 1))
    assert faster == pytest.approx(1.6)
