"""The learned arrays of a layer, by name, before its shapes are known."""

from __future__ import annotations

from collections.abc import Callable

from netspec.catalogue import LAYER_TYPES
from netspec.schema import LayerParameter
from netspec.schema.norms import batch_norm_affine, has_scale, statistics_slots

_Roles = tuple[str, ...]


def _weights(layer: LayerParameter, field: str) -> _Roles:
    return ("w", "b") if getattr(layer, field).bias_term else ("w",)


def _scale(layer: LayerParameter, bottoms: int) -> _Roles:
    own = ("w",) if bottoms == 1 else ()
    return (*own, "b") if layer.scale_param.bias_term else own


def _batch_norm(layer: LayerParameter) -> _Roles:
    scaled, biased = batch_norm_affine(layer)
    return ("mean", "variance", "count", *("w",) * scaled, *("b",) * biased)


def _bn(layer: LayerParameter) -> _Roles:
    return ("w", "b", *("mean", "variance")[: len(statistics_slots(layer))])


def _recurrent(layer: LayerParameter, bottoms: int, states: int) -> _Roles:
    exposed = states if layer.recurrent_param.expose_hidden else 0
    static = ("w_static",) if bottoms - exposed > 2 else ()
    output = ("w_output", "b_output") if layer.type == "RNN" else ()
    return ("w", "b", *static, "w_hidden", *output)


_ROLES: dict[str, Callable[[LayerParameter, int], _Roles]] = {
    "Convolution": lambda layer, _: _weights(layer, "convolution_param"),
    "ConvolutionDepthwise": lambda layer, _: _weights(layer, "convolution_param"),
    "DepthwiseConvolution": lambda layer, _: _weights(layer, "convolution_param"),
    "Deconvolution": lambda layer, _: _weights(layer, "convolution_param"),
    "InnerProduct": lambda layer, _: _weights(layer, "inner_product_param"),
    "Embed": lambda layer, _: _weights(layer, "embed_param"),
    "Scale": _scale,
    "Bias": lambda _, bottoms: ("b",) if bottoms == 1 else (),
    "PReLU": lambda *_: ("w",),
    "BatchNorm": lambda layer, _: _batch_norm(layer),
    "BN": lambda layer, _: _bn(layer),
    "Local": lambda layer, _: _weights(layer, "local_param"),
    "CenterLoss": lambda *_: ("w",),
    "EltwiseAffine": lambda *_: ("w", "b"),
    "LargeMarginInnerProduct": lambda *_: ("w",),
    "MarginInnerProduct": lambda *_: ("w",),
    "Normalize": lambda layer, _: ("w",) if has_scale(layer) else (),
    "Parameter": lambda *_: ("w",),
    "LSTM": lambda layer, bottoms: _recurrent(layer, bottoms, 2),
    "RNN": lambda layer, bottoms: _recurrent(layer, bottoms, 1),
}


# Types whose first parameters are statistics, which Caffe takes with lr_mult 0 only.
STATISTICS = frozenset(("BatchNorm",))


def add_params(layer: LayerParameter, count: int) -> None:
    """Extend `param` of a layer to `count` entries."""
    slots = statistics_slots(layer)
    while len(layer.param) < count:
        spec = layer.param.add()
        if len(layer.param) - 1 in slots:
            spec.lr_mult = 0


def parameter_roles(layer: LayerParameter, bottoms: int) -> _Roles | None:
    """Return short names of a layer's parameters, in order.

    None means that only the layer's code knows them (Python, types of other forks).
    """
    roles = _ROLES.get(layer.type)
    if roles is not None:
        return roles(layer, bottoms)
    return () if layer.type in LAYER_TYPES and layer.type != "Python" else None
