"""The documentation is whole: names, pages, tasks, words that are looked for."""

import re

import pytest

import netspec
import runtime
import runtime.callbacks
from tests.test_docs import ROOT, blocks

DOCS = ROOT / "docs"
# A task takes no more lines than this; the net and the arrays are there.
TASK_LINES = 6
# What is looked for, and a page that has it; of how-to.md, in an entry.
LOOKED_FOR = {
    "tutorial": "tutorial.md",
    "fine-tune": "how-to.md",
    "freeze": "fine-tuning.md",
    "confusion": "evaluation.md",
    "callback": "callbacks.md",
    "generator": "own-data.md",
    "validation": "own-data.md",
    "early stopping": "how-to.md",
    "stop early": "how-to.md",
    "learning rate": "training.md",
    "checkpoint": "how-to.md",
    "transfer learning": "how-to.md",
    "several machines": "distributed.md",
    "MPI": "distributed.md",
    "augment": "how-to.md",
    "features": "how-to.md",
    "memory": "how-to.md",
    "notebook": "how-to.md",
    "keras": "from-keras.md",
    "pytorch": "from-pytorch.md",
}


def pages():
    return sorted(path.stem for path in DOCS.glob("*.md"))


def public_names():
    """Every name that completion offers, with its module."""
    for module in (netspec, runtime):
        yield from (
            f"{module.__name__}.{name}" for name in dir(module) if name[0] != "_"
        )
    yield from (f"runtime.callbacks.{name}" for name in runtime.callbacks.__all__)


@pytest.mark.parametrize("name", sorted(set(public_names())))
def test_the_page_of_the_api_has_every_public_name(name):
    page = (DOCS / "api.md").read_text()
    assert re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", page), name


def listed(text):
    """The pages in the trees of contents of the index."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.M | re.S)
    lines = [line for tree in trees for line in tree.splitlines()]
    return [line for line in lines if line and not line.startswith(":")]


def test_the_index_lists_every_page_once():
    found = listed((DOCS / "index.md").read_text())
    own = [name for name in found if "/" not in name]
    assert sorted([*own, "index"]) == pages()
    for name in found:
        assert any((DOCS / f"{name}{end}").exists() for end in (".md", ".ipynb")), name


@pytest.mark.parametrize(("word", "page"), sorted(LOOKED_FOR.items()))
def test_what_is_looked_for_is_found_in_its_page(word, page):
    text = (DOCS / page).read_text()
    assert re.search(rf"\b{word}", text, re.I), (word, page)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    if page == "how-to.md":
        assert any(re.search(rf"\b{word}", title, re.I) for title in titles), word


def tasks():
    """The entries of the page of tasks, each from its heading on."""
    return re.split(r"(?=^### )", (DOCS / "how-to.md").read_text(), flags=re.M)[1:]


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.split("\n")[0][4:])
def test_a_task_takes_few_lines_and_says_where_more_is(task):
    code = re.findall(r"^```python\n(.*?)^```", task, re.M | re.S)
    for block in code:
        lines = [line for line in block.splitlines() if line.strip()]
        assert 0 < len(lines) <= TASK_LINES, block
    assert re.search(r"\]\([a-z-]+\.md", task), task


def test_the_four_tasks_are_there():
    titles = [task.split("\n")[0][4:] for task in tasks() if "```python" in task]
    for start in ("Train on your own arrays", "Train from a generator", "Fine-tune"):
        assert any(title.startswith(start) for title in titles), start
    assert any(title.startswith("Evaluate") for title in titles)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{x}.md" for x in pages())])
def test_what_is_linked_and_shown_is_there(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.M | re.S)
    here = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file = target.partition("#")[0]
        if file and not re.match(r"[a-z]+:", file):
            assert (here / file).exists(), (page, target)


def test_the_front_page_has_a_tested_example_an_install_line_and_two_pictures():
    text = (ROOT / "README.md").read_text()
    first = blocks(ROOT / "README.md", "python")[0]
    assert "runtime.fit(" in first
    assert text.index("runtime.fit(") < text.index("## ")
    assert re.search(r"^\$ pip install ", text, re.M)
    assert len(re.findall(r"!\[[^]]+\]\(docs/images/", text)) >= 2
