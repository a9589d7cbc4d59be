"""Segmentation, tags, values, several losses, and losses that are not compared."""

import math

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError
from netspec.schema import TEST
from runtime.evaluation.measures import ClassCounts, TagCounts, ValueSums, ranks_of
from tests.runtime.evaluation.nets import FILLED, softmax

RNG = np.random.default_rng(3)


def segmenter(batch=2, ignore=255):
    n = NetSpec("pixels")
    n.data = L.Input(shape=[batch, 3, 4, 5])
    n.label = L.Input(shape=[batch, 1, 4, 5])
    n.score = L.Convolution(n.data, num_output=3, kernel_size=1, **FILLED)
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(ignore_label=ignore))
    n.acc = L.Accuracy(n.score, n.label, ignore_label=ignore, include="TEST")
    return n


@pytest.mark.parametrize("axes", [3, 4])
def test_pixels_have_mean_iou_and_ignored_ones_do_not_count(axes):
    x = RNG.normal(size=(7, 3, 4, 5))
    y = RNG.choice([0, 1, 2, 255], (7, 1, 4, 5), p=[0.3, 0.3, 0.2, 0.2])
    y[4] = 255  # an image without labels
    net = runtime.Net(segmenter(), TEST)
    scores = runtime.predict(net, x, blobs="score")
    given = y if axes == 4 else y[:, 0]
    n = segmenter()
    if axes == 3:
        n.label = L.Input(shape=[2, 4, 5])
        n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(ignore_label=255))
        n.acc = L.Accuracy(n.score, n.label, ignore_label=255, include="TEST")
        net = runtime.Net(n, TEST)
    result = runtime.evaluate(net, (x, given), batch_size=3)
    assert result.kind == "segmentation"
    guess = scores.argmax(axis=1)
    ious, kept = [], y[:, 0] != 255
    for c in range(3):
        mine, said = (y[:, 0] == c) & kept, (guess == c) & kept
        ious.append((mine & said).sum() / (mine | said).sum())
        assert result.per_class[str(c)]["iou"] == pytest.approx(ious[-1])
    assert result.mean_iou == pytest.approx(np.mean(ious))
    assert result.accuracy == pytest.approx((guess == y[:, 0])[kept].mean())
    assert result.outputs["acc"] == pytest.approx(result.accuracy)
    logs = -np.log(softmax(scores))
    each = np.take_along_axis(logs, np.where(y == 255, 0, y), axis=1)[:, 0]
    assert result.loss == pytest.approx(each[kept].mean(), rel=1e-5)
    per_item = [e[k].mean() if k.any() else 0 for e, k in zip(each, kept, strict=True)]
    np.testing.assert_allclose(result.item_losses, per_item, rtol=1e-5)
    assert result.confusion.array.sum() == kept.sum()


def tagger(weight=1.0):
    n = NetSpec("tags")
    n.data, n.tags = L.Input(shape=[4, 6]), L.Input(shape=[4, 3])
    n.score = L.InnerProduct(n.data, num_output=3, **FILLED)
    n.loss = L.SigmoidCrossEntropyLoss(n.score, n.tags, loss_weight=weight)
    return n


def test_tags_one_by_one_and_together():
    x, y = RNG.normal(size=(19, 6)), RNG.integers(0, 2, (19, 3))
    net = runtime.Net(tagger())
    result = runtime.evaluate(net, (x, y), class_names=["red", "big", "old"])
    scores = runtime.predict(net, x, blobs="score").astype(np.float64)
    says = scores >= 0
    assert result.kind == "tags"
    f1s = []
    for place, name in enumerate(["red", "big", "old"]):
        said, held = says[:, place], y[:, place] == 1
        tp = (said & held).sum()
        precision, recall = tp / said.sum(), tp / held.sum()
        f1s.append(2 * precision * recall / (precision + recall))
        row = result.per_class[name]
        assert row["precision"] == pytest.approx(precision)
        assert row["recall"] == pytest.approx(recall)
        assert row["f1"] == pytest.approx(f1s[-1])
        assert row["accuracy"] == pytest.approx((said == held).mean())
        assert row["items"] == held.sum()
    assert result.f1 == pytest.approx(np.mean(f1s))
    assert result.accuracy == pytest.approx((says == (y == 1)).mean())
    assert result.exact_match == pytest.approx((says == (y == 1)).all(axis=1).mean())
    tp = (says & (y == 1)).sum()
    assert result.micro_f1 == pytest.approx(2 * tp / (says.sum() + y.sum()))
    cross = np.log1p(np.exp(-np.abs(scores))) + np.maximum(scores, 0) - scores * y
    assert result.loss == pytest.approx(cross.sum(axis=1).mean(), rel=1e-5)
    np.testing.assert_allclose(result.item_losses, cross.sum(axis=1), rtol=1e-5)
    strict = runtime.evaluate(net, (x, y), threshold=0.75, batch_size=19)
    says = 1 / (1 + np.exp(-scores)) >= 0.75
    assert strict.accuracy == pytest.approx((says == (y == 1)).mean())
    with pytest.raises(SpecError, match="top_k is for nets that tell classes apart"):
        runtime.evaluate(net, (x, y), top_k=1)


