"""Which layer types each reader computes as Caffe does, as far as that was tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netspec.readers.draft import Place

# For each reader the types that it is known to compute, and a check of what is left
# after the rules: "" where a layer is right, else what the reader does, as a clause
# behind its name. A type that is not listed is refused.
Check = Callable[[Place], str]


def always(_: Place) -> str:
    """Every layer of the type is right, or a rule of its own says what is not."""
    return ""


KNOWN: Mapping[str, Mapping[str, Check]] = {
    "opencv": {"Input": always, "Log": always, "Power": always},
    "mnn": {"Input": always, "Log": always, "Power": always},
}


def whether_known(place: Place, reader: str) -> str:
    """Return "" where a reader is known to be right, else what it does."""
    if reader not in KNOWN:
        return ""
    check = KNOWN[reader].get(place.type)
    return f"has no {place.type}" if check is None else check(place)
