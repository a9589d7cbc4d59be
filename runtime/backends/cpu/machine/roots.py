"""Quotients, and reciprocals of square roots, as written.

Where sums may be reordered, compilers estimate them and mend that by a step that makes
NaN of what is divided by infinity or 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.machine.parts import exact

ONE: Any = np.float32(1)


@exact
def quotient(x: Any, y: Any) -> Any:
    """Return x / y."""
    return x / y


@exact
def inverse_root(x: Any) -> Any:
    """Return 1 / sqrt(x)."""
    return ONE / np.sqrt(x)
