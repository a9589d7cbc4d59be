"""The demonstration, apart from the training itself, which `make demo` runs."""

import pytest

from tools.demo import read_accuracy


def test_the_accuracy_is_read_from_the_report():
    report = "3 batches of 120\naccuracy = 0.983333\nloss = 0.05 (loss, weight 1)\n"
    assert read_accuracy(report) == pytest.approx(0.983333)


def test_a_report_without_accuracy_ends_the_demonstration():
    with pytest.raises(SystemExit, match="no accuracy"):
        read_accuracy("loss = 0.05\n")
