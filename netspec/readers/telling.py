"""The warning of the plain export: what common readers would compute wrongly."""

from __future__ import annotations

from typing import Any

from netspec.errors import NetspecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.readers.draft import Draft
from netspec.readers.form import plain_form
from netspec.readers.reader import READERS
from netspec.readers.rewriting import would_find
from netspec.schema import NetParameter

SHOWN = 3  # layers that the warning names


def warn_of_readers(net: NetParameter) -> None:
    """Warn, once for a net for use, of what common readers compute wrongly.

    Only what they do not refuse or say themselves is told. A net whose shapes cannot be
    known, or that is wrong in another way, is passed over.
    """
    try:
        draft = Draft(plain_form(_without_values(net)))
    except NetspecError:
        return
    common = [reader for reader in READERS.values() if reader.common]
    found = would_find(draft, common)
    if not found:
        return
    names = {name for name, _, _ in found}
    readers = [reader for reader in common if reader.name in names]
    # Layers in the order of the net, with the first rule that is about each.
    rules = {layer: rule.says for _, rule, layer in reversed(found)}
    layers = [
        f"{place.label}: {rules[place.label]}".removesuffix(f": {place.type}")
        for place in draft.places
        if place.label in rules
    ]
    more = f", and {len(layers) - SHOWN} more" if len(layers) > SHOWN else ""
    warn_user(
        f"{', '.join(map(str, readers))}: known to compute other numbers than Caffe, "
        f"without a word, for {'; '.join(layers[:SHOWN])}{more}. "
        f"{' or '.join(f'--for {reader.name}' for reader in readers)} writes a net "
        f"that is right there, or says what cannot be",
        SpecWarning,
    )


def _without_values(net: NetParameter) -> NetParameter:
    """Return a net without values, which are not copied first."""
    if not any(layer.blobs for layer in net.layer):
        return net
    rest = _without(net, "layer")
    rest.layer.extend(_without(layer, "blobs") for layer in net.layer)
    return rest


def _without(message: Any, name: str) -> Any:
    """Return a copy of a message without one field."""
    result = type(message)()
    for field, value in message.ListFields():
        if field.name != name:
            result.MergeFrom(type(message)(**{field.name: value}))
    return result
