"""Another head for a net: as many outputs as a new task has classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from netspec.errors import SpecError
from netspec.language.calls import Function
from netspec.language.editing import emitted, rename_call
from netspec.language.folder import Folder, functions
from netspec.language.options import own_param
from netspec.language.proto_to_python import options_of
from netspec.language.shapes import infer_again
from netspec.net_spec import load
from netspec.schema import LayerParameter, NetParameter
from netspec.surgery.classifier import heads_of, replace_classifier
from netspec.surgery.parts import copied
from netspec.weights import Model

ALL = "all"


def replace_head(
    net: Any,
    num_output: int,
    *,
    layer: str | Sequence[str] | None = None,
    name: str | Mapping[str, str] | None = None,
    weight_filler: str | None = None,
) -> Any:
    """Give a net another number of outputs, by a new last layer; return the net.

        n = netspec.load("train_val.prototxt")
        netspec.replace_head(n, num_output=5, name="fc8_flowers")

    The layer that the loss (where there is none, the output) comes from is replaced.
    The new one has another name, so that a weight file of the old net gives it nothing
    and it starts as its filler says; so it is with layers behind it that have values
    for each output. Accuracy with a larger top_k, and shapes of inputs that hold a
    target for each output, follow.

    net: a `NetSpec`, written or loaded, a `NetParameter` or a `Model`; these change in
    place and are returned. Of a path or text, the spec of it is returned.
    num_output: how many. layer: which layer, or several; "all" takes those of auxiliary
    losses with as many outputs, too. name: the new name, or new names by the old ones;
    without it the old one with the number: fc8_5. What is assigned under the old name,
    `n.fc8`, is then under the new one; in a module its path stands in front.
    weight_filler: a type, such as "xavier", in place of what the layer says.

    A `SpecWarning` names losses that keep the old number, and new weights that would
    start as 0.

    Raises `SpecError` where it is not clear which layer is meant, naming those that may
    be, for a layer that cannot have another number, and where the rest of the net does
    not suit it; then nothing is changed. See `netspec.surgery.replace_classifier`.
    """
    if isinstance(net, str | os.PathLike):
        net = load(net)
    if not isinstance(net, Folder | NetParameter | Model):
        raise SpecError(
            f"the net is {net!r}; expected a NetSpec, a NetParameter, a Model, or the "
            f"path or text of a net"
        )
    old = copied(net)
    if layer == ALL and ALL not in [each.name for each in old.net.layer]:
        layer = heads_of(old.net)
    new = replace_classifier(old, num_output, layer, name, weight_filler=weight_filler)
    if isinstance(net, NetParameter):
        net.CopyFrom(new.to_proto())
    elif isinstance(net, Model):
        net.net.CopyFrom(new.net)
        net.weights = new.weights
    else:
        _edit(net, old.net, new.net)
    return net


def _edit(spec: Folder, old: NetParameter, new: NetParameter) -> None:
    """Change the calls of a spec as the layers that it becomes are changed."""
    calls = list(emitted(spec))
    for fn, before, after in zip(calls, old.layer, new.layer, strict=True):
        _edit_options(fn, before, after)
    for fn, before, after in zip(calls, old.layer, new.layer, strict=True):
        if before.name != after.name:
            rename_call(spec, fn, before.name, after.name)
    infer_again(functions(spec))


def _edit_options(fn: Function, old: LayerParameter, new: LayerParameter) -> None:
    before, after = options_of(old), options_of(new)
    changed = {
        name: value for name, value in after.items() if before.get(name) != value
    }
    if not changed:
        return
    own = own_param(fn.type_name)
    if own is not None and fn.params.pop(own, None) is not None:
        changed = {
            name: value for name, value in after.items() if name not in fn.params
        } | changed
    fn.params.update(changed)
