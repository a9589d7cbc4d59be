"""N ranks train as one process with N times the `iter_size` does."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pytest

from tests.distributed.cases import CASES, ITERATIONS, solver_of, train
from tests.distributed.in_order import InOrder, in_ranks_order
from tests.distributed.launching import launch, told

# So many ranks train these cases: with two, the order of ranks is no matter.
RANKS = {2: tuple(CASES), 3: ("SGD",), 4: ("SGD", "Adam", "shared", "iter_size")}


@pytest.mark.parametrize("ranks", RANKS)
def test_ranks_train_as_one_process_does(ranks):
    names = RANKS[ranks]
    trained = told(launch(ranks, ["-m", "tests.distributed.cases", *names]))
    for name in names:
        compare(name, [one[name] for one in trained])
    one = trained[0]["SGD"]
    assert one["buckets"] > 2, "large nets are sent by buckets"
    assert one["sent"] == 0, "nothing is sent where gradients lie in common memory"


def test_machines_add_up_their_ranks_and_then_their_sums():
    program = """
    import platform
    from tests.distributed import cases
    platform.node = lambda: "aabb"[int(os.environ["PMI_RANK"])]
    cases.main()
    """
    trained = told(launch(4, textwrap.dedent(program), "SGD", "iter_size"))
    for name in ("SGD", "iter_size"):
        compare(name, [one[name] for one in trained])
    assert trained[0]["SGD"]["sent"] > 2, "buckets go to the other machine"


def compare(name: str, several: list[dict[str, Any]]) -> None:
    """Compare what ranks came to with each other, and with one process."""
    first, ranks = several[0], len(several)
    assert all(one == first for one in several), f"{name}: all have the same bits"
    assert first["again"] == first["hashes"], f"{name}: every run has the same bits"
    in_order = solver_of(CASES[name], ranks=ranks)
    InOrder.of(in_order, ranks)
    ordered = train(in_order)
    for kind in ("hashes", "losses", "rates"):
        assert first[kind] == ordered[kind], f"{name}: {kind} in the order of ranks"
    alone = train(solver_of(CASES[name], ranks=ranks))
    for after, limit in ((1, 1e-6), (ITERATIONS, 1e-5)):
        mine, other = (np.array(one["values"][str(after)]) for one in (first, alone))
        assert np.abs(mine - other).max() <= limit * np.abs(other).max(), (name, after)
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-5), name
    assert len(set(first["losses"])) == ITERATIONS, f"{name}: always other data"


def test_the_order_is_that_of_mpich():
    parts = [np.float32([2.0**24]), *[np.float32([1.0])] * 3]
    assert in_ranks_order(parts[:3]) == (parts[0] + parts[1]) + parts[2]
    assert in_ranks_order(parts) == (parts[0] + parts[1]) + (parts[2] + parts[3])
    assert in_ranks_order(parts[1:] + parts[:1]) == np.float32(2**24 + 2)
