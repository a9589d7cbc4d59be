"""Real nets with fields or layer types of forks are looked at and written as Python."""

import json
import re

import pytest

import netspec
from netspec.draw.scene import Scene, View
from netspec.errors import SpecError
from netspec.summary import summarize
from tests.reference import needs_reference, reference_dir, zoo_names, zoo_path

pytestmark = [
    needs_reference,
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
# What is wrong with some of these files whatever their fields mean.
FAULTS = re.compile(
    "which no layer before it makes|is not the top of an earlier layer|"
    "is already produced by|makes blob '.*', as the layer at .* does|"
    "it cannot be upgraded|memory_data_param gives"
)
# A summary asks for these where all layers can be read.
ASKED = re.compile("as in --shape|the shapes of its tops")


def nets():
    """Return the files that hold a net and no solver."""
    folder = reference_dir()
    if folder is None:
        return []
    expected = json.loads((folder / "zoo" / "expected.json").read_text())
    names = zoo_names("fork-fields", "unknown-layer-types")
    return [name for name in names if expected[name].get("kind") != "solver"]


def tried(run, *allowed):
    """Return what a run returns, or None where it finds a fault that is there."""
    try:
        return run()
    except SpecError as error:
        said = str(error)
    assert any(fault.search(said) for fault in allowed), said
    return None


@pytest.mark.parametrize("name", nets())
def test_a_net_of_a_fork_is_read_drawn_summarized_and_written(name):
    path = str(zoo_path(name))
    spec = tried(lambda: netspec.load(path), FAULTS)
    if spec is None:
        return
    source = tried(spec.to_python, FAULTS)
    assert source is None or "def net():" in source
    scene = Scene(path, View())
    assert all(text for text in (scene.svg(), scene.dot(), scene.html()))
    assert scene.error is None or FAULTS.search(str(scene.error))
    summary = tried(lambda: summarize(path), FAULTS, ASKED)
    unknown = any(None in row.tops.values() for row in summary.rows) if summary else 0
    assert not unknown or any("unknown shape" in note for note in summary.notes)
    assert not unknown or summary.memory == {}
