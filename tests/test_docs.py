"""Examples in the documentation run, and its commands exist with the options shown."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from netspec.commands.model_files import load_model
from netspec.draw import draw
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
# What the commands that are installed stand for.
SCRIPTS = {
    "netspec": ["python", "-m", "netspec"],
    "netspec-train": ["python", "-m", "runtime"],
}
CALL_TESTS = """
from inspect import signature
from pathlib import Path
from runtime.backends import get_backend
fixtures = {"backend": get_backend("numpy"), "tmp_path": Path.cwd()}
for name, function in list(globals().items()):
    if name.startswith("test_"):
        function(*(fixtures[one] for one in signature(function).parameters))
"""


def blocks(document, language):
    """The fenced blocks of a document in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.M | re.S)


def with_blocks(language):
    return pytest.mark.parametrize(
        "document",
        [path for path in DOCUMENTS if blocks(path, language)],
        ids=lambda path: path.relative_to(ROOT).as_posix(),
    )


def run(arguments, folder):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@with_blocks("python")
def test_the_examples_run_in_order(document, tmp_path):
    script = tmp_path / "example.py"
    script.write_text("\n".join([*blocks(document, "python"), CALL_TESTS]))
    old_protobuf = "ignore:Type google._upb:DeprecationWarning"
    done = run(["-W", "error", "-W", old_protobuf, script.name], tmp_path)
    assert done.returncode == 0, done.stderr


def commands():
    """Every command that a document shows, with the document."""
    for document in DOCUMENTS:
        for block in blocks(document, "console"):
            joined = block.replace("\\\n", " ")
            for line in re.findall(r"^\$ (.*)$", joined, re.M):
                yield document.relative_to(ROOT).as_posix(), line


@cache
def help_of(words):
    done = run(["-m", *words, "--help"], ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("document", "line"), sorted(set(commands())))
def test_the_commands_exist_with_their_options(document, line):
    words = shlex.split(line.split(">")[0], comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
        return
    if words[0] == "pip":
        return
    if words[0] == "mpiexec":
        words = words[3:]  # behind `-n N`
    words = [*SCRIPTS.get(words[0], words[:1]), *words[1:]]
    assert words[:2] == ["python", "-m"], line
    module, rest = words[2], words[3:]
    parts = [word for word in rest[:1] if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)]
    known = help_of((module, *parts))
    for option in (word.split("=")[0] for word in rest if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", known), (option, known)


def test_the_commands_that_are_installed_are_those_of_the_modules():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {name: place.split(".")[0] for name, place in project["scripts"].items()}
    assert found == {name: words[2] for name, words in SCRIPTS.items()}


def test_the_page_of_commands_has_every_command():
    from netspec.__main__ import COMMANDS as OF_NETSPEC
    from runtime.__main__ import COMMANDS as OF_RUNTIME

    page = (ROOT / "docs/commands.md").read_text()
    shown = "\n".join(blocks(ROOT / "docs/commands.md", "console"))
    wanted = [f"netspec {name}" for name in OF_NETSPEC]
    wanted += [f"netspec-train {name}" for name in OF_RUNTIME]
    for command in wanted:
        assert f"| `{command}` |" in page, command
        assert f"$ {command}" in shown, command


def test_the_drawing_shown_is_what_the_command_draws():
    shown = (ROOT / "docs/images/lenet.svg").read_text()
    net = load_model(ROOT / "models/lenet.py", deploy=True)
    assert draw(net, rankdir="LR") == shown


def test_every_difference_from_caffe_is_pinned_by_a_test():
    text = (ROOT / "docs/caffe-differences.md").read_text()
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", text)
    assert len(named) > 10
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), (file, name)
    for entry in re.split(r"^- ", text, flags=re.M)[1:]:
        assert "::test_" in entry, entry


def test_the_documents_show_something():
    assert len(list(commands())) > 5
    assert len(DOCUMENTS) > 8
