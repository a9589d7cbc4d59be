"""Names for the parameters of layers that share them."""

from __future__ import annotations

from netspec.schema import LayerParameter

_STATISTICS = ("BatchNorm",)  # whose parameters are not learned


def name_parameters(layer: LayerParameter, name: str) -> None:
    """Name every parameter of `layer` that has no name: `name`/0, `name`/1, ..."""
    missing = max(number_of_parameters(layer) - len(layer.param), 0)
    for _ in range(missing):
        spec = layer.param.add()
        if layer.type in _STATISTICS:
            spec.lr_mult = 0  # Caffe takes no other
    for index, spec in enumerate(layer.param):
        if not spec.name:
            spec.name = f"{name}/{index}"


def number_of_parameters(layer: LayerParameter) -> int:
    """Return how many parameters a layer has, as far as its fields tell.

    Of a type that is not known here, those are named that it has a `param` for.
    """
    match layer.type:
        case "Convolution" | "Deconvolution":
            return 1 + layer.convolution_param.bias_term
        case "InnerProduct":
            return 1 + layer.inner_product_param.bias_term
        case "Embed":
            return 1 + layer.embed_param.bias_term
        case "Scale":
            return (len(layer.bottom) == 1) + layer.scale_param.bias_term
        case "Bias":
            return int(len(layer.bottom) == 1)
        case "PReLU" | "Normalize" | "Parameter":
            return 1
        case "BatchNorm":
            return 3
        case "LSTM":
            return 3 + _has_static_input(layer, states=2)
        case "RNN":
            return 5 + _has_static_input(layer, states=1)
    return 0


def _has_static_input(layer: LayerParameter, states: int) -> bool:
    hidden = states if layer.recurrent_param.expose_hidden else 0
    return len(layer.bottom) - hidden > 2
