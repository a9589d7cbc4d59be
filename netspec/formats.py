"""Files of other formats that hold a net: who reads one, by the end of its name.

Who reads files of ours asks here first. What reads others is built on them, so it is
registered from above.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

# From a path to what has `to_proto()`, a net with its values, and `net`, that without.
# The keywords `shapes`, by name, and `batch_size` are for inputs.
Read: TypeAlias = Callable[..., Any]

_READERS: dict[str, Read] = {}


def register_format(suffix: str, read: Read) -> None:
    """Let `read` read the files whose names end in `suffix`."""
    _READERS[suffix] = read


def other_format(net: Any) -> Read | None:
    """Return what reads `net`, where that is the path of a file of another format."""
    if not isinstance(net, str | os.PathLike):
        return None
    path = os.fspath(net)
    if not isinstance(path, str) or "{" in path or "\n" in path:
        return None  # text of a net
    return _READERS.get(Path(path).suffix.lower())
