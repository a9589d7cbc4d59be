"""`fit` on several ranks trains as one process with as many times the `iter_size`."""

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError, SpecWarning, UnsupportedError
from runtime.data.dataset import open_dataset
from tests.ranks import together
from tests.runtime.fitting.common import (
    COUNT,
    arrays,
    assert_same_run,
    losses,
    parameters,
    spec,
)

X, Y = arrays()
SIZE, BATCHES = 16, -(-COUNT // 16)
RULE = {"type": "Adam", "base_lr": 0.01}


def items():
    yield from zip(X, Y, strict=True)


class Batches:
    """Whole batches by number."""

    def __len__(self):
        return BATCHES

    def __getitem__(self, number):
        return X[number * SIZE :][:SIZE], Y[number * SIZE :][:SIZE]


def jitter(arrays, rng):
    x, y = arrays
    return x + rng.normal(size=x.shape).astype(np.float32) / 8, y


DATA = {
    "arrays": {"data": (X, Y), "validation": 0.3},
    "items": {"data": list(zip(X, Y, strict=True)), "validation": (X[:40], Y[:40])},
    "batches": {"data": Batches(), "validation": Batches()},
    "transformed": {
        "data": (X, Y),
        "validation": (X[:40], Y[:40]),
        "transform": jitter,
    },
    "function": {"data": items, "validation": items},
    "epochs": {
        "data": lambda epoch: zip(X + epoch / 8, Y, strict=True),
        "validation": (X[:40], Y[:40]),
    },
}


def fit(ranks=1, communicator=None, solver=None, **kwargs):
    rule = {**RULE, "iter_size": ranks, **(solver or {})}
    how = {"epochs": 3, "progress": False, "communicator": communicator, **kwargs}
    return runtime.fit(spec(dropout=True), solver=rule, seed=5, **how)


def assert_alike(one, other):
    """Compare two runs up to rounding; the points at which they test are equal."""
    np.testing.assert_allclose(losses(one), losses(other), rtol=2e-5)
    assert len(losses(one)) == len(losses(other))
    for mine, theirs in zip(one.tests, other.tests, strict=True):
        assert mine.iteration == theirs.iteration
        for name, value in mine.scalars().items():
            np.testing.assert_allclose(value, theirs.scalars()[name], rtol=1e-4)
    for mine, theirs in zip(parameters(one.net), parameters(other.net), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", DATA)
def test_ranks_train_as_one_process_with_a_larger_iter_size(kind, ranks):
    expected = fit(ranks, **DATA[kind])
    found = together(ranks, lambda one: fit(communicator=one, **DATA[kind]))
    for history in found:
        assert_alike(history, expected)
        assert_same_run(history, found[0])
        assert history.solver.epoch_size == expected.solver.epoch_size


def test_an_epoch_is_one_pass_of_all_ranks_together():
    for ranks in (2, 4):
        (history, *_) = together(
            ranks, lambda one: fit(communicator=one, data=(X, Y), epochs=2)
        )
        assert history.solver.epoch_size == -(-BATCHES // ranks)
        assert history.solver.iter == 2 * -(-BATCHES // ranks)


def test_each_rank_has_a_share_of_an_iteration_of_several_batches():
    expected = fit(4, **DATA["arrays"])
    twice = {"iter_size": 2}
    for history in together(
        2, lambda one: fit(communicator=one, solver=twice, **DATA["arrays"])
    ):
        assert_alike(history, expected)


def test_a_run_goes_on_among_other_ranks_where_it_was(tmp_path):
    given = DATA["arrays"]
    expected = fit(4, **given)

    def begin(one):
        twice = {"iter_size": 2}
        fit(communicator=one, solver=twice, out=tmp_path, **{**given, "epochs": 2})

    together(2, begin)
    for history in together(
        4, lambda one: fit(communicator=one, out=tmp_path, resume="last", **given)
    ):
        assert history.solver.iter == expected.solver.iter
        assert losses(history)[:1] != losses(expected)[:1]
        np.testing.assert_allclose(
            losses(history), losses(expected)[-len(losses(history)) :], rtol=1e-4
        )


def test_more_epochs_go_on_with_the_batches_behind():
    def work(one):
        history = fit(communicator=one, data=(X, Y), epochs=1)
        return runtime.fit(history, epochs=2, progress=False)

    expected = fit(2, data=(X, Y), epochs=1)
    expected = runtime.fit(expected, epochs=2, progress=False)
    for history in together(2, work):
        assert_alike(history, expected)


def test_other_data_begin_with_their_first_batch_on_each_rank():
    other = (X[::-1].copy(), Y[::-1].copy())

    def more(history):
        history = runtime.fit(history, other, epochs=1, progress=False)
        return runtime.fit(history, lambda: items(), epochs=2, progress=False)

    expected = more(fit(2, data=(X, Y), epochs=1))
    for history in together(
        2, lambda one: more(fit(communicator=one, data=(X, Y), epochs=1))
    ):
        assert_alike(history, expected)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_a_generator_ends_on_all_ranks_at_once(ranks):
    def work(one):
        return fit(communicator=one, data=items(), max_iter=50, epochs=None)

    with pytest.warns(SpecWarning, match=r"ended after \d iterations"):
        found = together(ranks, work)
    for history in found:
        assert history.solver.iter == BATCHES // ranks


def test_one_epoch_of_a_generator_needs_no_warning():
    found = together(2, lambda one: fit(communicator=one, data=items(), epochs=1))
    assert [history.solver.iter for history in found] == [3, 3]


def test_a_generator_is_refused_that_may_end_amid_an_iteration():
    def work(one):
        with pytest.raises(UnsupportedError, match=r"read once only.*iter_size = 2"):
            fit(communicator=one, data=items(), epochs=1, solver={"iter_size": 2})

    together(2, work)


def refused(match, given):
    def work(one):
        with pytest.raises(SpecError, match=match):
            fit(communicator=one, **given(one.rank))

    together(2, work)


def test_ranks_that_are_given_their_own_data_are_refused():
    half = COUNT // 2

    def halves(rank):
        return {"data": (X[rank * half :][:half], Y[rank * half :][:half])}

    refused(r"data of rank 1 are others; give all ranks the same whole data", halves)
    refused(
        r"data of rank 1 are 99 items, and rank 0 100",
        lambda rank: {"data": (X[rank:], Y[rank:])},
    )
    refused(
        r"validation of rank 1 are 39 items",
        lambda rank: {"data": (X, Y), "validation": (X[rank:40], Y[rank:40])},
    )


def test_generators_of_different_lengths_are_told():
    def given(rank):
        count = COUNT - 20 * rank
        return {"data": lambda: zip(X[:count], Y[:count], strict=True), "epochs": 2}

    refused(r"end after 5 batches on rank 1, and go on on rank 0", given)


def test_going_on_with_other_processes_is_refused():
    history = fit(data=(X, Y), epochs=1)

    def work(one):
        with pytest.raises(
            SpecError, match="solver of 1 ranks, and communicator has 2"
        ):
            runtime.fit(history, epochs=1, communicator=one)
        with pytest.raises(SpecError, match="sync_batch_norm cannot be given"):
            runtime.fit(history, epochs=1, sync_batch_norm=True)

    together(2, work)


def test_rates_are_looked_for_in_one_process():
    def work(one):
        solver = fit(communicator=one, data=(X, Y), epochs=1).solver
        with pytest.raises(UnsupportedError, match="lr_find runs in one process"):
            runtime.lr_find(solver)

    together(2, work)


def test_a_glance_at_data_tells_those_in_memory_apart():
    shapes = {"data": (16, 1, 6, 6), "label": (16,)}
    same = open_dataset((X, Y), shapes).glance()
    assert same == open_dataset((X.copy(), Y), shapes).glance()
    assert same != open_dataset((X, 1 - Y), shapes).glance()
    assert same != open_dataset((X[:-1], Y[:-1]), shapes).glance()
