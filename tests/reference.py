"""Where the reference material lies: cases that Caffe computed, and real nets.

It is not part of the project. Tests that use it skip, saying so, where it is absent.
"""

import json
import os
from pathlib import Path

import pytest


def reference_dir() -> Path | None:
    """Return the folder that holds `conformance/` and `zoo/`, or None.

    The environment variable NETSPEC_REFERENCE names it; otherwise a folder `shared`
    beside the checkout is used.
    """
    named = os.environ.get("NETSPEC_REFERENCE")
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(named) if named else beside
    return folder if (folder / "conformance").is_dir() else None


needs_reference = pytest.mark.skipif(
    reference_dir() is None,
    reason="the reference material (NETSPEC_REFERENCE) is not on this machine",
)


def zoo_names(*statuses: str) -> list[str]:
    """Return the real files of some of these statuses; none where there are none."""
    folder = reference_dir()
    if folder is None:
        return []
    expected = json.loads((folder / "zoo" / "expected.json").read_text())
    return [name for name, entry in expected.items() if entry["status"] in statuses]


def zoo_path(name: str) -> Path:
    """Return where a real file is."""
    folder = reference_dir()
    assert folder is not None
    return folder / "zoo" / name
