"""Tests that ranks share have the records of one process, on all ranks."""

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError
from runtime import TEST, Layer
from runtime.distributed.exchange import gather_arrays
from runtime.training.ranks import shared_tests
from runtime.training.ranks.agreeing import Agreement
from runtime.training.testing import run_tests
from tests.ranks import together

pytestmark = pytest.mark.filterwarnings("ignore:.*no layer reads blob")

RANKS = [2, 3, 4]
SHAPE = (3, 4)


@netspec.layer
class Found:
    """Detections of the number of the pass."""

    def shapes(self):
        return (1, 1, 6, 7)

    def forward(self, c):
        rng = np.random.default_rng(c.iteration)
        boxes = np.sort(rng.random((6, 2, 2)), axis=1).reshape(6, 4)
        rows = [np.zeros(6), rng.integers(1, 3, 6), rng.random(6), *boxes.T]
        return np.stack(rows, 1).reshape(1, 1, 6, 7).astype(c.dtype)

    def backward(self, c):
        return []


@netspec.layer
class Truth:
    """Objects of the number of the pass."""

    def shapes(self):
        return (1, 1, 4, 8)

    def forward(self, c):
        rng = np.random.default_rng(c.iteration)
        boxes = np.sort(rng.random((6, 2, 2)), axis=1).reshape(6, 4)[:4]
        rows = [np.zeros(4), rng.integers(1, 3, 4), np.zeros(4), *boxes.T, np.zeros(4)]
        return np.stack(rows, 1).reshape(1, 1, 4, 8).astype(c.dtype)

    def backward(self, c):
        return []


def measured():
    """A net with a loss, an accuracy and rows for each item among its outputs."""
    n = NetSpec("measured")
    n.x, n.drawn = L.DummyData(
        shape=[[5, *SHAPE], [5]],
        data_filler=[{"type": "gaussian"}, {"type": "uniform"}],
        ntop=2,
    )
    n.label = L.Power(n.drawn, scale=0)
    n.score = L.InnerProduct(n.x, num_output=4, weight_filler="xavier")
    n.drop = L.Dropout(n.score, dropout_ratio=0.3)
    n.loss = L.SoftmaxWithLoss(n.drop, n.label, loss_weight=1.5)
    n.accuracy = L.Accuracy(n.drop, n.label)
    n.far = L.Exp(n.drop, scale=9)  # whose sums depend on the order
    return n


def detecting():
    n = NetSpec("detecting")
    n.found = Found()
    n.truth = Truth()
    n.eval = L.DetectionEvaluate(
        n.found, n.truth, num_classes=3, overlap_threshold=0.2, background_label_id=0
    )
    n.x = L.DummyData(shape=[5, *SHAPE], data_filler="gaussian")
    n.y = L.InnerProduct(n.x, num_output=2, weight_filler="xavier")
    n.loss = L.Reduction(n.y, loss_weight=1)
    return n


def remembering():
    """A net in whose batches the state of those before goes on."""
    n = NetSpec("remembering")
    n.x = L.DummyData(shape=[4, 2, 3], data_filler="gaussian")
    n.cont = L.DummyData(shape=[4, 2], data_filler={"type": "constant", "value": 1})
    n.h = L.RNN(n.x, n.cont, num_output=5, weight_filler="xavier")
    n.loss = L.Reduction(n.h, operation="SUMSQ", loss_weight=1)
    return n


class Counting(Layer):
    """Counts its batches."""

    def setup(self, bottom, top):
        self.count = 0

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.count += 1
        top[0].data[...] = self.count**2

    def backward(self, top, propagate_down, bottom):
        pass


def counting():
    n = measured()
    n.count = L.Python(module=__name__, layer="Counting")
    return n


NETS = [measured, detecting, remembering, counting]


def solver_of(make, batches, **more):
    return runtime.Solver(
        make(),
        base_lr=0.01,
        max_iter=20,
        test_iter=batches,
        test_interval=2,
        random_seed=4,
        allow_python=[__name__],
        **more,
    )


def results_of(solver, communicator=None, times=2):
    """Return what tests tell at several iterations, with all bits."""
    found = []
    for iteration in range(0, 2 * times, 2):
        (record,) = run_tests(
            solver.test_nets, solver.param, iteration, lambda: False, communicator
        )
        outputs = {name: values.tobytes() for name, values in record.outputs.items()}
        found.append((outputs, record.loss_weights, record.loss))
    solver.close()
    return found


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("batches", [1, 5, 8])
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_shared_tests_have_the_bits_of_one_process(make, batches, ranks):
    expected = results_of(solver_of(make, batches))
    assert expected[0] != expected[1]
    for found in together(ranks, lambda one: results_of(solver_of(make, batches), one)):
        assert found == expected


def passes(make, ranks):
    """Return how many passes each rank does of a test of 5 batches."""

    def work(one):
        solver = solver_of(make, 5)
        (net,), count = solver.test_nets, [0]
        forward = net.forward

        def counted():
            count[0] += 1
            return forward()

        net.forward = counted
        run_tests([net], solver.param, 0, lambda: False, one)
        return count[0]

    return together(ranks, work)


