"""Which spellings are a slip of another one, and which a name of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_WORD = 60  # characters; no known name is longer
SHORT, LONG = 3, 6  # letters that allow one slip, and two
MAX_SLIPS = 3
_SUFFIX = "_param"
_DIGITS = re.compile(r"\d+")


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """Return the known name of which `word` is a slip, or None.

    One or two letters too many, too few, wrong or exchanged are a slip, and so is one
    word of several with the same beginning and length: `iter_step` for `iter_size`.
    Names that differ in whole words (`crop_size_x`, `seg_accuracy_param`), in digits or
    in how they begin (`bn_param`, `mvn_param`) are no slips: forks add such fields.
    """
    if len(word) > MAX_WORD:
        return None
    slips = ((_slips(word, name), name) for name in known)
    found = min(((count, name) for count, name in slips if count), default=None)
    return None if found is None else found[1]


def _slips(word: str, name: str) -> int:
    """Return how many slips there are if `word` is meant to be `name`, else 0."""
    if word == name:
        return 0
    if word.replace("_", "").lower() == name.replace("_", "").lower():
        return 1
    if word.endswith(_SUFFIX) and name.endswith(_SUFFIX):
        word, name = word.removesuffix(_SUFFIX), name.removesuffix(_SUFFIX)
    if abs(len(word) - len(name)) > 2 or not word or not name:
        return 0
    if _DIGITS.findall(word) != _DIGITS.findall(name):
        return 0
    count = _distance(word, name)
    return count if count <= MAX_SLIPS and _is_slip(word, name, count) else 0


def _is_slip(word: str, name: str, count: int) -> bool:
    parts, others = word.split("_"), name.split("_")
    same_words = len(parts) == len(others)
    length = min(len(word), len(name))
    if word[0] != name[0]:
        begins = word[:2] == name[1::-1]
        return count == 1 and (begins or length > LONG + 1)
    if count == 1:
        # The axis at the end: pad_d beside pad_h is a third one.
        axis = same_words and len(parts) > 1 and len(parts[-1]) == len(others[-1]) == 1
        return length >= SHORT and not (axis and parts[:-1] == others[:-1])
    if count == 2:
        return same_words and length >= LONG
    if not same_words or len(parts) == 1:
        return False
    pairs = [pair for pair in zip(parts, others, strict=True) if pair[0] != pair[1]]
    mine, other = pairs[0]
    return len(pairs) == 1 and mine[:1] == other[:1] and len(mine) == len(other)


def _distance(word: str, name: str) -> int:
    """Return how many letters are too many, too few, wrong, or exchanged."""
    before: list[int] = []
    last = list(range(len(name) + 1))
    for i, letter in enumerate(word):
        row = [i + 1]
        for j, other in enumerate(name):
            best = min(last[j + 1] + 1, row[j] + 1, last[j] + (letter != other))
            swapped = i and j and letter == name[j - 1] and word[i - 1] == other
            row.append(min(best, before[j - 1] + 1) if swapped else best)
        before, last = last, row
    return last[-1]
