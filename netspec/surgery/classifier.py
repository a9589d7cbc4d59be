"""Another classifier: as many outputs as a new task has classes, with fresh values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import index
from typing import Any

from netspec.errors import SpecError
from netspec.ops.base import label
from netspec.ops.convolution import DEPTHWISE
from netspec.schema import LayerParameter, NetParameter
from netspec.surgery.parts import (
    copied,
    find_layer,
    free_name,
    seen_in_each_phase,
    warn,
)
from netspec.surgery.renaming import rename
from netspec.surgery.wires import Wires, wires_of
from netspec.weights import Model

_PARAM = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "InnerProduct": "inner_product_param",
}
_CLASSIFIERS = ("Convolution", "InnerProduct")  # where none is named
_HAS_VALUES = frozenset(
    (
        *_PARAM,
        *DEPTHWISE,
        "Local",
        "BatchNorm",
        "Bias",
        "BN",
        "EltwiseAffine",
        "Embed",
        "LSTM",
        "LargeMarginInnerProduct",
        "MarginInnerProduct",
        "PReLU",
        "RNN",
        "Scale",
    )
)
_DETECTION = frozenset(("DetectionEvaluate", "DetectionOutput", "MultiBoxLoss"))
# Losses whose targets have a value for each output.
_BY_VALUE = frozenset(
    (
        *("EuclideanLoss", "L1Loss", "SigmoidCrossEntropyBalanceLoss"),
        *("SigmoidCrossEntropyLoss", "SmoothL1Loss"),
    )
)


def replace_classifier(
    model: Any,
    num_output: int,
    layer: str | Sequence[str] | None = None,
    name: str | Mapping[str, str] | None = None,
    *,
    weight_filler: str | None = None,
) -> Model:
    """Return a model whose last learned layer has another number of outputs.

    It has another name too, so that a weight file of the old net gives it nothing, and
    no values: whoever runs the model fills them as its fillers say, `runtime.Net` does,
    and `Model.save` writes those of all other layers. So it is with layers behind it
    that have values for each of its outputs.

    model: a `Model`, or what `as_model` takes; it does not change. num_output: the new
    number. layer: the name of the layer, or several names; without it the Convolution
    or InnerProduct that the main loss, or the output, comes from. name: its new name,
    or new names by the old ones; without it the old one with the number, fc8_20. A blob
    that is called like the layer is renamed with it. weight_filler: a type, such as
    "xavier", in place of what the layer says.

    Accuracy with a larger top_k takes num_output instead, and warns; shapes of inputs
    that hold a target for each output follow.

    Raises `SpecError` where it is not clear which layer is meant, for a layer that
    cannot have another number, and where the rest of the net does not suit the number.
    """
    count = _number(num_output)
    given = copied(model)
    buildable = _builds(given.net)
    wires = wires_of(given.net)
    chosen = _chosen(given.net, wires, layer)
    _check_shared(given.net, chosen)
    behind = _behind(wires, chosen)
    names = _new_names(given.net, chosen, behind, count, name)
    said = [*_others(wires, chosen), *_suit(wires, chosen, count)]
    for each in given.net.layer:
        if each.name in chosen:
            said += _change(each, count, weight_filler)
    blobs = {old: names[old] for old in chosen if old in find_layer(given.net, old).top}
    result = rename(given, layers=names, blobs=blobs)
    for new in names.values():
        (result.weights or {}).pop(new, None)
    if buildable:
        seen_in_each_phase(result.net)
    said += [
        f"{label(find_layer(given.net, old))} follows {', '.join(chosen)} and has "
        f"values for each of its outputs; it starts anew as {names[old]!r}"
        for old in behind
    ]
    for text in dict.fromkeys(said):
        warn(text)
    return result


def heads_of(net: NetParameter) -> list[str]:
    """Return the layers that losses, or the outputs, come from, by name, in order.

    Only those with as many outputs as the main one count.

    Raises `SpecError` where it is not clear which the main one is.
    """
    wires = wires_of(net)
    main = _chosen(net, wires, None)
    count = _outputs_of(find_layer(net, main[0]))
    ends = (end for each in wires for end in each.ends())
    found = {
        layer.name
        for end in ends
        for layer in end.sources
        if layer.type in _CLASSIFIERS and _outputs_of(layer) == count
    }
    return [*dict.fromkeys(layer.name for layer in net.layer if layer.name in found)]


def _number(num_output: int) -> int:
    try:
        count = index(num_output)
    except TypeError:
        count = 0
    if count < 1 or isinstance(num_output, bool):
        raise SpecError(f"num_output is {num_output!r}; expected a number above 0")
    return count


def _builds(net: NetParameter) -> bool:
    """Tell whether a net can be checked: without its files, shapes may be unknown."""
    try:
        seen_in_each_phase(net)
    except SpecError:
        return False
    return True


def _chosen(
    net: NetParameter, wires: Sequence[Wires], layer: str | Sequence[str] | None
) -> list[str]:
    if layer is not None:
        names = [layer] if isinstance(layer, str) else [*layer]
        if not names:
            raise SpecError("layer is an empty list; name a layer, or leave it out")
        for each in [find_layer(net, name) for name in names]:
            if each.type not in _PARAM:
                raise SpecError(
                    "only a Convolution, Deconvolution or InnerProduct can be a "
                    "classifier",
                    layer=label(each),
                )
        return names
    ends = [end for each in wires for end in each.ends()]
    main = max((end.weight for end in ends), default=0.0)
    found = {x.name: x for end in ends if end.weight == main for x in end.sources}
    if not found:
        raise SpecError("the net has no Convolution or InnerProduct to be a classifier")
    if len(found) == 1 and next(iter(found.values())).type in _CLASSIFIERS:
        return [*found]
    raise SpecError(
        f"which layer is the classifier? The loss or output comes from "
        f"{', '.join(map(label, found.values()))}; give layer, a name or a list of them"
    )


def _check_shared(net: NetParameter, chosen: Sequence[str]) -> None:
    """Refuse parameters that a layer which stays shares."""
    shared = {p.name for x in net.layer if x.name in chosen for p in x.param} - {""}
    for layer in net.layer:
        for param in layer.param:
            if layer.name not in chosen and param.name in shared:
                raise SpecError(
                    f"shares the parameter {param.name!r} with {', '.join(chosen)}; "
                    f"give all that share it as layer, or take the name from them",
                    layer=label(layer),
                )


def _behind(wires: Sequence[Wires], chosen: Sequence[str]) -> list[str]:
    """Return the layers whose values the number of outputs changes, by name."""
    found = [each.layers[place] for each in wires for place in each.above(chosen)]
    return [
        *dict.fromkeys(
            layer.name
            for layer in found
            if layer.type in _HAS_VALUES
            and len(layer.bottom) == 1
            and layer.name not in chosen
            and not layer.prelu_param.channel_shared
        )
    ]


def _new_names(
    net: NetParameter,
    chosen: Sequence[str],
    behind: Sequence[str],
    count: int,
    name: str | Mapping[str, str] | None,
) -> dict[str, str]:
    taken = {layer.name for layer in net.layer}
    taken.update(blob for layer in net.layer for blob in layer.top)
    names = {
        old: free_name(f"{old}_{count}", taken - {old}) for old in [*chosen, *behind]
    }
    if isinstance(name, str):
        if len(chosen) > 1:
            raise SpecError(
                f"one name, {name!r}, is given for {len(chosen)} layers; give new "
                f"names by the old ones: name={{{chosen[0]!r}: {name!r}, ...}}"
            )
        name = {chosen[0]: name}
    for old, new in (name or {}).items():
        if old not in names:
            raise SpecError(
                f"a name is given for {old!r}, which is not replaced; these are "
                f"{', '.join(names)}"
            )
        if new == old:
            raise SpecError(
                f"the new name is the old one, {old!r}, by which weight files would "
                f"give it old values; give another"
            )
        names[old] = new
    return names


def _outputs_of(layer: LayerParameter) -> int:
    return int(getattr(layer, _PARAM[layer.type]).num_output)


def _others(wires: Sequence[Wires], chosen: Sequence[str]) -> Iterator[str]:
    """Say which losses go on with the old number of outputs."""
    for each in wires:
        old = {_outputs_of(x) for x in each.layers if x.name in chosen}
        for end in each.ends():
            for source in end.sources:
                stays = source.name not in chosen and source.type in _PARAM
                if end.weight and stays and _outputs_of(source) in old:
                    yield (
                        f"{label(end.layer)} still has the {_outputs_of(source)} "
                        f"outputs of {source.name!r}; if they stand for the same "
                        f"classes, replace both: layer={[*chosen, source.name]}"
                    )


def _suit(wires: Sequence[Wires], chosen: Sequence[str], count: int) -> Iterator[str]:
    """Change what depends on the number of outputs; say what cannot be changed here.

    Raises `SpecError` for layers of detection, which have a number for each box.
    """
    for each in wires:
        old = {_outputs_of(x) for x in each.layers if x.name in chosen}
        for place in each.above(chosen):
            layer = each.layers[place]
            if layer.type in _DETECTION:
                raise SpecError(
                    "has a number of classes of its own, and layers before it have "
                    "outputs for each box; write the net with another number, and "
                    "copy the weights of the other layers by name",
                    layer=label(layer),
                )
            if layer.type == "Accuracy" and layer.accuracy_param.top_k > count:
                yield (
                    f"{label(layer)}: top_k is {layer.accuracy_param.top_k}, but there "
                    f"are {count} classes now; it becomes {count}, with which all is "
                    f"right. Remove the layer"
                )
                layer.accuracy_param.top_k = count
            source = layer.infogain_loss_param.source
            if layer.type == "InfogainLoss" and source:
                yield (
                    f"{label(layer)} reads a matrix for the old classes from "
                    f"{source!r}; give it one of {count} x {count}"
                )
            if layer.type in _BY_VALUE:
                for maker in each.makers[place]:
                    yield from _suit_targets(layer, each.layers[maker], old, count)


def _suit_targets(
    loss: LayerParameter, source: LayerParameter, old: set[int], count: int
) -> Iterator[str]:
    if source.type == "Input":
        shapes = source.input_param.shape
    elif source.type == "DummyData":
        shapes = source.dummy_data_param.shape
    elif source.bottom:
        return
    else:
        yield (
            f"{label(loss)} compares {count} outputs with what {label(source)} brings, "
            f"whose files have to hold as many"
        )
        return
    for shape in shapes:
        if len(shape.dim) > 1 and shape.dim[1] in old:
            shape.dim[1] = count


def _change(
    layer: LayerParameter, count: int, weight_filler: str | None
) -> Iterator[str]:
    """Give a layer another number of outputs; say if it would start with zeros."""
    param = getattr(layer, _PARAM[layer.type])
    param.num_output = count
    if weight_filler is not None:
        param.weight_filler.Clear()
        param.weight_filler.type = weight_filler
    elif not param.HasField("weight_filler"):
        yield (
            f"{label(layer)} has no weight_filler, so its new weights start as 0; give "
            f"one: weight_filler='xavier'"
        )
