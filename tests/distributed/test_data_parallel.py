"""N ranks train as one process with N times the `iter_size` does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.distributed.cases import CASES, ITERATIONS, solver_of, train
from tests.distributed.in_order import InOrder, in_ranks_order
from tests.distributed.launching import launch

# So many ranks train these cases: they are all in order with two.
RANKS = {2: tuple(CASES), 3: ("SGD",), 4: ("SGD", "Adam", "shared", "iter_size")}
Ranks = list[dict[str, Any]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[int, Ranks]:
    """What all ranks came to, by their number and the case."""
    found = {}
    for ranks, names in RANKS.items():
        folder = tmp_path_factory.mktemp(f"of{ranks}")
        ended = launch(ranks, ["-m", "tests.distributed.cases", str(folder), *names])
        assert ended.status == 0, ended.all
        paths = [folder / f"{rank}.json" for rank in range(ranks)]
        found[ranks] = [json.loads(path.read_text()) for path in paths]
    return found


@pytest.mark.parametrize(
    ("ranks", "name"), [(n, name) for n, names in RANKS.items() for name in names]
)
def test_ranks_train_as_one_process_does(trained, ranks, name):
    several = [one[name] for one in trained[ranks]]
    first = several[0]
    assert all(one == first for one in several), "all have the same bits"
    assert first["again"] == first["hashes"], "and the same in every run"
    in_order = solver_of(CASES[name], ranks=ranks)
    InOrder.of(in_order, ranks)
    ordered = train(in_order)
    for told in ("hashes", "losses", "rates"):
        assert first[told] == ordered[told], (
            "all is that of one process in ranks' order"
        )
    alone = train(solver_of(CASES[name], ranks=ranks))
    for after, limit in ((1, 1e-6), (ITERATIONS, 1e-5)):
        mine, other = (np.array(one["values"][str(after)]) for one in (first, alone))
        assert np.abs(mine - other).max() <= limit * np.abs(other).max(), after
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert len(set(first["losses"])) == ITERATIONS, "every iteration has other data"


def test_large_nets_are_sent_by_buckets(trained):
    assert trained[2][0]["SGD"]["buckets"] > 2


def test_the_order_is_that_of_mpich():
    parts = [np.float32([2.0**24]), *[np.float32([1.0])] * 3]
    assert in_ranks_order(parts[:3]) == (parts[0] + parts[1]) + parts[2]
    assert in_ranks_order(parts) == (parts[0] + parts[1]) + (parts[2] + parts[3])
    assert in_ranks_order(parts[1:] + parts[:1]) == np.float32(2**24 + 2)
