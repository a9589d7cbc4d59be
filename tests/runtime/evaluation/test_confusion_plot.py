"""`Confusion.plot`: a figure of which class was taken for which."""

import sys

import numpy as np
import pytest

from netspec.errors import MachineError
from runtime.evaluation.confusion import Confusion


def test_a_figure_has_the_counts(monkeypatch):
    pytest.importorskip("matplotlib")
    array = np.array([[5, 1, 0], [0, 0, 0], [2, 0, 1]])
    figure = Confusion(array, ("cat", "dog", "eel")).plot()
    (axes,) = figure.axes
    assert [one.get_text() for one in axes.get_yticklabels()] == ["cat", "dog", "eel"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "label")
    said = {one.get_position(): one.get_text() for one in axes.texts}
    assert said[1, 0] == "1"
    assert said[0, 2] == "2"
    shown = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shown[2], [2 / 3, 0, 1 / 3])
    assert not shown[1].any()


def test_many_classes_have_no_numbers():
    pytest.importorskip("matplotlib")
    names = tuple(map(str, range(70)))
    (axes,) = Confusion(np.eye(70, dtype=int), names).plot().axes
    assert not axes.texts


def test_without_matplotlib_it_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MachineError, match=r"Confusion\.plot needs matplotlib"):
        Confusion(np.eye(2, dtype=int), ("a", "b")).plot()
