"""A grid of images: how it is laid, shown and saved."""

import io
import sys

import numpy as np
import pytest

from netspec.errors import FileError, MachineError, SpecError
from runtime.pictures.grid import BETWEEN, GAP, Grid

RNG = np.random.default_rng(0)


def test_a_grid_is_laid_row_by_row_with_gaps():
    tiles = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones(
        (3, 2, 2, 3), np.uint8
    )
    grid = Grid(tiles, columns=2)
    zoom = grid.zoom
    array = grid.array
    assert array.shape == (zoom * 4 + GAP, zoom * 4 + GAP, 3)
    assert (array[0, 0, 0], array[0, -1, 0], array[-1, 0, 0]) == (0, 1, 2)
    assert (array[-1, -1] == BETWEEN).all()
    assert (array[0, 2 * zoom] == BETWEEN).all()
    assert array.dtype == np.uint8


@pytest.mark.parametrize("captions", [(), ("a<b", "c", "ünï日")])
def test_grids_are_pictures_in_notebooks_and_files(captions, tmp_path):
    image = pytest.importorskip("PIL.Image")
    tiles = RNG.integers(0, 256, (3, 20, 30, 3), np.uint8)
    grid = Grid(tiles, title="t<i>", captions=captions, notes=["n&n"])
    png = image.open(io.BytesIO(grid._repr_png_()))
    assert png.width <= 800
    html = grid._repr_html_()
    assert html.count("data:image/png;base64,") == (3 if captions else 1)
    assert "t&lt;i&gt;" in html
    assert "n&amp;n" in html
    assert "<script" not in html
    assert ("a&lt;b" in html) == bool(captions)
    grid.save(tmp_path / "g.png")
    with image.open(tmp_path / "g.png") as opened:
        saved = np.asarray(opened)
    zoom = grid.zoom
    np.testing.assert_array_equal(
        saved[: 20 * zoom : zoom, : 30 * zoom : zoom], tiles[0]
    )
    assert (saved.shape[0] > grid.array.shape[0]) == bool(captions)
    grid.save(tmp_path / "g.jpg")
    with image.open(tmp_path / "g.jpg") as opened:
        assert opened.format == "JPEG"
    assert repr(grid).startswith("<Grid of 3 images of t<i>, ")


def test_photos_are_small_in_a_notebook():
    pytest.importorskip("PIL")
    tiles = RNG.integers(0, 256, (16, 300, 300, 3), np.uint8)
    grid = Grid(tiles, captions=["x"] * 16)
    assert "image/jpeg" in grid._repr_html_()
    assert len(grid._repr_html_()) < 600_000
    assert grid.array.shape[1] > 1200


def test_a_file_that_cannot_be_is_refused(tmp_path):
    pytest.importorskip("PIL")
    grid = Grid(np.zeros((1, 2, 2, 3), np.uint8))
    with pytest.raises(SpecError, match=r"must end in \.png"):
        grid.save(tmp_path / "g.pgn")
    with pytest.raises(FileError):
        grid.save(tmp_path / "no" / "g.png")
    assert list(tmp_path.iterdir()) == []


def test_without_pillow_there_is_the_array(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    grid = Grid(np.zeros((1, 2, 2, 3), np.uint8))
    assert grid.array.shape[2] == 3
    with pytest.raises(MachineError, match=r"Pillow.*netspec\[data\].*\.array"):
        grid.save(tmp_path / "g.png")