def test_each_rank_runs_its_own_batches_only():
    assert passes(measured, 2) == [3, 2]
    assert passes(measured, 3) == [2, 2, 1]
    assert passes(measured, 8) == [1, 1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("make", [remembering, counting], ids=lambda m: m.__name__)
def test_nets_whose_batches_depend_on_those_before_run_on_rank_0(make):
    assert passes(make, 3) == [5, 0, 0]


def test_large_outputs_are_added_up_by_each_rank(monkeypatch):
    expected = results_of(solver_of(measured, 7))
    monkeypatch.setattr(shared_tests, "KEPT_BYTES", 100)  # of rows: 5 x 4 numbers
    found = together(3, lambda one: results_of(solver_of(measured, 7), one))
    assert found[1] == found[2] == found[0]
    for (mine, weights, loss), (theirs, *rest) in zip(found[0], expected, strict=True):
        assert [weights, loss] == rest
        assert mine["accuracy"] == theirs["accuracy"]
        np.testing.assert_allclose(
            np.frombuffer(mine["far"]), np.frombuffer(theirs["far"]), rtol=1e-13
        )


def fed(output):
    n = NetSpec("fed")
    n.data = L.Input(shape=[4, *SHAPE])
    n.label = L.Input(shape=[4])
    n.score = L.InnerProduct(n.data, num_output=4, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    if output == "rows":
        n.far = L.Power(n.score, scale=3)
    elif output == "column":
        n.turned = L.Reshape(n.score, shape={"dim": [4, -1]})
    return n


def fed_tests(output, communicator=None, kept=None):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(18, *SHAPE)).astype(np.float32), np.arange(18) % 4
    solver = solver_of(lambda: fed(output), 5)
    from runtime.data.dataset import open_dataset

    (net,) = solver.test_nets
    net.feed_with(open_dataset((x, y), net.input_shapes, phase=TEST), always=False)
    return results_of(solver, communicator)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("output", ["none", "rows"])
def test_last_batches_that_are_smaller_count_as_their_items(output, ranks):
    expected = fed_tests(output)
    for found in together(ranks, lambda one: fed_tests(output, one)):
        assert found == expected


def test_large_rows_of_smaller_batches_are_averaged_on_all_ranks(monkeypatch):
    expected = fed_tests("rows")
    monkeypatch.setattr(shared_tests, "KEPT_BYTES", 0)
    found = together(2, lambda one: fed_tests("rows", one))
    assert found[0] == found[1]
    for (mine, *_), (theirs, *_) in zip(found[0], expected, strict=True):
        np.testing.assert_allclose(
            np.frombuffer(mine["far"]), np.frombuffer(theirs["far"]), rtol=1e-13
        )


@pytest.mark.parametrize("kept", [None, 0])
def test_an_output_without_a_mean_is_refused_on_all_ranks(monkeypatch, kept):
    if kept is not None:
        monkeypatch.setattr(shared_tests, "KEPT_BYTES", kept)

    def work(one):
        with pytest.raises(ShapeError, match=r"'turned' has shape .*no mean"):
            fed_tests("column", one)

    together(2, work)


def test_all_ranks_leave_a_test_that_one_wants_to_leave():
    def work(one):
        solver, asked = solver_of(measured, 400), [0]

        def leave():
            asked[0] += 1
            return one.rank == 1 and asked[0] >= 3

        return run_tests(solver.test_nets, solver.param, 0, leave, one), asked[0]

    ends = together(3, work)
    assert [records for records, _ in ends] == [None] * 3
    assert len({rounds for _, rounds in ends}) == 1


def test_a_wish_in_the_last_round_counts_for_all():
    def work(one):
        def leave():
            return one.rank == 0

        solver = solver_of(measured, 2)
        return run_tests(solver.test_nets, solver.param, 0, leave, one)

    assert together(2, work) == [None, None]


def test_ranks_that_take_long_ask_every_round_and_others_less_often():
    def asked(seconds):
        def work(one):
            now = [0.0]
            agreement = Agreement(one, lambda: now[0])
            for _ in range(100):
                now[0] += seconds * (1 + one.rank)
                assert not agreement.ask(wish=False)
            return len(one.sums)

        return together(2, work)

    assert asked(1.0) == [100, 100]
    assert asked(0.02) == [17, 17]  # every 6 rounds, after the first


def test_arrays_of_all_ranks_keep_their_bits_shapes_and_types():
    rng = np.random.default_rng(0)
    given = [
        [rng.normal(size=(2, 3)).astype(np.float32), np.array(np.nan)],
        [],
        [np.array([[np.inf]]), rng.normal(size=0), rng.normal(size=(4, 1))],
    ]
    for found in together(3, lambda one: gather_arrays(one, given[one.rank])):
        for ours, theirs in zip(found, given, strict=True):
            assert len(ours) == len(theirs)
            for mine, other in zip(ours, theirs, strict=True):
                assert mine.dtype == other.dtype
                np.testing.assert_array_equal(mine, other, strict=True)


def test_solvers_of_all_ranks_have_equal_histories_of_tests():
    def work(one):
        solver = solver_of(measured, 3, communicator=one)
        solver.step(5)
        return [(r.iteration, r.scalars(), r.seconds) for r in solver.history.tests]

    first, second = together(2, work)
    assert first == second
    assert len(first) == 3
