"""A net that cannot be written yet, as far as it can be drawn."""

from __future__ import annotations

from netspec.errors import SpecError
from netspec.language.folder import Folder, name_of
from netspec.language.naming import Mistakes
from netspec.schema import NetParameter


def draft(spec: Folder) -> tuple[NetParameter, dict[int, SpecError]]:
    """Return the layers of a spec that `to_proto` refuses, and what is wrong with them.

    The mistakes stand by the number of the layer; a top that lost its name has one made
    of its type.

    Raises `SpecError` for a spec that has no layers to speak of, such as one that holds
    itself.
    """
    mistakes: Mistakes = {}
    emission = spec._emitted(mistakes)  # noqa: SLF001 - attributes of a spec are tops
    net = NetParameter(name=name_of(spec) or "")
    net.layer.extend(emission.layers.values())
    places = {fn: place for place, fn in enumerate(emission.layers)}
    return net, {places[fn]: e for fn, e in mistakes.items() if fn in places}
