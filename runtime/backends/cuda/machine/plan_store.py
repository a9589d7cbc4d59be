"""Plans on disk, so that they are made once for a device and a version of a library.

A file holds one plan: a line that names the format, a line with the SHA-256 of all that
follows, a line of JSON with the key and what is known of the plan, and the plan itself,
as its library wrote it. A file that is cut short, changed, of another key or of another
format counts as missing, and is written anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.errors import FileError
from netspec.files import abandoned, replacing
from runtime.backends.caches import caches

FORMAT = b"netspec plan 1"
NAME_DIGITS = 32  # of the SHA-256 of the key


@dataclass(frozen=True)
class Plan:
    """A plan in the words of its library.

    name: what the library calls it. measured: it was the fastest of several, by clock;
    else it is the library's own guess.
    """

    data: bytes
    name: str
    measured: bool = False


class PlanStore:
    """A folder of plans, or none: then nothing is kept and nothing found."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder if folder is not None and _is_writable(folder) else None

    def path(self, key: str) -> Path | None:
        """Return the file of a plan, whether it is there or not."""
        if self.folder is None:
            return None
        return self.folder / f"{_digest(key.encode())[:NAME_DIGITS]}.plan"

    def load(self, key: str) -> Plan | None:
        """Return the plan of this key; None where there is none that is whole."""
        path = self.path(key)
        if path is None:
            return None
        try:
            return _read(path.read_bytes(), key)
        except OSError:
            return None

    def save(self, key: str, plan: Plan) -> None:
        """Keep a plan. A folder that takes no more loses nothing but time."""
        path = self.path(key)
        if path is None:
            return
        try:
            with replacing(path) as file:
                file.write(_written(key, plan))
        except FileError:
            return


def store_of(library: Mapping[str, Any], sources: Sequence[Path]) -> PlanStore:
    """Return the store of a device and a version of a library.

    library: whatever makes plans useless when it changes, as JSON knows it. sources:
    the files of the code that asks for plans; where one changes, all are made anew.
    """
    digest = hashlib.sha256(json.dumps(library, sort_keys=True).encode())
    for path in sources:
        digest.update(path.read_bytes())
    try:
        folder = caches() / "netspec" / f"plans-{digest.hexdigest()[:16]}"
    except RuntimeError:  # there is no home folder
        return PlanStore(None)
    return PlanStore(folder)


def _is_writable(folder: Path) -> bool:
    """Make the folder where it is missing, and clear what killed processes left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(".*.tmp"):
            if abandoned(path):
                path.unlink(missing_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _written(key: str, plan: Plan) -> bytes:
    known = {"key": key, "name": plan.name, "measured": plan.measured}
    body = json.dumps(known).encode() + b"\n" + plan.data
    return b"\n".join((FORMAT, _digest(body).encode(), body))


def _read(data: bytes, key: str) -> Plan | None:
    head, _, rest = data.partition(b"\n")
    digest, _, body = rest.partition(b"\n")
    if head != FORMAT or digest != _digest(body).encode():
        return None
    line, _, plan = body.partition(b"\n")
    try:
        known = json.loads(line)
        if known["key"] != key:
            return None
        return Plan(plan, str(known["name"]), known["measured"] is True)
    except (ValueError, KeyError, TypeError):
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