def test_a_sigmoid_output_tells_tags():
    n = tagger()
    x, y = RNG.normal(size=(19, 6)), RNG.integers(0, 2, (19, 3))
    whole = runtime.evaluate(runtime.Net(n, seed=2), (x, y))
    del n.loss, n.tags
    n.prob = L.Sigmoid(n.score)
    result = runtime.evaluate(runtime.Net(n, seed=2), (x, y))
    assert (result.kind, result.loss) == ("tags", None)
    assert result.measures == whole.measures


def regression(outputs=2):
    n = NetSpec("values")
    n.data, n.target = L.Input(shape=[4, 6]), L.Input(shape=[4, outputs])
    n.fc = L.InnerProduct(n.data, num_output=outputs, **FILLED)
    n.loss = L.EuclideanLoss(n.fc, n.target)
    return n


def test_values_by_their_differences():
    x, y = RNG.normal(size=(21, 6)), RNG.normal(size=(21, 2)) + 1000
    net = runtime.Net(regression())
    result = runtime.evaluate(net, (x, y))
    guess = runtime.predict(net, x).astype(np.float64)
    y32 = y.astype(np.float32).astype(np.float64)
    assert result.kind == "values"
    assert result.mse == pytest.approx(((guess - y32) ** 2).mean())
    assert result.rmse == pytest.approx(math.sqrt(result.mse))
    assert result.mae == pytest.approx(np.abs(guess - y32).mean())
    share = ((guess - y32) ** 2).sum(axis=0) / ((y32 - y32.mean(axis=0)) ** 2).sum(
        axis=0
    )
    assert result.r2 == pytest.approx((1 - share).mean())
    assert result.per_class["1"]["r2"] == pytest.approx(1 - share[1])
    assert result.loss == pytest.approx(((guess - y32) ** 2).sum() / 2 / 21, rel=1e-5)
    assert result.worst(1)[0][0] == ((guess - y32) ** 2).sum(axis=1).argmax()
    assert "regression of 'values', 21 items: loss " in repr(result)
    assert result.confusion is None
    assert "output" in result._repr_html_()


def test_values_by_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    guess, y = RNG.normal(size=(17, 3)), RNG.normal(size=(17, 3))
    y[:, 1] = 2  # does not vary
    sums = ValueSums(3)
    for start in (0, 4, 9):
        part = slice(start, {0: 4, 4: 9, 9: 17}[start])
        sums.add(guess[part], y[part])
    found = sums.measures()
    assert found["r2"] == pytest.approx(metrics.r2_score(y, guess))
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(y, guess))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, guess))


def test_one_value_an_item_may_come_without_its_axis():
    x, y = RNG.normal(size=(9, 6)), RNG.normal(size=9)
    net = runtime.Net(regression(1))
    result = runtime.evaluate(net, (x, y))
    guess = runtime.predict(net, x)[:, 0]
    assert result.mse == pytest.approx(((guess - y) ** 2).mean(), rel=1e-5)
    assert result.per_class is None


def test_the_loss_is_the_sum_of_all_losses_and_the_main_one_is_measured():
    n = NetSpec("heads")
    n.data, n.label = L.Input(shape=[4, 6]), L.Input(shape=[4])
    n.aux = L.InnerProduct(n.data, num_output=3, **FILLED)
    n.main = L.InnerProduct(n.aux, num_output=3, **FILLED)
    n.loss = L.SoftmaxWithLoss(n.main, n.label)
    n.aux_loss = L.SoftmaxWithLoss(n.aux, n.label, loss_weight=0.25)
    x, y = RNG.normal(size=(11, 6)), RNG.integers(0, 3, 11)
    net = runtime.Net(n)
    result = runtime.evaluate(net, (x, y))
    scores = runtime.predict(net, x, blobs=["aux", "main"])
    losses = {
        name: -np.log(softmax(held))[np.arange(11), y].mean()
        for name, held in scores.items()
    }
    assert result.loss == pytest.approx(losses["main"] + losses["aux"] / 4, rel=1e-5)
    assert result.outputs["aux_loss"] == pytest.approx(losses["aux"], rel=1e-5)
    assert result.accuracy == (scores["main"].argmax(axis=1) == y).mean()


