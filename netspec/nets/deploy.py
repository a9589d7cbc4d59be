"""From a net for training to the net for use: no data layers, no labels, no losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from netspec.catalogue import LAYER_TYPES
from netspec.catalogue.check import check_arity
from netspec.errors import ShapeError, SpecError, shown
from netspec.nets.current import current
from netspec.nets.given import check_given, check_given_sizes
from netspec.nets.phases import layers_of_phase, one_phase, unmade
from netspec.nets.state import phase_number
from netspec.ops import known_types
from netspec.ops.base import Shape, brings_data, label
from netspec.ops.data import infer_with
from netspec.schema import TEST, LayerParameter, NetParameter

# Losses whose prediction is a function of their first bottom.
_PREDICTIONS = {
    "FocalLoss": ("Softmax", "softmax_param"),
    "InfogainLoss": ("Softmax", "softmax_param"),
    "SoftmaxWithLoss": ("Softmax", "softmax_param"),
    "SigmoidCrossEntropyBalanceLoss": ("Sigmoid", "sigmoid_param"),
    "SigmoidCrossEntropyLoss": ("Sigmoid", "sigmoid_param"),
}
_PREDICTION_NAME = "prob"
_ENDS = frozenset(
    ("Accuracy", "DetectionEvaluate", "HDF5Output", "SegAccuracy", "Silence")
)


def deploy(
    net: Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batch_size: int | None = None,
) -> NetParameter:
    """Return the net for use that belongs to a net for training.

    Kept are the layers of the TEST phase that the predictions need. A SoftmaxWithLoss
    or InfogainLoss becomes a Softmax and a SigmoidCrossEntropyLoss a Sigmoid, named
    "prob" or like the second top of the loss, unless the net has that layer already; of
    other losses the first bottom is the prediction. Losses with a smaller weight than
    another one are auxiliary: they go, with what only they need. Data layers, those of
    TRAIN or of a stage where TEST has none, become `Input` layers with `shape { dim }`,
    labels go.

    net: a path, prototxt text, a message, or anything with `to_proto()`. shapes: of
    tops of data layers, by name, where only their files tell them. batch_size: takes
    the place of the first axis of all inputs.

    Raises `ShapeError` where the shape of an input is not known, `SpecError` for shapes
    of other blobs and where the layers of the TEST phase make no net.
    """
    check_given_sizes(shapes, batch_size)
    whole = current(net)
    kept = layers_of_phase(whole, TEST)
    sources = _other_sources(whole.layer, kept.layer)
    layers, wanted = _without_losses([*sources, *kept.layer])
    needed = _needed(layers, wanted)
    missing = unmade(needed, TEST)
    if missing is not None:
        raise missing
    _check_shapes(layers, shapes or {})
    result = NetParameter()
    result.CopyFrom(kept)
    del result.layer[:]
    for layer in needed:
        if _is_source(layer):
            result.layer.extend(_inputs(layer, needed, shapes or {}, batch_size))
        else:
            result.layer.append(layer)
    if not result.layer:
        raise SpecError("the net has no layers for the TEST phase")
    return result


def fed(
    net: NetParameter,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batch_size: int | None = None,
) -> NetParameter:
    """Return the layers of the TEST phase with Input layers in place of data layers.

    Losses, measures and labels stay, so that a net can be tested on any data. Data
    layers, those of TRAIN or of a stage where TEST has none, become an Input layer for
    each top that is read; HDF5Output goes, which would write files.

    net: in the current form. shapes, batch_size: as of `deploy`.

    Raises as `deploy` does.
    """
    kept = layers_of_phase(net, TEST)
    layers = [*_other_sources(net.layer, kept.layer), *kept.layer]
    layers = [layer for layer in layers if layer.type != "HDF5Output"]
    _check_shapes(layers, shapes or {})
    result = NetParameter()
    result.CopyFrom(kept)
    del result.layer[:]
    for layer in layers:
        if _is_source(layer):
            result.layer.extend(_inputs(layer, layers, shapes or {}, batch_size))
        else:
            result.layer.append(layer)
    missing = unmade(result.layer, TEST)
    if missing is not None:
        raise missing
    return result


def for_phase(net: NetParameter, phase: str | int) -> NetParameter:
    """Return the layers of `net` for one phase, without rules.

    phase: "TRAIN" or "TEST", by name or number, or "DEPLOY" for the net for use.

    Raises `SpecError` for another phase, and what `deploy` raises.
    """
    if isinstance(phase, str) and phase.upper() == "DEPLOY":
        return deploy(net)
    return one_phase(net, phase_number(phase, "DEPLOY"))


def _is_source(layer: LayerParameter) -> bool:
    return brings_data(layer.type, len(layer.bottom))


def _other_sources(
    whole: Iterable[LayerParameter], kept: Iterable[LayerParameter]
) -> Iterator[LayerParameter]:
    """Yield data layers of other phases and stages, for blobs that TEST has none for.

    Their rules do not matter, as inputs have none.
    """
    made = {top for layer in kept for top in layer.top}
    for layer in whole:
        if _is_source(layer) and made.isdisjoint(layer.top):
            made.update(layer.top)
            yield layer


def _weights(layers: Sequence[LayerParameter]) -> list[float]:
    """Return the weight of every layer that is a loss, and 0 for the others.

    A layer with a weight whose top others read is no loss: it has a penalty.
    """
    read = {x for layer in layers if layer.type not in _ENDS for x in layer.bottom}
    weights = []
    for layer in layers:
        row = LAYER_TYPES.get(layer.type)
        always = row is not None and row.auto_top
        ends = bool(layer.bottom) and (always or read.isdisjoint(layer.top))
        default = 1.0 if always else 0.0
        weights.append(max(map(abs, layer.loss_weight), default=default) * ends)
    return weights


def _without_losses(
    layers: Sequence[LayerParameter],
) -> tuple[list[LayerParameter], set[str]]:
    """Return the layers with predictions in the place of losses, and what is predicted.

    Auxiliary losses are gone. A net without losses is for its outputs.
    """
    weights = _weights(layers)
    main = max(weights, default=0.0)
    kept, wanted = [], set()
    names = {layer.name for layer in layers} | {top for x in layers for top in x.top}
    for layer, weight in zip(layers, weights, strict=True):
        if layer.type in _ENDS or 0 < weight < main:
            continue
        if not weight:
            kept.append(layer)
        elif layer.type in _PREDICTIONS:
            prediction = _prediction(layer, names)
            same = [each for each in layers if _is_same(each, prediction)]
            if not same:
                kept.append(prediction)
            wanted.add((same or [prediction])[0].top[0])
        else:
            wanted.add(layer.bottom[0])
    return kept, wanted if main else _outputs(kept)


def _prediction(loss: LayerParameter, names: set[str]) -> LayerParameter:
    """Return the layer that computes what `loss` compares, and add its name."""
    kind, options = _PREDICTIONS[loss.type]
    name = _PREDICTION_NAME
    if len(loss.top) > 1:
        name = loss.top[1]
    elif name in names:
        name = f"{loss.name}_{name}"
    names.add(name)
    layer = LayerParameter(name=name, type=kind, bottom=loss.bottom[:1], top=[name])
    if loss.HasField(options):  # type: ignore[arg-type]
        getattr(layer, options).CopyFrom(getattr(loss, options))
    return layer


def _is_same(layer: LayerParameter, prediction: LayerParameter) -> bool:
    other = LayerParameter()
    other.CopyFrom(prediction)
    other.name = layer.name
    other.top[:] = layer.top
    return layer == other and layer.top != layer.bottom


def _outputs(layers: Iterable[LayerParameter]) -> set[str]:
    """Return the blobs that no later layer reads."""
    found: set[str] = set()
    for layer in layers:
        found.difference_update(layer.bottom)
        found.update(layer.top)
    return found


def _needed(
    layers: Sequence[LayerParameter], wanted: Iterable[str]
) -> list[LayerParameter]:
    """Return the layers that the wanted blobs need, in order."""
    alive = set(wanted)
    kept = []
    for layer in reversed(layers):
        if alive.intersection(layer.top):
            kept.append(layer)
            alive.update(layer.bottom)
    return kept[::-1]


def _check_shapes(
    layers: Iterable[LayerParameter], shapes: Mapping[str, Sequence[int]]
) -> None:
    """Refuse shapes for what is not the top of a data layer, and what is no shape."""
    tops = [top for layer in layers if _is_source(layer) for top in layer.top]
    check_given(shapes, tops)
    for name, shape in shapes.items():
        sizes: Any = shape if isinstance(shape, Iterable) else [None]
        if not all(hasattr(size, "__index__") and size >= 0 for size in sizes):
            raise ShapeError(
                f"the shape given for {name!r} is {shown(shape)}; expected sizes of at "
                f"least 0, as in (1, 3, 224, 224)"
            )


def _inputs(
    layer: LayerParameter,
    layers: Sequence[LayerParameter],
    shapes: Mapping[str, Sequence[int]],
    batch_size: int | None,
) -> Iterator[LayerParameter]:
    """Yield an Input layer for every top of a data layer that is read."""
    read = {blob for each in layers for blob in each.bottom}
    found: tuple[Shape, ...] = ()
    problem = "only the code of its type knows it"
    try:
        if layer.type in known_types():
            check_arity(layer)
            found = infer_with(layer, (), shapes).tops
    except ShapeError as error:
        problem = str(error)
    for place, top in enumerate(layer.top):
        if top not in read:
            continue
        shape = shapes.get(top) or (found[place] if found else None)
        if shape is None:
            raise ShapeError(
                f"the shape of {top!r} is not known ({problem}); give it: "
                f"shapes={{{top!r}: (1, 3, 224, 224)}}, or --shape {top}=1,3,224,224",
                layer=label(layer),
            )
        sizes = list(shape)
        if batch_size is not None and sizes:
            sizes[0] = batch_size
        new = LayerParameter(name=top, type="Input", top=[top])
        new.input_param.shape.add(dim=sizes)
        yield new
