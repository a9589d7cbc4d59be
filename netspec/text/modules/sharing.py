"""Names for the parameters of layers that share them."""

from __future__ import annotations

from netspec.catalogue.parameters import add_params, parameter_roles
from netspec.schema import LayerParameter


def name_parameters(layer: LayerParameter, name: str) -> None:
    """Name every parameter of `layer` that has no name: `name`_w, `name`_b, ...

    Of a type that is not known here, those are named that it has a `param` for.
    """
    roles = parameter_roles(layer, len(layer.bottom)) or ()
    add_params(layer, len(roles))
    for index, spec in enumerate(layer.param):
        if not spec.name:
            spec.name = f"{name}_{roles[index] if index < len(roles) else index}"
