"""Where files are kept that can be made again, such as compiled code."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def caches() -> Path:
    """Return `NETSPEC_CACHE_DIR`, or the folder that the system has for caches.

    Raises `RuntimeError` where neither is set and there is no home folder.
    """
    if os.environ.get("NETSPEC_CACHE_DIR"):
        return Path(os.environ["NETSPEC_CACHE_DIR"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