def test_losses_that_are_not_compared_have_loss_and_outputs():
    n = NetSpec("pair")
    n.left, n.right = L.Input(shape=[4, 3]), L.Input(shape=[4, 3])
    n.same = L.Input(shape=[4])
    n.loss = L.ContrastiveLoss(n.left, n.right, n.same, margin=2)
    left, right = RNG.normal(size=(2, 9, 3))
    same = RNG.integers(0, 2, 9)
    result = runtime.evaluate(runtime.Net(n), (left, right, same))
    distance = np.sqrt(((left - right) ** 2).sum(axis=1))
    each = same * distance**2 + (1 - same) * np.maximum(2 - distance, 0) ** 2
    assert (result.kind, dict(result.measures)) == ("other", {})
    assert result.loss == pytest.approx(each.mean() / 2, rel=1e-5)
    assert "evaluation of 'pair', 9 items: loss " in repr(result)
    with pytest.raises(SpecError, match="losses of single items are not known"):
        result.worst()


def test_an_accuracy_layer_alone_tells_scores_and_labels():
    n = NetSpec("scores")
    n.data, n.label = L.Input(shape=[4, 3]), L.Input(shape=[4])
    n.acc = L.Accuracy(n.data, n.label)
    x, y = RNG.normal(size=(9, 3)), RNG.integers(0, 3, 9)
    result = runtime.evaluate(runtime.Net(n), (x, y))
    assert (result.kind, result.loss) == ("classes", None)
    assert result.accuracy == (x.argmax(axis=1) == y).mean()
    assert result.outputs["acc"] == pytest.approx(result.accuracy)


def test_other_losses_of_classes():
    x, y = RNG.normal(size=(9, 3)), RNG.integers(0, 3, 9)
    for make in (
        lambda x, y: L.HingeLoss(x, y, norm="L2"),
        lambda x, y: L.MultinomialLogisticLoss(L.Softmax(x), y),
    ):
        n = NetSpec()
        n.data, n.label = L.Input(shape=[4, 3]), L.Input(shape=[4])
        n.loss = make(n.data, n.label)
        result = runtime.evaluate(runtime.Net(n), (x, y))
        assert result.accuracy == (x.argmax(axis=1) == y).mean()
    assert result.loss == pytest.approx(result.item_losses.mean(), rel=1e-5)


def test_equal_scores_rank_by_their_number():
    scores = np.array([[1.0, 3, 3, 0, 3]])[:, :, None]
    ranks = [int(ranks_of(scores, np.array([[c]]))[0, 0]) for c in range(5)]
    assert ranks == [3, 0, 1, 4, 2]
    assert scores.argmax() == ranks.index(0)


def test_many_classes_have_no_matrix_and_nothing_counts_as_nan():
    counts = ClassCounts(5000, (1,), ignored=7)
    scores = np.zeros((2, 5000, 1))
    scores[0, 4321] = 1
    counts.add(scores, np.array([[4321], [7]]), 0)
    assert counts.matrix is None
    assert counts.accuracy == counts.within(1) == 1
    empty = ClassCounts(3, (2,), ignored=0)
    empty.add(np.zeros((2, 3, 1)), np.zeros((2, 1)), 0)
    assert math.isnan(empty.accuracy)
    assert math.isnan(empty.balanced_accuracy())
    assert math.isnan(empty.means()["f1"])


def test_targets_of_tags_that_are_ignored():
    counts = TagCounts(2, 0.5, ignored=-1)
    said = np.array([[0.9, 0.1], [0.2, 0.7]])[:, :, None]
    held = np.array([[1, -1], [1, 1]])[:, :, None]
    counts.add(said, held)
    assert counts.accuracy == pytest.approx(2 / 3)
    assert counts.exact_match == 0.5
    np.testing.assert_allclose(counts.table()["recall"], [0.5, 1])
