"""Measures of classifiers against slow references, and what goes with them."""

import json
import math
import warnings

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError, SpecError, SpecWarning
from tests.runtime.evaluation.nets import (
    CLASSES,
    FILLED,
    classifier,
    images,
    softmax,
    untrained,
)


@pytest.fixture(scope="module")
def net():
    return untrained()


def scores_of(net, x):
    return runtime.predict(net, x, blobs="fc").astype(np.float64)


def reference(scores, labels):
    """All measures of a classifier, in loops."""
    classes = scores.shape[1]
    confusion = np.zeros((classes, classes), int)
    ranks, losses = [], []
    for row, label in zip(scores, labels, strict=True):
        confusion[label, int(np.argmax(row))] += 1
        ranks.append(sum(other > row[label] for other in row))
        losses.append(-math.log(softmax(row[None])[0, label]))
    table = {}
    for c in range(classes):
        tp = confusion[c, c]
        said, held = confusion[:, c].sum(), confusion[c].sum()
        precision = tp / said if said else 0
        recall = tp / held if held else 0
        f1 = 2 * precision * recall / (precision + recall) if tp else 0
        table[c] = (precision, recall, f1, held)
    return confusion, np.array(ranks), np.array(losses), table


def test_a_classifier_by_a_slow_reference(net):
    x, y = images()
    confusion, ranks, losses, table = reference(scores_of(net, x), y)
    result = runtime.evaluate(net, (x, y), top_k=(1, 2, 4))
    assert (result.kind, result.net, result.items) == ("classes", "small", 23)
    np.testing.assert_array_equal(result.confusion, confusion)
    assert result.confusion.array.dtype == np.int64
    assert result.accuracy == pytest.approx(np.trace(confusion) / 23)
    assert 0 < result.accuracy < 1
    assert result.loss == pytest.approx(losses.mean(), rel=1e-5)
    np.testing.assert_allclose(result.item_losses, losses, rtol=1e-5)
    for k in (1, 2, 4):
        assert result.top_k[k] == pytest.approx((ranks < k).mean())
        assert result[f"top_{k}"] == result.top_k[k]
    for c in range(CLASSES):
        precision, recall, f1, held = table[c]
        row = result.per_class[str(c)]
        assert list(row) == ["precision", "recall", "f1", "items"]
        assert [*row.values()] == pytest.approx([precision, recall, f1, held])
    occur = [c for c in table if confusion[c].sum() + confusion[:, c].sum()]
    for place, name in enumerate(("precision", "recall", "f1")):
        mean = np.mean([table[c][place] for c in occur])
        assert getattr(result, name) == pytest.approx(mean)
    held = [c for c in table if table[c][3]]
    balanced = np.mean([table[c][1] for c in held])
    assert result.balanced_accuracy == pytest.approx(balanced)
    worst = result.worst(3)
    assert [place for place, _ in worst] == [*np.argsort(-losses)[:3]]


def test_a_classifier_by_scikit_learn(net):
    metrics = pytest.importorskip("sklearn.metrics")
    x, y = images(seed=7, items=61)
    scores = scores_of(net, x)
    result = runtime.evaluate(net, (x, y), top_k=2)
    guess = scores.argmax(axis=1)
    every = list(range(CLASSES))
    np.testing.assert_array_equal(
        result.confusion, metrics.confusion_matrix(y, guess, labels=every)
    )
    found = metrics.precision_recall_fscore_support(
        y, guess, labels=every, zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "items"), found, strict=True):
        np.testing.assert_allclose(result.per_class.columns[name], values)
    macro = metrics.f1_score(y, guess, average="macro", zero_division=0)
    assert result.f1 == pytest.approx(macro)
    assert result.loss == pytest.approx(
        metrics.log_loss(y, softmax(scores), labels=every), rel=1e-5
    )
    two = metrics.top_k_accuracy_score(y, scores, k=2, labels=every)
    assert result.top_k[2] == pytest.approx(two)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class that no label names
        balanced = metrics.balanced_accuracy_score(y, guess)
    assert result.balanced_accuracy == pytest.approx(balanced)


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_nothing_depends_on_the_size_of_batches(normalization):
    n = classifier(loss_param=dict(normalization=normalization))
    net, data = untrained(n), images()
    found = [runtime.evaluate(net, data, batch_size=size) for size in (1, 4, 8, 23)]
    whole = found[-1]
    for each in found[:-1]:
        assert each.loss == pytest.approx(whole.loss, rel=1e-5)
        assert each.measures == whole.measures
        assert each.outputs["acc"] == pytest.approx(whole.outputs["acc"])
        np.testing.assert_array_equal(each.confusion, whole.confusion)
        np.testing.assert_allclose(each.item_losses, whole.item_losses, rtol=1e-5)
    assert whole.loss == pytest.approx(whole.item_losses.mean(), rel=1e-5)


