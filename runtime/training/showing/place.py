"""Where a program runs: in a notebook, or anywhere else."""

from __future__ import annotations

import importlib.util
from typing import Any

from netspec import notebooks


def shell() -> Any:
    """Return the shell of the notebook that runs this, or None.

    A notebook is a program with a kernel, which shows what it is given in a page. No
    library is loaded to find out: without IPython in memory there is none.
    """
    found = notebooks.shell()
    return found if getattr(found, "kernel", None) is not None else None


def has_tqdm() -> bool:
    """Say whether tqdm is installed."""
    return importlib.util.find_spec("tqdm") is not None
