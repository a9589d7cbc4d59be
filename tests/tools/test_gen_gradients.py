"""The table of gradients in the documentation."""

import pytest

from netspec.catalogue.table import LAYER_TYPES
from runtime.layers import portable_kernels
from tools import gen_gradients


def test_the_table_is_that_of_the_layers():
    assert gen_gradients.main(["--check"]) == 0


def test_every_type_that_runs_has_a_line_or_brings_data():
    told = {*gen_gradients.EXAMPLES, *gen_gradients.SOURCES, *gen_gradients.OWN}
    assert told == {*portable_kernels()}
    assert all(LAYER_TYPES[kind].bottoms[1] == 0 for kind in gen_gradients.SOURCES)


def test_a_table_that_differs_is_told_and_written_anew(tmp_path, monkeypatch, capsys):
    page = tmp_path / "gradients.md"
    current = gen_gradients.PAGE.read_text()
    page.write_text(current.replace("| AbsVal | `x` |", "| AbsVal | `y` |"))
    monkeypatch.setattr(gen_gradients, "PAGE", page)
    assert gen_gradients.main(["--check"]) == 1
    assert "make gen" in capsys.readouterr().err
    assert gen_gradients.main([]) == 0
    assert page.read_text() == current


def test_a_wrong_gradient_is_no_line_of_a_table(monkeypatch):
    monkeypatch.setitem(gen_gradients.RTOL, "ContrastiveLoss", 1e-9)
    with pytest.raises(ValueError, match="ContrastiveLoss: the gradient of a, b is"):
        gen_gradients.row("ContrastiveLoss")