def test_labels_that_are_ignored_do_not_count():
    x, y = images()
    n = classifier(loss_param=dict(ignore_label=2))
    n.acc = L.Accuracy(n.fc, n.label, ignore_label=2, include="TEST")
    n.parts = L.Accuracy(n.fc, n.label, ignore_label=2, ntop=2, include="TEST")[1]
    net = untrained(n)
    kept = y != 2
    assert 0 < kept.sum() < 23
    result = runtime.evaluate(net, (x, y), batch_size=4)
    only = runtime.evaluate(untrained(), (x[kept], y[kept]))
    np.testing.assert_array_equal(result.confusion, only.confusion)
    assert result.loss == pytest.approx(only.loss, rel=1e-5)
    assert result.measures == pytest.approx(only.measures)
    assert result.outputs["acc"] == pytest.approx(only.outputs["acc"])
    np.testing.assert_allclose(
        result.outputs["parts"], only.per_class.columns["recall"], rtol=1e-5
    )
    assert (result.item_losses[~kept] == 0).all()


def test_a_label_that_no_class_has_is_named(net):
    x, y = images()
    y[13] = 5
    with pytest.raises(SpecError, match="'label' has the label 5 in item 13"):
        runtime.evaluate(net, (x, y))
    y[13] = -1
    with pytest.raises(SpecError, match="'label' has the label -1 in item 13"):
        runtime.evaluate(net, (x, y))
    with pytest.raises(SpecError, match=r"has the label 0\.5 in item 3"):
        runtime.evaluate(net, (x, np.where(np.arange(23) == 3, 0.5, 1)))


def test_labels_that_layers_make_are_looked_at_too():
    n = classifier()
    n.shifted = L.Power(n.label, shift=1)
    n.loss = L.SoftmaxWithLoss(n.fc, n.shifted, loss_param=dict(ignore_label=9))
    n.acc = L.Accuracy(n.fc, n.label, include="TEST")
    x, y = images()
    y[:] = 1
    result = runtime.evaluate(untrained(n), (x, y))
    assert result.per_class["2"]["items"] == 23
    y[17] = 4
    with pytest.raises(SpecError, match=r"'loss' .*\('shifted'\) holds the label 5"):
        runtime.evaluate(untrained(n), (x, y))


def test_a_net_for_use_is_measured_by_its_output(net, tmp_path):
    x, y = images()
    net.save(tmp_path / "w.npz")
    whole = runtime.evaluate(net, (x, y), top_k=2)
    for n in (classifier(loss=False), netspec.deploy(classifier())):
        result = runtime.evaluate(n, (x, y), top_k=2, weights=tmp_path / "w.npz")
        assert result.kind == "classes"
        assert result.measures == whole.measures
        assert result.loss == pytest.approx(whole.loss, rel=1e-5)
        named = runtime.evaluate(n, {"data": x, "truth": y}, weights=tmp_path / "w.npz")
        assert named.accuracy == whole.accuracy


def test_scores_without_a_softmax_are_those_of_classes_by_the_labels():
    n = classifier(loss=False)
    del n.prob
    net = untrained(n)
    x, y = images()
    result = runtime.evaluate(net, (x, y))
    assert result.kind == "classes"
    assert result.accuracy == (scores_of(net, x).argmax(axis=1) == y).mean()
    assert result.loss is None
    values = runtime.evaluate(net, (x, np.ones((23, CLASSES))))
    assert values.kind == "values"


def test_no_labels_are_told(net):
    x, _ = images()
    with pytest.raises(SpecError, match="the net has 2 inputs: data, label"):
        runtime.evaluate(net, x)
    use = runtime.Net(classifier(loss=False))
    with pytest.raises(SpecError, match="the net has 2 inputs: data, label"):
        runtime.evaluate(use, x)
    with pytest.raises(SpecError, match=r"need its inputs \(data\) and one array"):
        runtime.evaluate(use, {"data": x})


def test_shapes_that_do_not_meet_are_told(net):
    x, y = images()
    with pytest.raises(SpecError, match="different numbers of items|items"):
        runtime.evaluate(net, (x, y[:-1]))
    with pytest.raises(ShapeError, match="input 'data' takes"):
        runtime.evaluate(net, (x[:, :2], y))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"top_k": 6}, "top_k is 6, but the net tells 5 classes apart"),
        ({"top_k": 0}, "top_k is 0; expected a number above 0"),
        ({"top_k": "5"}, "top_k is '5'; expected"),
        ({"class_names": ["a", "b"]}, "has 2 names, but the net has 5 classes"),
        ({"class_names": {7: "x"}}, "class_names has 7, but there are 5"),
        ({"metrics": ["acuracy"]}, "'acuracy'; did you mean 'accuracy'"),
        ({"metrics": {"a": 3}}, "metric 'a' is 3; expected a function"),
        ({"threshold": 2}, "threshold is 2; expected a probability"),
    ],
)
def test_what_cannot_be_asked_is_refused(net, options, text):
    with pytest.raises(SpecError, match=text):
        runtime.evaluate(net, images(), **options)


