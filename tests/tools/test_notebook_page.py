"""Pages of notebook outputs, of which the documentation has pictures."""

import pytest

from tools.notebook_page import execute, page
from tools.screenshots import NOTEBOOKS

CELLS = ["1 + 1", "from IPython.display import HTML\nHTML('<b>x</b>')", "print('a<b')"]


def test_a_page_has_the_richest_form_of_every_output():
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    outputs = execute(CELLS)
    light, dark = (page(CELLS, outputs, theme) for theme in ("light", "dark"))
    assert '<pre class="text">2</pre>' in light
    assert "<b>x</b></div>" in light
    assert "a&lt;b\n" in light
    assert light != dark


def test_the_cells_of_the_pictures_are_python():
    for before, cells, size in NOTEBOOKS.values():
        for cell in [*before, *cells]:
            compile(cell, "cell", "exec")
        assert all(part.isdecimal() for part in size.split(","))
