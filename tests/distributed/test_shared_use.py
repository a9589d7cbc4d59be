"""`test`, `evaluate` and `predict` on several ranks say what one process says."""

from __future__ import annotations

import json
import re
from functools import partial

import numpy as np
import pytest

from runtime.training.solver import Solver
from tests.distributed.command_line import write_files
from tests.distributed.launching import at_once, launch, told

NET = """
name: "used" input: "data" input_shape { dim: 4 dim: 5 } input: "label"
input_shape { dim: 4 }
layer { name: "y" type: "InnerProduct" bottom: "data" top: "y" inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""
GIVEN = ("net.prototxt", "--weights", "net.caffemodel", "--data", "data.npz")
COMMANDS = {
    "evaluate": ("evaluate", *GIVEN, "--json", "--worst", 3),
    "predict": ("predict", *GIVEN, "-o", "{}.npy"),
    "lines": ("predict", *GIVEN),
    "test": (
        *("test", "drawn.prototxt", "--weights", "drawn.caffemodel"),
        *("--allow-python", "failing", "--iterations", 7),
    ),
    "bad": ("evaluate", *GIVEN[:-1], "bad.npz"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("used")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(23, 5)).astype("f"), rng.integers(0, 3, 23)
    np.savez(folder / "data.npz", data=x, label=y)
    y[13] = 5
    np.savez(folder / "bad.npz", data=x, label=y)
    (folder / "net.prototxt").write_text(NET)
    Solver(NET, base_lr=0.1).net.save(folder / "net.caffemodel")
    write_files(folder)
    text = (folder / "net.prototxt").read_text()
    text = text.replace('type: "Python"', 'type: "Power"')
    text = re.sub(r"python_param \{.*?\}", "", text)
    (folder / "drawn.prototxt").write_text(text)
    Solver(str(folder / "drawn.prototxt"), base_lr=0.1).net.save(
        folder / "drawn.caffemodel"
    )
    (folder / "net.prototxt").write_text(NET)
    return folder


def test_commands_share_batches_and_say_it_once(folder):
    jobs = {
        (name, ranks): partial(
            launch,
            ranks,
            ["-m", "runtime", *(str(word).format(ranks) for word in words)],
            folder=folder,
        )
        for name, words in COMMANDS.items()
        for ranks in (1, 3)
    }
    ended = at_once(jobs)
    for name in ("evaluate", "lines"):
        one, three = ended[name, 1], ended[name, 3]
        assert (one.status, three.status, three.errors) == (0, 0, ""), three.all
        assert three.output == one.output
    assert json.loads(ended["evaluate", 3].output)["items"] == 23
    one, three = ended["test", 1], ended["test", 3]
    assert three.status == 0, three.all
    assert three.errors == ""
    said = [re.sub("in .* images/s", "", each.output) for each in (one, three)]
    assert said[0] == said[1]
    assert "loss = " in three.output
    said = ended["predict", 3]
    assert said.output == "3.npy: prob (23, 3)\n", said.all
    np.testing.assert_array_equal(np.load(folder / "3.npy"), np.load(folder / "1.npy"))
    one, three = ended["bad", 1], ended["bad", 3]
    assert (three.status, three.errors) == (one.status, one.errors), three.all
    assert "item 13" in three.errors


PROGRAM = """
world = runtime.distributed.world()
read = []

class Data:
    def __len__(self):
        return 23

    def __getitem__(self, number):
        read.append(number)
        rng = np.random.default_rng(number)
        return rng.normal(size=5).astype("f"), number % 3

given = dict(weights="net.caffemodel", communicator=world)
found = runtime.evaluate("net.prototxt", Data(), **given)
tell(world, [found.as_dict(), found.item_losses.tolist(), sorted(set(read))])
"""


def test_a_script_shares_batches_and_reads_no_others(folder):
    (one,) = told(launch(1, PROGRAM, folder=folder))
    found = told(launch(3, PROGRAM, folder=folder))
    assert [each[:2] for each in found] == [one[:2]] * 3
    for rank, (_, _, read) in enumerate(found):
        first = range(4)  # of which inputs learn their shapes
        own = {item for item in range(23) if item // 4 % 3 == rank}
        assert own <= set(read) <= own | set(first)
