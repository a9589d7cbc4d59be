"""Ranks that call different things learn it at once, and end with both names."""

from __future__ import annotations

import re
from functools import partial

import pytest

from tests.distributed.agreeing import NET
from tests.distributed.launching import at_once, launch

PROGRAM = f"""
import warnings
world = runtime.distributed.world()
NET = '''{NET}'''
warnings.simplefilter("ignore")
solver = runtime.Solver(
    NET, test_net=NET, test_iter=3, base_lr=0.05, max_iter=9, random_seed=3, display=0,
    test_interval=100, test_initialization=False, communicator=world,
)
for net in (solver.net, *solver.test_nets):
    net.blobs["factor"].data[...] = 1
first = world.rank == 0
"""
# What ranks do, and at what each is.
WAYS = {
    "step or test": (
        "solver.step(2) if first else solver.test()",
        "rank 0 is at training, and rank 1 at a test at iteration 0",
    ),
    "test or snapshot": (
        "solver.step(2)\nsolver.snapshot() if first else solver.test()",
        "rank 0 is at a snapshot at iteration 2, and rank 1 at a test at iteration 2",
    ),
    "more steps": (
        "for _ in range(3 if first else 2):\n    solver.step(1)\nsolver.test()",
        "rank 0 is at training, and rank 1 at a test at iteration 2",
    ),
    "snapshot amid training": (
        (
            "def alone(r):\n    if not first and r.iteration == 3:\n"
            "        solver.snapshot()\nsolver.on_step(alone)\nsolver.step(9)"
        ),
        "rank 0 is at training, iteration 3, and rank 1 at a snapshot at iteration 4",
    ),
    "test ahead of an iteration": (
        (
            "solver.add_callback(lambda: first and solver.iter == 3 and solver.test(), "
            "lambda: None)\nsolver.step(9)"
        ),
        "rank 0 is at a test at iteration 3, and rank 1 at training, iteration 3",
    ),
    "evaluate or step": (
        (
            "x = np.ones((4, 6), 'f')\n"
            "how = dict(communicator=world)\n"
            "data = dict(factor=x, x=x, t=x)\n"
            "solver.step(2) if first else runtime.predict(solver, data, **how)"
        ),
        "rank 0 is at training, and rank 1 at predict",
    ),
    "its own": (
        "world.barrier() if first else world.gather(1)",
        r".* program sends \(a barrier\), and .* sends \(values of all ranks\)",
    ),
    "sum or value": (
        (
            "f = np.ones(20000, 'f')\n"
            "request = world.start_sum(f) if first else None\n"
            "while first and not request.done():\n    pass\n"
            "world.broadcast(1)"
        ),
        "rank 0 is at what its own program sends, and rank 1 at what its own",
    ),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    ranks = {way: 3 if way == "step or test" else 2 for way in WAYS}
    return at_once(
        {
            way: partial(launch, ranks[way], PROGRAM + program, folder=folder)
            for way, (program, _) in WAYS.items()
        }
    )


@pytest.mark.parametrize("way", WAYS)
def test_ranks_apart_are_named_and_end(ends, way):
    ended, (_, places) = ends[way], WAYS[way]
    assert ended.status == 1, ended.all
    said = re.findall(r"SpecError: ranks do different things: (.*)", ended.errors)
    assert len({*said}) == 1, ended.all  # where places differ, each tells its own
    assert re.match(places, said[0]), said
    assert "note: waits" not in ended.errors
