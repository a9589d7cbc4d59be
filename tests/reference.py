"""Where the reference material lies: cases that Caffe computed, and real nets.

It is not part of the project. Tests that use it skip, saying so, where it is absent.
"""

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
