"""How well a trained net does on some data."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from operator import index
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, SpecWarning, did_you_mean
from netspec.notebooks import warn_user
from netspec.ops.base import Shape
from netspec.schema import NetParameter
from netspec.weights.names import Names
from runtime.data.lists import read_names
from runtime.distributed import Communicator
from runtime.distributed.communicator import doing, is_first, several
from runtime.evaluation.feeding import Pass, inputs_of
from runtime.evaluation.heads import (
    CLASSES,
    MEASURED,
    OTHER,
    VALUES,
    Head,
    main_head,
    output_head,
)
from runtime.evaluation.judges import Judge, judge_of
from runtime.evaluation.own_outputs import OwnOutputs
from runtime.evaluation.results import Evaluation
from runtime.evaluation.sharing import Share, averaged
from runtime.evaluation.subject import SAME, Subject, Weights, subject_of
from runtime.execution.net import Net
from runtime.habits import told_without_strange

Measure = Callable[[np.ndarray, np.ndarray], float]
LABELS = "label"  # the targets of a net that has no input for them


@told_without_strange
def evaluate(
    model: Any,
    data: Any,
    *others: Any,
    metrics: Sequence[str | Measure] | Mapping[str, Measure] | None = None,
    top_k: int | Sequence[int] = (),
    class_names: Any = None,
    threshold: float = 0.5,
    batch_size: int | None = None,
    transform: Any = SAME,
    weights: Weights | None = None,
    rename: Names | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    communicator: Communicator | None = None,
    **options: Any,
) -> Evaluation:
    """Measure a trained net on all items of some data.

        history = runtime.fit(n, (x, y), epochs=5)
        result = runtime.evaluate(history, (xv, yv), top_k=5)
        result.accuracy, result.confusion, result.worst(10)

    What is measured follows from the main loss, the one with the largest weight:

    - SoftmaxWithLoss and other losses of classes: accuracy, top-k, precision, recall
      and F1 of each class and their means, the confusion matrix; where a label belongs
      to each pixel mean IoU as well. Labels equal to `ignore_label` do not count.
    - SigmoidCrossEntropyLoss: each tag by itself, and items with all tags right.
    - EuclideanLoss, L1Loss, SmoothL1Loss: MSE, RMSE, MAE and R2.
    - any other: the loss and the outputs of the net.

    A net without a loss is measured by its output: Softmax and Sigmoid tell what it is,
    any other output holds values if targets have its shape, and else scores of classes.

    model: as of `runtime.predict`. The TEST phase of the net is taken, with inputs in
        place of data layers; nothing of the model changes.
    data: for all inputs, in their order, of any kind that `runtime.fit` takes: (x, y),
        a dict by names, a path, an iterable ...
    metrics: measures of your own: functions of the outputs and the targets of all
        items, by name or by their own names; or names of measures, to be shown alone.
    top_k: for which k the share of labels among the k best scores is measured.
    class_names: a list in the order of the classes, names by number, or the path of a
        file with a name on each line; else the names of folders of images.
    threshold: the probability from which on a tag is taken to hold.
    batch_size, transform, weights, rename, shapes, options: as of `runtime.predict`.
        The result does not depend on the size of batches, but for rounding.
    communicator: processes that share the batches, `runtime.distributed.world()`. All
        of them call this, with the same model and data, and all get the result.

    The loss is the mean over items (over labels that count, where the loss divides by
    these), as a test pass reports it for batches of one size.

    Raises `SpecError` for labels that are no classes, for k without as many classes and
    for data that do not suit, `ShapeError` for shapes, `FileError` for files. Warns of
    BatchNorm statistics that are young, once a run, and of outputs that are not finite.
    """
    if others:
        raise SpecError(
            "evaluate takes the data as one argument: write evaluate(model, (x, y)), "
            "and everything else by its name"
        )
    subject = subject_of(model, weights, rename, options, shapes)
    asked = Asked(metrics, top_k, class_names, threshold)
    made = subject.transform(transform)
    ranks = several(communicator)
    return evaluation(subject, data, asked, batch_size, made, ranks)


class Asked:
    """What is asked of an evaluation, checked as far as no net is needed."""

    def __init__(
        self, metrics: Any, top_k: Any, class_names: Any, threshold: float
    ) -> None:
        self.names: list[str] = []
        self.own: dict[str, Measure] = {}
        given = metrics if isinstance(metrics, Mapping) else {}
        listed = [] if metrics is None or given else metrics
        listed = listed if np.iterable(listed) else [listed]
        listed = [listed] if isinstance(listed, str) else listed
        for each in listed:
            if isinstance(each, str):
                self.names.append(each)
            else:
                given = {**given, getattr(each, "__name__", type(each).__name__): each}
        for name, measure in given.items():
            if not callable(measure):
                raise SpecError(
                    f"metric {name!r} is {measure!r:.60}; expected a function of the "
                    f"outputs and the targets, or the name of a measure"
                )
            self.own[str(name)] = measure
        self.top_k = _ranks(top_k)
        self.class_names = _names(class_names)
        if not 0 <= threshold <= 1:
            raise SpecError(f"threshold is {threshold!r}; expected a probability")
        self.threshold = threshold


def _value_of(name: str, measure: Measure, args: Sequence[np.ndarray]) -> float:
    try:
        value = measure(*args)
    except Exception as error:
        error.add_note(
            f"raised by the metric {name!r}, which is called with the outputs and the "
            f"targets of all items"
        )
        raise
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise SpecError(f"metric {name!r} returns {value!r:.60}; expected a number")
    return float(array.item())


def _ranks(top_k: Any) -> tuple[int, ...]:
    try:
        ranks = tuple(map(index, top_k if np.iterable(top_k) else [top_k]))
    except TypeError:
        ranks = (0,)
    if any(k < 1 for k in ranks):
        raise SpecError(f"top_k is {top_k!r}; expected a number above 0, or several")
    return tuple(dict.fromkeys(ranks))


def _names(given: Any) -> Any:
    if isinstance(given, str | os.PathLike):
        return read_names(given)
    if given is not None and not np.iterable(given):
        raise SpecError(
            f"class_names is {given!r:.60}; expected a list in the order of the "
            f"classes, names by number, or the path of a file"
        )
    return given


def evaluation(
    subject: Subject,
    data: Any,
    asked: Asked,
    batch_size: int | None,
    transform: Any,
    ranks: Communicator | None = None,
) -> Evaluation:
    """Return how well a net does on all items of some data; see `evaluate`."""
    with doing(ranks, "evaluate"), averaged(subject, ranks):
        return _evaluation(subject, data, asked, batch_size, transform, ranks)


def _evaluation(
    subject: Subject,
    data: Any,
    asked: Asked,
    batch_size: int | None,
    transform: Any,
    ranks: Communicator | None,
) -> Evaluation:
    message = subject.for_test(data)
    net = subject.built(message, _kept(message))
    _look_at_statistics(subject, net)
    head = main_head(net.graph)
    how = {"batch_size": batch_size, "transform": transform}
    inputs = inputs_of(message)
    if head is not None:
        one = Pass(net, data, inputs, labels=head.labels(net.graph), **how)
    else:
        head, one = _of_output(net, inputs, data, how)
    _look_at_classes(subject.classes, one.dataset.classes)
    share = Share(ranks, net, one.dataset)
    classes = subject.classes or one.dataset.classes
    return _measured(net, head, one, asked, classes, share)


def _kept(net: NetParameter) -> frozenset[str]:
    """Return the blobs that losses and measures read, and what a net is for."""
    tops = {top for layer in net.layer for top in layer.top}
    read = {blob for x in net.layer if x.type in MEASURED for blob in x.bottom}
    return frozenset(tops & read)


def _look_at_statistics(subject: Subject, net: Net) -> None:
    solver = subject.solver
    if solver is not None:
        solver.young.look([net], solver.iter * solver.param.iter_size)


def _of_output(
    net: Net, inputs: Mapping[str, Shape], data: Any, how: Mapping[str, Any]
) -> tuple[Head, Pass]:
    """Return what to compare of a net for use, and the data with targets."""
    name = LABELS
    if isinstance(data, Mapping):
        more = [key for key in data if key not in inputs]
        if len(more) != 1:
            raise SpecError(
                f"the net has no loss, so data need its inputs "
                f"({', '.join(inputs)}) and one array of targets; they have "
                f"{', '.join(map(repr, data)) or 'nothing'}"
            )
        name = str(more[0])
    while name in net.blobs:
        name = f"{name}_"
    head = output_head(net.graph, name)
    shape = net.blobs[head.scores].shape
    shape = (next(iter(inputs.values()))[0], *shape[1:]) if shape else shape
    if not shape:
        raise SpecError(f"the net has no loss, and its output {head.scores!r} no items")
    first = CLASSES if head.kind == CLASSES else VALUES
    order = [first] if head.kind != OTHER else [VALUES, CLASSES]
    if head.kind == OTHER and len(shape) < 2:
        order = [VALUES]
    for kind in order:
        wanted = {**inputs, name: _targets(shape, head.axis, kind)}
        try:
            one = Pass(net, data, wanted, labels=None, **how)
        except ShapeError:
            if kind == order[-1]:
                raise
            continue
        chosen = kind if head.kind == OTHER else head.kind
        return head.of_kind(chosen), one
    raise AssertionError(order)


def _targets(shape: Shape, axis: int, kind: str) -> Shape:
    if kind == VALUES:
        return shape
    return (*shape[:axis], *shape[axis + 1 :])


def _look_at_classes(trained: Sequence[str], given: Sequence[str]) -> None:
    """Refuse folders of images whose classes have other numbers than in training."""
    if trained and given and tuple(trained) != tuple(given):
        new = [name for name in given if name not in trained]
        missing = [name for name in trained if name not in given]
        said = f"{_quoted(new)} not there in training" if new else ""
        said = said or f"no {_quoted(missing)}"
        raise SpecError(
            f"the folders of the data are other classes than those of training, so "
            f"their labels would mean other ones: there is {said}; give a folder for "
            f"each of {', '.join(trained)}, or images and labels by a list"
        )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _measured(
    net: Net,
    head: Head,
    one: Pass,
    asked: Asked,
    classes: Sequence[str],
    share: Share,
) -> Evaluation:
    names = asked.class_names
    if names is None:
        names = classes or None
    judge = judge_of(
        head, net.graph, asked.top_k, names, asked.threshold, keep=bool(asked.own)
    )
    _check_names(asked, judge)
    own = OwnOutputs(net)
    found: list[list[np.ndarray]] = []
    finite = [True]

    def run() -> None:
        with np.errstate(all="ignore"):
            for batch in one.batches(share):
                found.append(own.of_pass(len(next(iter(batch.values())))))
                finite[0] &= judge.add(net, batch, one.items)

    share.run(run)
    for brought in share.each(found):
        own.add(brought)
    judge.share(share)
    if not all(share.gather(finite[0])) and is_first(share.ranks):
        warn_user(
            f"{head.who}: blob {head.scores!r} is not finite for some items, so what "
            f"is measured of these means nothing; look at result.item_losses",
            SpecWarning,
        )
    measures = judge.measures()
    for name, measure in asked.own.items():
        measures[name] = _value_of(name, measure, judge.all())
    return Evaluation(
        kind=judge.kind,
        net=net.name,
        items=share.items,
        loss=own.loss if own.loss is not None else judge.loss(),
        measures=measures,
        top_k=judge.top_k(),
        per_class=judge.per_class(),
        confusion=judge.confusion(),
        outputs=own.outputs(),
        item_losses=judge.item_losses(),
        shown=[*asked.names, *asked.own] if asked.names else (),
    )


def _check_names(asked: Asked, judge: Judge) -> None:
    known = ["loss", *judge.names(), *asked.own]
    for name in asked.names:
        if name not in known:
            raise SpecError(
                f"no measure is called {name!r}{did_you_mean(name, known)}; of this "
                f"net there are {', '.join(known)}"
            )
