"""What a row of the tables of known types is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from netspec.readers.draft import Place

# Looks at what is left after the rules: "" where a layer is right, else what the reader
# does, as a clause behind its name.
Check: TypeAlias = Callable[[Place], str]

# By reader, then by layer type.
Known: TypeAlias = Mapping[str, Mapping[str, Check]]


def always(_: Place) -> str:
    """Every layer of the type is right, or a rule of its own says what is not."""
    return ""
