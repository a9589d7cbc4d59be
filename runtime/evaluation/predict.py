"""Predictions of a trained net for all items of some data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netspec.errors import SpecError, did_you_mean, layer_label
from netspec.ops.base import Shape
from netspec.schema import NetParameter
from netspec.weights.names import Names
from runtime.distributed import Communicator
from runtime.distributed.communicator import doing, several
from runtime.evaluation.feeding import Pass, inputs_of
from runtime.evaluation.sharing import Share, averaged
from runtime.evaluation.subject import SAME, Subject, Weights, subject_of
from runtime.execution.net import Net


def predict(
    model: Any,
    x: Any,
    *,
    blobs: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    transform: Any = SAME,
    weights: Weights | None = None,
    rename: Names | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    communicator: Communicator | None = None,
    **options: Any,
) -> Any:
    """Return what a trained net makes of all items of some data.

        history = runtime.fit(n, (x, y), epochs=5)
        probabilities = runtime.predict(history, x)  # (N, classes)
        features = runtime.predict(history, x, blobs="pool5")

    Of a net for training the net for use is taken, with Softmax or Sigmoid in place of
    its loss and without labels (`netspec.deploy`); it shares the parameters of the
    trained net, which nothing changes.

    model: a `History`, a `Solver`, a `Net`; or a spec, message, or path of a net, also
        that of a model file in Python, with `weights`.
    x: data for the inputs of the net for use, of any kind that `runtime.fit` takes: an
        array, a dict by names, a path, an iterable ...
    blobs: which blobs are wanted in place of the outputs, a name or several; the name
        of a layer in place is that of what it makes.
    batch_size: how many items at once; else as many as the net says. The last batch
        may have fewer. The result does not depend on it.
    transform: as of `runtime.fit`, in phase TEST: crops from the middle, no mirroring.
        "same" is what `runtime.fit` tested with, for a model that it trained; None is
        none.
    weights: a weight file or several, for a net without values. rename: what layers of
        these files are called in the net, as of `Net.copy_from`. shapes: of the tops of
        its data layers, with the batch, where neither it nor arrays tell them.
    communicator: processes that share the batches, `runtime.distributed.world()`. All
        of them call this, with the same model and data, and all get what one would.
    options: of `Net` for such a net, as `backend` and `allow_python`.

    Returns an array for one output, or for one name as `blobs`; else a dict of arrays.

    Shapes: x (N, ...) -> (N, ...), items in the order of the data; where a net makes k
    rows of an item (N k, ...); detections (1, 1, K, 7) with items counted over all.

    Raises `SpecError` for blobs that the net for use does not have or that have no rows
    of items, and for data that do not suit; `FileError` for files.
    """
    subject = subject_of(model, weights, rename, options, shapes)
    found = predictions(
        subject,
        x,
        blobs=blobs,
        batch_size=batch_size,
        transform=subject.transform(transform),
        ranks=several(communicator),
    )
    if isinstance(blobs, str) or (blobs is None and len(found) == 1):
        return next(iter(found.values()))
    return found


def predictions(
    subject: Subject,
    x: Any,
    *,
    blobs: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    transform: Any = None,
    ranks: Communicator | None = None,
) -> dict[str, np.ndarray]:
    """Return the arrays of all items, by the names of blobs; see `predict`."""
    with doing(ranks, "predict"), averaged(subject, ranks):
        return _predictions(subject, x, blobs, batch_size, transform, ranks)


def _predictions(
    subject: Subject,
    x: Any,
    blobs: str | Sequence[str] | None,
    batch_size: int | None,
    transform: Any,
    ranks: Communicator | None,
) -> dict[str, np.ndarray]:
    message = subject.for_use(x)
    names = _asked(blobs)
    if names is None:
        found, end = None, None
    elif names:
        found, end = _blobs_of(message, names)
    else:
        raise SpecError("blobs is an empty list; name what is wanted, or leave it out")
    net = subject.built(message, frozenset((found or {}).values()))
    wanted = found if found is not None else {name: name for name in net.outputs}
    inputs = inputs_of(message)
    one = Pass(net, x, inputs, batch_size=batch_size, transform=transform)
    share = Share(ranks, net, one.dataset)
    collected = {name: _Rows(net, blob, share) for name, blob in wanted.items()}

    def run() -> None:
        for batch in one.batches(share, end):
            count = len(next(iter(batch.values())))
            for rows in collected.values():
                rows.add(count, one.items, one.total)

    share.run(run)
    return {name: rows.all() for name, rows in collected.items()}


def _asked(blobs: Any) -> list[str] | None:
    if blobs is None:
        return None
    names = [blobs] if isinstance(blobs, str) or not np.iterable(blobs) else [*blobs]
    for name in names:
        if not isinstance(name, str):
            raise SpecError(f"blobs has {name!r:.60}; expected the names of blobs")
    return names


def _blobs_of(
    net: NetParameter, names: Sequence[str]
) -> tuple[dict[str, str], str | None]:
    """Return the blobs that are meant by names, and the last layer that they need.

    A name is that of a blob, or of a layer that makes one, which may be in place. None
    stands for a layer that cannot be told by its name.
    """
    last = {top: place for place, each in enumerate(net.layer) for top in each.top}
    layers = {each.name: place for place, each in enumerate(net.layer) if each.top}
    found, places = {}, []
    for name in names:
        if name in last:
            found[name], place = name, last[name]
        elif name in layers:
            place = layers[name]
            found[name] = net.layer[place].top[0]
        else:
            raise SpecError(
                f"no blob {name!r} is in the net for use"
                f"{did_you_mean(name, [*last, *layers]) or _listed(list(last))}"
            )
        places.append(place)
    end = max(places)
    for name, place in zip(names, places, strict=True):
        later = [x for x in net.layer[place + 1 : end + 1] if found[name] in x.top]
        if later:
            raise SpecError(
                f"blob {found[name]!r} of layer {name!r} is changed in place by "
                f"{layer_label(later[0].name, later[0].type)}; ask for it alone"
            )
    unique = [each.name for each in net.layer].count(net.layer[end].name) == 1
    return found, net.layer[end].name if unique else None


def _listed(names: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"; it has {', '.join(names[:limit])}{more}"


class _Rows:
    """What a blob has for all items, batch after batch."""

    def __init__(self, net: Net, name: str, share: Share) -> None:
        self._net, self._name, self._share = net, name, share
        edge = net.graph.edges[net.graph.blobs[name]]
        self._is_detections = net.graph.nodes[edge.producer].type == "DetectionOutput"
        self._parts: list[np.ndarray] = []
        self._whole: np.ndarray | None = None  # where the number of items is known
        self._done = 0  # rows
        self._each: tuple[int, int] | None = None  # rows of so many items

    def add(self, count: int, before: int, total: int | None) -> None:
        """Take what the net has for `count` items that follow `before` others."""
        values = self._net.blobs[self._name].data
        if self._share.ranks is not None:
            self._parts.append(values.copy())  # looked at where all come together
            return
        if self._is_detections:
            values = values.copy()
            values[..., 0] += np.where(values[..., 0] >= 0, before, 0)
            self._parts.append(values)
            return
        if before:
            first = self._whole if self._whole is not None else self._parts[0]
            self._check(values.shape, count, first.shape)
        else:
            self._each = (values.shape[:1] or (0,))[0], count
            if total is not None and total > count and self._rows_of(total):
                shape = (self._rows_of(total), *values.shape[1:])
                self._whole = np.empty(shape, values.dtype)
        if self._whole is None:
            self._parts.append(values.copy())
            return
        end = self._done + len(values)
        self._whole[self._done : end] = values
        self._done = end

    def all(self) -> np.ndarray:
        """Return the rows of all items."""
        if self._share.ranks is not None:
            return self._of_ranks()
        if self._whole is not None:
            return self._whole[: self._done]
        if len(self._parts) == 1:
            return self._parts[0]
        axis = 2 if self._is_detections else 0
        return np.concatenate(self._parts, axis=axis)

    def _of_ranks(self) -> np.ndarray:
        share, parts = self._share, self._parts
        if self._is_detections:
            for values, before in zip(parts, share.before, strict=True):
                values[..., 0] += np.where(values[..., 0] >= 0, before, 0)
            return share.rows(parts, axis=2)
        shapes = share.shapes(parts)
        self._each = (shapes[0][:1] or (0,))[0], share.counts[0]
        for shape, count in zip(shapes[1:], share.counts[1:], strict=True):
            self._check(shape, count, shapes[0])
        return share.rows(parts)

    def _rows_of(self, items: int) -> int:
        rows, count = self._each or (0, 1)
        return items * rows // count if items * rows % count == 0 else 0

    def _check(self, shape: Shape, count: int, first: Shape) -> None:
        rows = shape[0] if shape else 0
        if not rows or rows != self._rows_of(count) or shape[1:] != first[1:]:
            raise SpecError(
                f"blob {self._name!r} has shape {shape} for {count} items and "
                f"had another one before, so it has no rows of items; name others "
                f"with blobs=, or give one batch"
            )
