"""Which axis shows the values of curves well."""

from __future__ import annotations

import numpy as np

LOG_RANGE = 100.0  # largest value over smallest one from which the axis is logarithmic
FAR = 20.0  # times the median of all: so far above, one makes the others flat


def scale_of(values: np.ndarray) -> tuple[bool, float | None]:
    """Return whether an axis is logarithmic, and where it ends if not at the largest.

    It is logarithmic where all values are above 0 and fall by orders of magnitude, or
    one lies so far above the others that these would be flat. Where there is no
    logarithm, what lies so far above has to leave the picture.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return False, None
    low, high = float(finite.min()), float(finite.max())
    usual = FAR * float(np.median(np.abs(finite)))
    if low > 0:
        return high > LOG_RANGE * low or high > usual, None
    return False, float(finite[finite <= usual].max()) if high > usual > 0 else None
