"""From a net for training to the net for use: no data layers, no labels, no losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from netspec.catalogue import LAYER_TYPES
from netspec.errors import ShapeError, SpecError
from netspec.ops import infer
from netspec.ops.base import Shape, op_class
from netspec.ops.data import infer_with
from netspec.schema import TEST, LayerParameter, NetParameter

# Losses whose prediction is a function of their first bottom.
_PREDICTIONS = {
    "SoftmaxWithLoss": ("Softmax", "softmax_param"),
    "SigmoidCrossEntropyLoss": ("Sigmoid", "sigmoid_param"),
}
_PREDICTION_NAME = "prob"
_ENDS = frozenset(("Accuracy", "DetectionEvaluate", "HDF5Output", "Silence"))


def deploy(
    net: Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batch_size: int | None = None,
) -> NetParameter:
    """Return the net for use that belongs to a net for training.

    Kept are the layers of the TEST phase that the predictions need. A SoftmaxWithLoss
    becomes a Softmax and a SigmoidCrossEntropyLoss a Sigmoid, named "prob"; of other
    losses the first bottom is the prediction. Losses with a smaller weight than another
    one are auxiliary: they go, with what only they need. Data layers become `Input`
    layers with `shape { dim }`, labels go.

    net: a path, prototxt text, a message, or anything with `to_proto()`. shapes: of
    tops of data layers, by name, where only their files tell them. batch_size: takes
    the place of the first axis of all inputs.

    Raises `ShapeError` where the shape of an input is not known.
    """
    from netspec.export import one_phase
    from netspec.text import as_net
    from netspec.upgrade import upgrade_net

    kept = one_phase(upgrade_net(as_net(net)), TEST)
    layers = list(_without_losses(kept.layer))
    wanted = _wanted(kept.layer, layers)
    result = NetParameter()
    result.CopyFrom(kept)
    del result.layer[:]
    for layer in _needed(layers, wanted):
        if _is_source(layer):
            result.layer.extend(_inputs(layer, layers, shapes or {}, batch_size))
        else:
            result.layer.append(layer)
    if not result.layer:
        raise SpecError("the net has no layers for the TEST phase")
    return result


def _is_source(layer: LayerParameter) -> bool:
    return layer.type in LAYER_TYPES and op_class(layer.type).is_source


def _weight(layer: LayerParameter) -> float:
    row = LAYER_TYPES.get(layer.type)
    default = 1.0 if row is not None and row.auto_top else 0.0
    return max(map(abs, layer.loss_weight), default=default)


def _losses(layers: Iterable[LayerParameter]) -> list[LayerParameter]:
    return [layer for layer in layers if _weight(layer) and layer.bottom]


def _without_losses(layers: Sequence[LayerParameter]) -> Iterator[LayerParameter]:
    """Yield the layers with predictions in the place of losses, auxiliary ones gone."""
    losses = _losses(layers)
    main = max(map(_weight, losses), default=0.0)
    names = {layer.name for layer in layers} | {top for x in layers for top in x.top}
    free = _PREDICTION_NAME not in names
    for layer in layers:
        if layer.type in _ENDS or (_weight(layer) and _weight(layer) < main):
            continue
        if not _weight(layer):
            yield layer
        elif layer.type in _PREDICTIONS:
            name = _PREDICTION_NAME if free else f"{layer.name}_{_PREDICTION_NAME}"
            free = False
            yield _prediction(layer, name)


def _prediction(loss: LayerParameter, name: str) -> LayerParameter:
    kind, options = _PREDICTIONS[loss.type]
    layer = LayerParameter(name=name, type=kind, bottom=loss.bottom[:1], top=[name])
    if loss.HasField(options):  # type: ignore[arg-type]
        getattr(layer, options).CopyFrom(getattr(loss, options))
    return layer


def _wanted(
    whole: Sequence[LayerParameter], layers: Sequence[LayerParameter]
) -> set[str]:
    """Return the blobs that the net is for."""
    losses = _losses(whole)
    read = {blob for layer in layers for blob in layer.bottom}
    made = {blob for layer in layers for blob in layer.top}
    if not losses:
        return made - read
    main = max(map(_weight, losses))
    predictions = {
        layer.bottom[0]
        for layer in losses
        if _weight(layer) == main and layer.type not in _PREDICTIONS
    }
    computed = {
        layer.top[0] for layer in layers if layer not in whole and len(layer.top) == 1
    }
    return predictions | computed


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


def _inputs(
    layer: LayerParameter,
    layers: Sequence[LayerParameter],
    shapes: Mapping[str, Sequence[int]],
    batch_size: int | None,
) -> Iterator[LayerParameter]:
    """Yield an Input layer for every top of a data layer that is read."""
    read = {blob for each in layers for blob in each.bottom}
    found: tuple[Shape, ...] = ()
    problem = ""
    try:
        found = infer_with(layer, (), shapes).tops if shapes else infer(layer, ()).tops
    except ShapeError as error:
        problem = str(error)
    for place, top in enumerate(layer.top):
        if top not in read:
            continue
        shape = shapes.get(top) or (found[place] if found else None)
        if shape is None:
            raise ShapeError(
                f"layer {layer.name!r} ({layer.type}): the shape of {top!r} is not "
                f"known ({problem}); give it: shapes={{{top!r}: (1, 3, 224, 224)}}, or "
                f"--shape {top}=1,3,224,224"
            )
        sizes = list(shape)
        if batch_size is not None and sizes:
            sizes[0] = batch_size
        new = LayerParameter(name=top, type="Input", top=[top])
        new.input_param.shape.add(dim=sizes)
        yield new
