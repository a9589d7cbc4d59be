"""Which layer types each reader computes as Caffe does, as far as that was tried."""

from __future__ import annotations

from netspec.readers.draft import Place
from netspec.readers.rules import types_of_shapes, types_of_values
from netspec.readers.rules.check import Known

# A reader that is listed is known to compute these types only; any other is refused.
KNOWN: Known = {
    reader: {**types_of_values.KNOWN[reader], **types_of_shapes.KNOWN[reader]}
    for reader in ("opencv", "mnn")
}


def whether_known(place: Place, reader: str) -> str:
    """Return "" where a reader is known to be right, else what it does."""
    if reader not in KNOWN:
        return ""
    check = KNOWN[reader].get(place.type)
    return f"has no {place.type}" if check is None else check(place)
