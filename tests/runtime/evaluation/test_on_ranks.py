"""Ranks that share the batches of a pass have what one process has, on all ranks."""

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError
from netspec.schema import TEST
from tests.ranks import together
from tests.runtime.evaluation.nets import FILLED, classifier, images, untrained
from tests.runtime.evaluation.test_detections import detector
from tests.runtime.evaluation.test_kinds import segmenter

RANKS = [2, 3, 5]
RNG = np.random.default_rng(5)


def tagger(batch=4):
    n = NetSpec("tags")
    n.data, n.tags = L.Input(shape=[batch, 6]), L.Input(shape=[batch, 3])
    n.fc = L.InnerProduct(n.data, num_output=3, **FILLED)
    n.loss = L.SigmoidCrossEntropyLoss(n.fc, n.tags)
    return n


def fitter(batch=4):
    n = NetSpec("values")
    n.data, n.wanted = L.Input(shape=[batch, 6]), L.Input(shape=[batch, 2])
    n.fc = L.InnerProduct(n.data, num_output=2, **FILLED)
    n.loss = L.EuclideanLoss(n.fc, n.wanted)
    return n


def remembering():
    n = NetSpec("remembering")
    n.x, n.cont = L.Input(shape=[4, 2, 3]), L.Input(shape=[4, 2])
    n.h = L.RNN(n.x, n.cont, num_output=5, **FILLED)
    n.loss = L.Reduction(n.h, operation="SUMSQ", loss_weight=1)
    return n


def pixels(items=13):
    y = RNG.choice([0, 1, 2, 255], (items, 1, 4, 5), p=[0.3, 0.3, 0.2, 0.2])
    return RNG.normal(size=(items, 3, 4, 5)).astype("f"), y


ROWS = RNG.normal(size=(19, 6)).astype("f")
KINDS = {
    "classes": (classifier, images()),
    "use": (lambda: classifier(loss=False), images()),
    "segmentation": (segmenter, pixels()),
    "tags": (tagger, (ROWS, (RNG.random((19, 3)) > 0.5).astype("f"))),
    "values": (fitter, (ROWS, RNG.normal(size=(19, 2)).astype("f"))),
    "remembering": (
        remembering,
        (RNG.normal(size=(24, 2, 3)).astype("f"), np.ones((24, 2), "f")),
    ),
}


def built(make):
    n = make()
    return untrained(n) if "bn" in n else runtime.Net(n, TEST, seed=3)


def told(result):
    """All of an evaluation, with its bits."""
    found = result.as_dict()
    losses = result.item_losses
    found["item_losses"] = None if losses is None else losses.tolist()
    return found


def mean_of_both(outputs, targets):
    return float(outputs.sum() + 3 * targets.sum())


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_ranks_measure_what_one_process_measures(kind, ranks):
    make, data = KINDS[kind]
    asked = {} if kind == "remembering" else {"metrics": {"both": mean_of_both}}
    if kind in ("classes", "segmentation"):
        asked["top_k"] = 2
    alone = told(runtime.evaluate(built(make), data, **asked))
    found = together(
        ranks,
        lambda rank: told(
            runtime.evaluate(built(make), data, communicator=rank, **asked)
        ),
    )
    assert all(one == found[0] for one in found)
    if kind != "values":
        assert found[0] == alone
        return
    for name in ("mse", "rmse", "mae", "r2"):  # sums are rounded in another order
        assert found[0].pop(name) == pytest.approx(alone.pop(name), rel=1e-12)
    for name, row in found[0].pop("per_output").items():
        assert row == pytest.approx(alone["per_output"][name], rel=1e-12)
    del alone["per_output"]
    assert found[0] == alone


