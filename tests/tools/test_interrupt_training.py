"""`tools/interrupt_training.py`, with few interrupts."""

import os
import random

import pytest

from tools.interrupt_training import SOLVERS, check, make, state


@pytest.mark.skipif(os.name != "posix", reason="signals of one process to another")
@pytest.mark.parametrize("name", SOLVERS)
def test_interrupted_training_is_that_of_one_go(name, tmp_path):
    pytest.importorskip("h5py")
    assert check(name, tmp_path, 15, random.Random(name)) is None


def test_what_is_compared_tells_runs_apart(tmp_path):
    name = "SGD, arrays in memory"
    one, other = make(name, tmp_path), make(name, tmp_path)
    one.step(4)
    other.step(4)
    assert state(one) == state(other)
    other.net.params["y"][0].data[1, 2] += 1e-6
    differs = [
        what for what, value in state(one).items() if value != state(other)[what]
    ]
    assert differs == ["arrays"]
