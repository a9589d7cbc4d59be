"""The gallery: every drawing is small, of its net, and found if it is not."""

from pathlib import Path

import pytest

from tools import gen_gallery


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A page and a folder with two of the drawings."""
    page, folder = tmp_path / "gallery.md", tmp_path / "gallery"
    page.write_text(f"# Gallery\n{gen_gallery.BEGIN}{gen_gallery.END}")
    monkeypatch.setattr(gen_gallery, "PAGE", page)
    monkeypatch.setattr(gen_gallery, "FOLDER", folder)
    chosen = [
        each for each in gen_gallery.PICTURES if each.model in ("lenet", "densenet")
    ]
    monkeypatch.setattr(gen_gallery, "PICTURES", chosen)
    return page, folder


def test_what_is_written_is_found_right_and_what_is_changed_wrong(copy, capsys):
    page, folder = copy
    assert gen_gallery.main([]) == 0
    assert gen_gallery.main(["--check"]) == 0
    assert "![LeNet](gallery/lenet.svg)" in page.read_text()
    (folder / "lenet.svg").write_text("other")
    (folder / "odd.svg").write_text("of no net")
    assert gen_gallery.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "lenet.svg: differs from its net; run make gen" in said
    assert "odd.svg: is of no net" in said
    assert gen_gallery.main([]) == 0
    assert {path.name for path in folder.iterdir()} == {"lenet.svg", "densenet.svg"}


def test_a_drawing_that_is_too_large_is_refused(copy, monkeypatch):
    monkeypatch.setattr(gen_gallery, "MAX_BYTES", 5_000)
    with pytest.raises(ValueError, match=r"lenet: 1\d,\d+ bytes, more than 5,000"):
        gen_gallery.main([])


def test_there_are_eight_to_twelve_drawings_with_their_commands():
    folder = Path(__file__).parents[2] / "docs" / "gallery"
    sizes = [path.stat().st_size for path in folder.glob("*.svg")]
    assert 8 <= len(sizes) <= 12
    assert max(sizes) < gen_gallery.MAX_BYTES
    opened = next(each for each in gen_gallery.PICTURES if each.model == "googlenet")
    assert opened.command == (
        "python -m netspec.draw models/googlenet.py --deploy --open 'inception_3a' "
        "-o googlenet.svg"
    )