def by_batches(data, size):
    """A generator of batches, of which nobody knows how many come."""

    def batches():
        for start in range(0, len(data[0]), size):
            yield tuple(values[start : start + size] for values in data)

    return batches


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("how", ["function", "generator", "uneven"])
def test_what_comes_one_after_the_other_is_shared_too(how, ranks):
    data = images(seed=3, items=21)
    one = by_batches(data, 4)
    if how == "uneven":
        whole = [tuple(v[a:b] for v in data) for a, b in [(0, 5), (5, 6), (6, 21)]]
        one = lambda: iter(whole)  # noqa: E731
    give = one if how != "generator" else lambda: one()

    def run(rank):
        given = give() if how == "generator" else give
        return told(runtime.evaluate(built(classifier), given, communicator=rank))

    alone = run(None)
    assert alone["items"] == 21
    assert all(found == alone for found in together(ranks, run))


@pytest.mark.parametrize("ranks", RANKS)
def test_predictions_come_in_order_and_bit_for_bit(ranks):
    x, _ = images()
    x[3] = -0.0

    def run(rank):
        net = built(classifier)
        found = runtime.predict(net, x, communicator=rank)
        several = runtime.predict(net, x, blobs=["fc", "conv"], communicator=rank)
        return [found, several["fc"], several["conv"]]

    alone = run(None)
    for found in together(ranks, run):
        for mine, wanted in zip(found, alone, strict=True):
            assert mine.dtype == wanted.dtype
            assert mine.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("ranks", [2, 4])
def test_detections_are_numbered_over_the_items_of_all(ranks):
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(8, 16)).astype("f")
    conf = rng.uniform(0.6, 0.9, (8, 4, 2)).astype("f")
    conf[..., 0] = 1 - conf[..., 1]
    conf[4, :, 1] = 0
    data = (np.zeros((8, 3, 8, 8), "f"), loc, conf.reshape(8, 8))

    def run(rank):
        return runtime.predict(runtime.Net(detector()), data, communicator=rank)

    alone = run(None)
    for found in together(ranks, run):
        np.testing.assert_array_equal(found, alone)


def failing(call):
    """What each of three ranks raises."""

    def run(rank):
        with pytest.raises(SpecError) as error:
            call(rank)
        return f"{type(error.value).__name__}: {error.value}"

    return together(3, run)


def test_an_error_in_the_batch_of_one_rank_is_raised_on_all():
    x, y = images()
    y[17] = 9
    found = failing(
        lambda rank: runtime.evaluate(
            built(classifier), (x, y), batch_size=3, communicator=rank
        )
    )
    assert len({one.rpartition(":")[2] for one in found}) == 1
    assert "item 17" in found[0]


def test_ranks_with_other_data_or_parameters_are_refused():
    x, y = images()

    def other_data(rank):
        mine = x[rank.rank :], y[rank.rank :]
        runtime.evaluate(built(classifier), mine, communicator=rank)

    for said in failing(other_data):
        assert "the data of rank 1 are others than those of rank 0" in said

    def other_parameters(rank):
        net = built(classifier)
        net.params["fc"][0].data[1, 2] += rank.rank
        runtime.predict(net, x, communicator=rank)

    for said in failing(other_parameters):
        assert "layer 'fc' has other parameters on rank 1 than on rank 0" in said


def test_rows_that_are_no_items_are_refused_on_all():
    n = NetSpec("rows")
    n.data = L.Input(shape=[4, 6])
    n.sum = L.Reduction(n.data)
    for said in failing(
        lambda rank: runtime.predict(runtime.Net(n), ROWS, communicator=rank)
    ):
        assert "so it has no rows of items" in said


def test_each_rank_has_the_mean_of_the_running_statistics():
    x, y = images()

    def run(rank):
        solver = runtime.Solver(
            classifier(), base_lr=0.05, random_seed=2, communicator=rank
        )
        solver.net.feed(images(seed=8), batch_size=6)
        solver.step(2)
        own = solver.net.params["bn"][0].data.copy()
        found = told(runtime.evaluate(solver, (x, y), communicator=rank))
        assert solver.net.params["bn"][0].data.tobytes() == own.tobytes()
        return found

    first, second = together(2, run)
    assert first == second
