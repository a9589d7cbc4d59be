"""What `evaluate` finds: numbers, a table of classes, and how notebooks show them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netspec.columns import aligned
from netspec.errors import SpecError, did_you_mean
from runtime.evaluation.confusion import Confusion
from runtime.html import Markup, closed, line, output, table
from runtime.training.tables import pandas

MAX_ROWS = 20  # of a table of classes in text, and open in HTML
LEAST_SHOWN = 3  # classes with the least F1 in a repr


@dataclass(frozen=True, repr=False, eq=False)
class PerClass:
    """Measures of every class, tag or output.

    names: of them. columns: by the name of a measure an array, (C,). kind: what they
    are, "class", "tag" or "output".
    """

    names: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    kind: str = "class"

    def __getitem__(self, name: str | int) -> dict[str, float]:
        """Return the measures of one class by its name or its number."""
        if isinstance(name, int | np.integer) and 0 <= name < len(self.names):
            name = self.names[name]
        if name not in self.names:
            hint = did_you_mean(str(name), self.names)
            raise SpecError(f"no {self.kind} is called {name!r}{hint}")
        place = self.names.index(name)
        return {key: _plain(held[place]) for key, held in self.columns.items()}

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Return the measures of every class, by its name."""
        return {name: self[name] for name in self.names}

    def to_pandas(self) -> Any:
        """Return a DataFrame; raises `MachineError` where pandas is missing."""
        library = pandas("PerClass.to_pandas", "as_dict")
        index = library.Index(self.names, name=self.kind)
        return library.DataFrame(dict(self.columns), index=index)

    def rows(self) -> list[list[str]]:
        """Return the table as text, a row a class."""
        columns = list(self.columns.values())
        return [
            [name, *(_cell(held[place]) for held in columns)]
            for place, name in enumerate(self.names)
        ]

    def text(self, limit: int | None = None) -> str:
        """Return a table of the first `limit` classes, or of all."""
        rows = [[self.kind, *self.columns], *self.rows()[:limit]]
        lines = aligned(rows)
        more = len(self.names) - len(rows) + 1
        return "\n".join([*lines, f"... and {more} more"] if more else lines)

    __str__ = text

    def __repr__(self) -> str:
        return f"<PerClass: {len(self.names)} rows, {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        return output(self.table())

    def table(self) -> Markup:
        """Return the table in HTML."""
        return table(
            [self.kind, *self.columns], self.rows(), range(1, len(self.columns) + 1)
        )


@dataclass(frozen=True, repr=False, eq=False)
class Evaluation:
    """How well a net does on some data.

    kind: "classes", "segmentation", "tags" (several may hold), "values" (regression) or
    "other". net: its name. items: how many there were. loss: the objective, the mean
    over items; None for a net without a loss. measures: by name, as the page Evaluation
    has them; they are attributes as well: `result.accuracy`. top_k: by k the share of
    labels among the k best. per_class, confusion: None where there are no classes, or
    too many for a matrix. outputs: the means of the net's own outputs. item_losses: of
    each item, (N,), where that is known. shown: which measures are shown; all if empty.
    """

    kind: str
    net: str
    items: int
    loss: float | None
    measures: Mapping[str, float]
    top_k: Mapping[int, float] = field(default_factory=dict)
    per_class: PerClass | None = None
    confusion: Confusion | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    item_losses: np.ndarray | None = None
    shown: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        measures = self.__dict__.get("measures", {})
        if name in measures:
            return measures[name]
        hint = did_you_mean(name, measures) or f"; it has {', '.join(measures)}"
        raise AttributeError(f"this evaluation has no {name!r}{hint}")

    def __getitem__(self, name: str) -> float:
        """Return a measure, the loss, or an output of the net by its name."""
        known = {"loss": self.loss, **self.outputs, **self.measures}
        if name not in known:
            raise SpecError(f"no measure {name!r}{did_you_mean(name, known)}")
        found: float = known[name]
        return found

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.measures]

    @property
    def chosen(self) -> dict[str, float]:
        """The measures that are shown."""
        names = self.shown or [*self.measures]
        return {name: self.measures[name] for name in names if name in self.measures}

    def worst(self, count: int = 10) -> list[tuple[int, float]]:
        """Return the items with the largest losses: (number, loss), the largest first.

        Raises `SpecError` for a loss whose value for one item is not known here.
        """
        if self.item_losses is None:
            raise SpecError("the losses of single items are not known for this net")
        order = np.argsort(-self.item_losses, kind="stable")[: max(0, count)]
        return [(int(place), float(self.item_losses[place])) for place in order]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists, strings and numbers."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "net": self.net,
            "items": self.items,
            "loss": self.loss,
            **self.chosen,
            "outputs": {name: _listed(held) for name, held in self.outputs.items()},
        }
        if self.per_class is not None:
            found[f"per_{self.per_class.kind}"] = self.per_class.as_dict()
        if self.confusion is not None:
            found["confusion"] = self.confusion.array.tolist()
        return found

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def text(self) -> str:
        """Return the measures with the tables of classes."""
        parts = ["\n".join(self._lines())]
        if self.per_class is not None and len(self.per_class):
            parts.append(self.per_class.text(MAX_ROWS))
        if self.confusion is not None:
            parts.append(self.confusion.text())
        return "\n\n".join(parts)

    __str__ = text

    def _repr_html_(self) -> str:
        first, *rest = self._lines()
        parts = [line(first), *(line(each) for each in rest)]
        if self.per_class is not None and len(self.per_class) > 1:
            shown = self.per_class.table()
            few = len(self.per_class) <= MAX_ROWS
            title = f"each {self.per_class.kind}"
            parts.append(closed(title, shown, is_open=few))
        if self.confusion is not None:
            parts.append(closed("confusion", self.confusion.table(), is_open=True))
        return output(*parts)

    def _lines(self) -> list[str]:
        what = _KINDS.get(self.kind, self.kind)
        whose = f" of {self.net!r}" if self.net else ""
        loss = [] if self.loss is None else [("loss", self.loss)]
        first = [*loss, *self.chosen.items()]
        lines = [f"{what}{whose}, {self.items:,} items: {_pairs(first)}"]
        least = self._least()
        if least:
            lines.append(f"least F1: {least}")
        others = {
            name: held
            for name, held in self.outputs.items()
            if np.ndim(held) == 0 and name not in self.measures and held != self.loss
        }
        if others:
            lines.append(f"outputs of the net: {_pairs(list(others.items()))}")
        return lines

    def _least(self) -> str:
        each = self.per_class
        if each is None or "f1" not in each.columns or len(each) <= LEAST_SHOWN:
            return ""
        occur = each.columns["items"] > 0
        order = [
            place
            for place in np.argsort(each.columns["f1"], kind="stable")
            if occur[place]
        ]
        return ", ".join(
            f"{each.names[place]!r} {_cell(each.columns['f1'][place])}"
            for place in order[:LEAST_SHOWN]
        )


_KINDS = {
    "classes": "classification",
    "segmentation": "segmentation",
    "tags": "tags",
    "values": "regression",
    "other": "evaluation",
}


def _pairs(pairs: Sequence[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in pairs) or "no measures"


def _cell(value: Any) -> str:
    if isinstance(value, np.integer | int):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 or value == 0 else f"{value:.4g}"


def _plain(value: Any) -> float:
    return int(value) if isinstance(value, np.integer) else float(value)


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
