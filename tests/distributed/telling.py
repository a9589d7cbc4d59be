"""How programs under `mpiexec` bring results back to a test: a file for each rank."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "NETSPEC_TESTS_TOLD"  # which `launch` sets


def tell(communicator: Any, value: object) -> None:
    """Tell the test that launched this program a value, as JSON has it, once a rank.

    Not through standard output, where MPICH mixes long lines of ranks.
    """
    path = Path(os.environ[FOLDER_VARIABLE], f"{communicator.rank}.json")
    path.write_text(json.dumps(value))


def told_in(folder: Path) -> list[Any]:
    """Return what ranks told, in their order."""
    paths = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) for path in paths]
