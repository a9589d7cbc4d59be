"""The notebooks of the documentation run, and show what they promise."""

import re
from pathlib import Path

import pytest

from tools import gen_notebooks
from tools.gen_notebooks import differs, execute, read, sources, timeless
from tools.notebook_pages import markdown

nbformat = pytest.importorskip("nbformat")

SVG, PNG, HTML, TEXT = "image/svg+xml", "image/png", "text/html", "text/plain"
# What a notebook shows, in this order: the form, and what is in it.
PROMISED = {
    "write-and-look": [
        (TEXT, r"\(16, 16, 14, 14\)"),
        (TEXT, r"Cell In\[2\], line 2: num_outputs is no .* did you mean 'num_output'"),
        (TEXT, r"Cell In\[3\], line 2: bottoms must have the same shape"),
        (SVG, r"<svg.*mixed1"),
        (TEXT, r"mixed1/wide"),
        (HTML, r"<iframe"),
        (HTML, r"<details.*mixed1"),
        (SVG, r"b-wrong"),
        (TEXT, r'type: "Convolution"'),
    ],
    "train-and-see": [
        (PNG, ""),
        (HTML, r"suggestion.*<svg"),
        (HTML, r"184 of 184.*8 of 8.*<svg.*test accuracy"),
        (PNG, ""),
        (PNG, ""),
        (HTML, r"conv1\[0\]"),
        (TEXT, r"stopped after iteration 41"),
        (TEXT, r"going on after iteration 41"),
        (TEXT, r"epoch 4 of 4"),
    ],
    "fine-tune-and-evaluate": [
        (HTML, r"<svg.*train loss"),
        (HTML, r"recall.*f1|f1.*recall"),
        (PNG, ""),
        (TEXT, r"froze 3 layers"),
        (HTML, r"frozen"),
        (HTML, r"<svg.*train loss"),
        (TEXT, r"7 layers copied"),
        (HTML, r"<table"),
        (TEXT, r"Cell In\[\d+\]:\d+: SpecWarning: .*moving_average_fraction: 0.999"),
    ],
    "layers-in-python": [
        (TEXT, r"all gradients are right"),
        (TEXT, r"WRONG: x, y\[0\]"),
        (TEXT, r"begin is no field of Bounded"),
        (SVG, r"bounded1"),
        (HTML, r"test accuracy"),
        (TEXT, r'layer: "Bounded"'),
    ],
}
# A number that the text of an output has, and what it is at least.
LEAST = {
    "train-and-see": [(r"^(0\.\d+)$", 0.93)],
    "fine-tune-and-evaluate": [
        (r"accuracy (0\.\d+), top_2", 0.95),
        (r"'fine-tuned': (0\.\d+)", 0.8),
    ],
    "layers-in-python": [(r"of the net: accuracy (0\.\d+)", 0.9)],
}
NAMES = [path.stem for path in sources()]


def outputs(notebook):
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def shown(output):
    """The forms of an output; what is printed counts as plain text."""
    return {TEXT: output.get("text", ""), **output.get("data", {})}


def check(name, notebook):
    """Errors, scripts, promised outputs in their order, and the least numbers."""
    forms = [shown(output) for output in outputs(notebook)]
    assert not [each for each in outputs(notebook) if each.output_type == "error"]
    for form in forms:
        outside = re.sub(r'srcdoc="[^"]*"', "", form.get(HTML, "") + form.get(SVG, ""))
        assert "<script" not in outside
        assert "javascript" not in " ".join(form)
        assert "/tmp/" not in form[TEXT]
    left = iter(forms)
    for kind, pattern in PROMISED[name]:
        wanted = re.compile(pattern, re.S)
        assert any(kind in form and wanted.search(form[kind]) for form in left), pattern
    for pattern, least in LEAST.get(name, ()):
        found = [re.search(pattern, form[TEXT], re.M) for form in forms]
        values = [float(match[1]) for match in found if match]
        assert values, pattern
        assert max(values) > least, (pattern, values)


def test_every_notebook_is_promised_something():
    assert set(NAMES) == set(PROMISED)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_written_and_shows_what_it_promises(name):
    path = gen_notebooks.FOLDER / f"{name}.py"
    assert differs(path) == ""
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(text.encode()) < gen_notebooks.MAX_BYTES
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 9 < len(code) < 19
    check(name, notebook)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name, tmp_path):
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    pytest.importorskip("sklearn")
    pytest.importorskip("llvmlite")  # many times slower without
    notebook = read(gen_notebooks.FOLDER / f"{name}.py")
    execute(notebook, tmp_path)
    check(name, notebook)


# ---------------------------------------------------------------- the generator


def written(tmp_path, source, **changes):
    path = tmp_path / "one.py"
    path.write_text(source)
    notebook = read(path)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.execution_count = changes.get("count", number)
            cell.outputs = changes.get("outputs", [])
    path.with_suffix(".ipynb").write_text(nbformat.writes(notebook, version=4))
    return path


SOURCE = "# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\n1 + 1\n"


def test_a_source_is_cells_of_text_and_code(tmp_path):
    path = written(tmp_path, SOURCE)
    text, code = read(path).cells
    assert (text.cell_type, text.source) == ("markdown", "# Title\n\nText.")
    assert (code.cell_type, code.source) == ("code", "1 + 1")
    assert [text.id, code.id] == ["cell-1", "cell-2"]


def test_a_notebook_that_is_not_of_its_source_is_told(tmp_path):
    path = written(tmp_path, SOURCE)
    assert differs(path) == ""
    path.write_text(SOURCE + "2\n")
    assert differs(path) == "has other cells than its source"
    assert differs(written(tmp_path, SOURCE, count=None)).startswith("has not been run")
    path.with_suffix(".ipynb").unlink()
    assert differs(path) == "is not written"


def test_times_do_not_count_and_results_do():
    old = "loss 0.0246, images/s 2,483, done in 5.61 s"
    assert timeless(old) == timeless("loss 0.0246, images/s 99, done in 1:02")
    assert timeless(old) != timeless("loss 0.0247, images/s 2,483, done in 5.61 s")


# ---------------------------------------------------------------- pages


def test_a_page_shows_what_a_notebook_does(tmp_path):
    results = [
        nbformat.v4.new_output("stream", name="stdout", text="a <b> ```` c\n"),
        nbformat.v4.new_output("display_data", data={HTML: "<i>x</i>", TEXT: "no"}),
        nbformat.v4.new_output("execute_result", data={TEXT: "2"}, execution_count=1),
    ]
    path = written(tmp_path, SOURCE, outputs=results)
    page = markdown(path.with_suffix(".ipynb").read_text(), "one.ipynb")
    assert page.startswith("# Title\n\nText.\n\n```python\n1 + 1\n```\n\n")
    assert (
        "`````{code-block} none\n:class: notebook-output\n\na <b> ```` c\n`````" in page
    )
    assert '```{raw} html\n<div class="notebook-output">\n<i>x</i>\n</div>\n```' in page
    assert "\n\n2\n```" in page
    assert "no" not in re.findall(r"\w+", page)
    assert page.endswith("{download}`one.ipynb <one.ipynb>`\n")


def test_the_index_lists_every_notebook():
    index = (Path(gen_notebooks.ROOT) / "docs" / "index.md").read_text()
    for name in NAMES:
        assert f"\nnotebooks/{name}\n" in index
