"""What fine-tuning changed of a net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_LISTED = 6  # names in one line


@dataclass(frozen=True, repr=False)
class TuningReport:
    """What `freeze`, `unfreeze` or `set_lr_mult` changed.

    net: the net with the changes; the one that was given, or that of the file.
    what: "froze", "unfroze" or "set lr_mult of". layers: whose parameters were meant.
    sharing: other layers, which have parameters of these and follow them. statistics:
    the layers whose running means and variances stand still from now on, or no longer
    do. lr_mult: by layer what it is now, a number for each learned parameter. trained:
    the layers that learn something now. unknown: of the layers that were meant, those
    of which only their code knows how many parameters they have; they are as they were.
    """

    net: Any = field(repr=False)
    what: str
    layers: tuple[str, ...]
    sharing: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    lr_mult: dict[str, tuple[float, ...]] = field(default_factory=dict)
    trained: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the net as plain dicts, lists, strings and numbers."""
        return {
            "what": self.what,
            "layers": list(self.layers),
            "sharing": list(self.sharing),
            "statistics": list(self.statistics),
            "lr_mult": {name: list(held) for name, held in self.lr_mult.items()},
            "trained": list(self.trained),
            "unknown": list(self.unknown),
        }

    def __str__(self) -> str:
        plural = "" if len(self.layers) == 1 else "s"
        lines = [f"{self.what} {len(self.layers)} layer{plural}: {_named(self.layers)}"]
        if self.what.startswith("set"):
            lines.extend(_by_number(self.lr_mult))
        if self.sharing:
            lines.append(f"with them, as they share parameters: {_named(self.sharing)}")
        if self.statistics:
            still = "stand still" if self.what == "froze" else "follow the data again"
            lines.append(f"statistics of {_named(self.statistics)} {still}")
        if self.unknown:
            lines.append(f"as it was, its code alone knows: {_named(self.unknown)}")
        count = len(self.trained)
        rest = f"{count} layer{'' if count == 1 else 's'}: {_named(self.trained)}"
        lines.append(f"trained: {rest if count else 'nothing'}")
        return "\n".join(lines)

    __repr__ = __str__


def _by_number(lr_mult: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Yield a line for each value that layers have."""
    layers: dict[str, list[str]] = {}
    for name, held in lr_mult.items():
        same = len(set(held)) == 1
        shown = f"{held[0]:g}" if same else ", ".join(f"{each:g}" for each in held)
        layers.setdefault(shown, []).append(name)
    for shown, names in layers.items():
        yield f"  {shown}: {_named(names)}"


def _named(names: Sequence[str]) -> str:
    """Return names in one line: the first and the last ones of many."""
    if len(names) <= MAX_LISTED:
        return ", ".join(names)
    half = MAX_LISTED // 2
    return f"{', '.join(names[:half])} ... {', '.join(names[-half:])}"
