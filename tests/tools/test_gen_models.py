"""The table of the models in the documentation."""

from tools import gen_models


def test_the_table_is_that_of_the_models():
    assert gen_models.main(["--check"]) == 0


def test_a_table_that_differs_is_told_and_written_anew(tmp_path, monkeypatch, capsys):
    page = tmp_path / "models.md"
    page.write_text(gen_models.PAGE.read_text())
    monkeypatch.setattr(gen_models, "PAGE", page)
    gen_models.main([])
    current = page.read_text()
    page.write_text(current.replace("| `lenet.py` |", "| `lenet.py` | old"))
    assert gen_models.main(["--check"]) == 1
    assert "make gen" in capsys.readouterr().err
    assert gen_models.main([]) == 0
    assert page.read_text() == current


def test_lines_of_neighbours_count_once():
    models = gen_models.MODELS
    found = gen_models.neighbours(models / "fcn8s.py")
    assert {path.stem for path in found} == {"fcn16s", "fcn32s", "vgg16"}
    assert gen_models.neighbours(models / "lenet.py") == set()
