"""Random nets that see random sizes are new nets of each of them, bit for bit."""

from __future__ import annotations

import pytest

from tests.runtime.execution.random_sized import check

SEEDS = 12  # hundreds were tried; `check` tells which one fails


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_net_of_any_size_is_a_new_one(backend, seed):
    check(seed, backend.name, turns=6)