def test_names_of_classes_in_a_list_a_dict_and_a_file(net, tmp_path):
    names = ["ant", "bee", "cat", "dog", "elk"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    for given in (names, tmp_path / "names.txt", dict(enumerate(names))):
        result = runtime.evaluate(net, images(), class_names=given)
        assert result.per_class.names == tuple(names)
        assert result.confusion.names == tuple(names)
    some = runtime.evaluate(net, images(), class_names={3: "dog"})
    assert some.per_class.names == ("0", "1", "2", "dog", "4")
    with pytest.raises(SpecError, match="no class is called 'bea'; did you mean 'bee'"):
        result.per_class["bea"]


def test_measures_of_ones_own(net):
    x, y = images()

    def mean_margin(scores, labels):
        assert scores.shape == (23, CLASSES)
        return float(
            (scores.max(axis=1) - scores[range(23), labels.astype(int)]).mean()
        )

    result = runtime.evaluate(net, (x, y), metrics=["accuracy", mean_margin])
    scores = scores_of(net, x)
    wanted = (scores.max(axis=1) - scores[np.arange(23), y]).mean()
    assert result.mean_margin == pytest.approx(wanted, rel=1e-5)
    assert list(result.chosen) == ["accuracy", "mean_margin"]
    assert "f1" not in result.as_dict()
    named = runtime.evaluate(net, (x, y), metrics={"margin": mean_margin})
    assert named.margin == result.mean_margin
    assert named.f1 == result.f1


def test_a_solver_is_measured_by_its_test_net_and_told_of_young_statistics():
    n = classifier()
    n.bn = L.BatchNorm(n.conv, in_place=True)  # 0.999
    n.drop = L.Dropout(n.bn, in_place=True)
    n.fc = L.InnerProduct(n.drop, num_output=CLASSES, **FILLED)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    n.acc = L.Accuracy(n.fc, n.label, include="TEST")
    solver = runtime.Solver(n, base_lr=0.01)
    solver.net.feed(images(), batch_size=8)
    solver.step(3)
    with pytest.warns(SpecWarning, match="of the first 3 training iterations"):
        result = runtime.evaluate(solver, images())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = runtime.evaluate(solver, images())
    assert again.as_dict() == result.as_dict()
    assert result.outputs["acc"] == pytest.approx(result.accuracy)


def test_outputs_that_are_not_finite_are_told(net):
    n = NetSpec()
    n.data, n.label = L.Input(shape=[4, 5]), L.Input(shape=[4])
    n.log = L.Log(n.data)
    n.loss = L.SoftmaxWithLoss(n.log, n.label)
    with pytest.warns(SpecWarning, match="blob 'log' is not finite for some items"):
        runtime.evaluate(runtime.Net(n), (np.full((6, 5), -1.0), np.zeros(6)))


def test_dicts_texts_and_tables(net):
    names = ["ant", "bee", "<cat>", "dog", "elk"]
    result = runtime.evaluate(net, images(), top_k=2, class_names=names)
    told = json.loads(json.dumps(result.as_dict()))
    assert told["accuracy"] == result.accuracy
    assert told["per_class"]["ant"]["recall"] == result.per_class["ant"]["recall"]
    assert told["confusion"] == result.confusion.array.tolist()
    assert told["outputs"]["acc"] == pytest.approx(result.accuracy)
    short = repr(result)
    assert short.count("\n") == 2
    assert short.startswith("classification of 'small', 23 items: loss ")
    assert f"top_2 {result.top_k[2]:.4f}" in short
    assert "outputs of the net: acc " in short
    full = str(result)
    assert full.startswith(short)
    assert "label \\ predicted" in full
    page = result._repr_html_()
    for part in ("&lt;cat&gt;", "rgba(", "<details", "f1"):
        assert part in page
    for part in ("<cat>", "<script", " id="):
        assert part not in page
    assert result.confusion.most(1)[0][2] == max(
        int(n) for n in np.asarray(result.confusion)[~np.eye(5, dtype=bool)]
    )


def test_data_frames(net):
    pytest.importorskip("pandas")
    result = runtime.evaluate(net, images(), class_names=[*"abcde"])
    frame = result.confusion.to_pandas()
    assert frame.loc["a", "b"] == result.confusion[0, 1]
    assert frame.index.name == "label"
    table = result.per_class.to_pandas()
    assert table.loc["e", "f1"] == result.per_class["e"]["f1"]


def test_an_attribute_that_is_no_measure_is_told(net):
    result = runtime.evaluate(net, images())
    with pytest.raises(AttributeError, match="no 'acuracy'; did you mean 'accuracy'"):
        _ = result.acuracy
    with pytest.raises(SpecError, match="no measure 'los'; did you mean 'loss'"):
        result["los"]
    assert "accuracy" in dir(result)
