"""How wide text is, without a font: enough to size a box around it."""

from __future__ import annotations

_NARROW = "iljtfrI.,:;'|!()[]/ "
_WIDE = "mwMWGOQ×→"
# Of DejaVu Sans, the widest of the common sans-serif fonts.
_NARROW_EM, _DIGIT_EM, _LOWER_EM, _UPPER_EM, _WIDE_EM = 0.34, 0.64, 0.6, 0.67, 0.84
_BOLD = 1.11  # bold letters are a little wider


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Estimate the width of `text` in a sans-serif font of `size`, rather too wide."""
    total = 0.0
    for letter in text:
        if letter in _NARROW:
            total += _NARROW_EM
        elif letter in _WIDE:
            total += _WIDE_EM
        elif letter.isdigit():
            total += _DIGIT_EM
        elif letter.isupper():
            total += _UPPER_EM
        else:
            total += _LOWER_EM
    return total * size * (_BOLD if bold else 1.0)
