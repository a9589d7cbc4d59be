"""Mistakes found on the way, told together."""

from __future__ import annotations

from netspec.errors import join_lines
from netspec.text.modules.tree import Place

MAX_MISTAKES = 20  # are told
MAX_SENTENCE = 400  # characters


class Problems:
    """Mistakes by their place; what several uses of a module repeat is told once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Place, str], str] = {}
        self._places: set[Place] = set()

    def add(self, place: Place, said: str, inside: str = "") -> None:
        """Note a mistake; inside: the uses through which it was come to.

        Raises `TextError` when there are many.
        """
        said = said if len(said) <= MAX_SENTENCE else said[:MAX_SENTENCE] + "..."
        self._found.setdefault((place, said), inside)
        self._places.add(place)
        if len(self._found) == MAX_MISTAKES:
            self.raise_any()

    def tells(self, place: Place) -> bool:
        """Tell whether something is wrong at `place` already."""
        return place in self._places

    def raise_any(self) -> None:
        """Raise a `TextError` that tells all mistakes, if there are any."""
        said = [
            (place, f"{sentence}{inside}")
            for (place, sentence), inside in self._found.items()
        ]
        if not said:
            return
        (first, sentence), *others = said
        lines = [sentence, *(f"{place}: {other}" for place, other in others)]
        raise first.error(join_lines(lines))
