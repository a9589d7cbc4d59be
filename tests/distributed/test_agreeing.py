"""Ranks do the same in the same iteration, and refuse those that would not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.distributed.launching import launch, told

Seen = dict[str, list[Any]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Seen:
    """What the two ranks saw, by check."""
    folder = tmp_path_factory.mktemp("agreeing")
    ended = launch(2, ["-m", "tests.distributed.agreeing", str(folder)])
    both = told(ended)
    return {name: [one[name] for one in both] for name in both[0]}


def both(seen: Seen, name: str) -> Any:
    first, second = seen[name]
    assert first == second
    return first


def test_a_loss_that_is_not_finite_ends_all_ranks_before_the_update(seen):
    kind, said, iteration, finite, records = both(seen, "loss_that_is_not_finite")
    assert kind == "NonFiniteLossError"
    assert re.match(r"the loss of iteration 3 on rank 1 is (nan|inf) at", said)
    assert (iteration, finite, records) == (3, True, 3)


def test_all_ranks_warn_once_of_a_loss_that_is_not_finite(seen):
    for rank in seen["warning_of_a_loss"]:
        said = [one for one in rank if "loss" in one]
        assert len(said) == 1
        assert re.match(r"the loss of iteration 1 on rank 1 is (nan|inf)", said[0])


def test_a_gradient_that_is_not_finite_ends_all_ranks(seen):
    kind, said, iteration = both(seen, "gradient_that_is_not_finite")
    assert kind == "NonFiniteGradientError"
    assert "parameter 0 of layer 'below'" in said
    assert "rank" not in said  # a callback did it
    assert iteration == 2


def test_a_gradient_that_is_not_finite_is_told_with_its_rank(seen):
    found = both(seen, "gradient_of_one_rank")
    assert len(found) == 4
    parameter = "parameter 0 of layer 'below'"
    for said, rank, iteration in found:
        where = f"the gradient of {parameter} .* in iteration 2 on rank 1"
        assert re.match(f"{where} is not finite, although the loss is", said), said
        assert (rank, iteration) == (1, 2)
    (warned,) = both(seen, "warning_of_a_gradient")
    assert re.search(r"in iteration 1 on rank 1 is not finite", warned)


def test_a_stop_of_one_rank_stops_all_after_the_same_iteration(seen):
    assert both(seen, "stop_of_one_rank_behind_an_iteration") == [5, False]
    assert both(seen, "stop_of_one_rank_ahead_of_an_iteration") == 8


def test_early_stopping_sees_the_mean_of_all_ranks(seen):
    iteration, losses = both(seen, "early_stopping")
    assert len(losses) == iteration < 12


def test_an_interrupt_of_one_rank_interrupts_all(seen):
    assert both(seen, "interrupt_of_one_rank") == ["KeyboardInterrupt", 6]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other_seed", "seed is '4' on rank 1, and '3' on rank 0"),
        (
            "other_rate",
            r"solver, line \d+ is 'base_lr: 0.3.*' on rank 1, and 'base_lr: 0.05' on",
        ),
        (
            "other_net",
            r"net, line \d+ is 'num_output: 6' on rank 1, and 'num_output: 5' on",
        ),
        ("other_weights", "values of parameter 0 of layer 'above' .* than rank 0"),
        ("other_files_later", "values of parameter 1 of layer 'below' .* than rank 0"),
        ("other_history_restored", "iteration is '2' on rank 1, and '1' on rank 0"),
        ("other_end", "rank 1 is to train up to iteration 3, and rank 0 up to 2"),
    ],
)
def test_ranks_that_differ_are_refused(seen, name, said):
    kind, text = both(seen, name)
    assert kind == "SpecError"
    assert re.search(said, text), text


def test_a_rate_that_one_rank_changes_is_refused(seen):
    kind, said, iteration = both(seen, "other_rate_on_the_way")
    assert (kind, iteration) == ("SpecError", 4)
    assert "rate of iteration 4 is 0.5 on rank 1 and 0.05 on rank 0" in said.replace(
        "0.0500000007", "0.05"
    )


def test_replicas_that_differ_end_the_job(seen):
    kind, said, iteration = both(seen, "replicas_that_differ")
    assert (kind, iteration) == ("ReplicaError", 4)
    assert "after 4 iterations parameter 1 of layer 'below'" in said
    assert "on rank 1" in said
    kind, said, iteration = both(seen, "histories_that_differ")
    assert (kind, iteration) == ("ReplicaError", 5)
    assert "after 5 iterations parameter 0 of layer 'below'" in said
    assert both(seen, "replicas_that_nobody_compares") == ["nothing", ""]
