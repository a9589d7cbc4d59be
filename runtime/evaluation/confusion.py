"""Which class was taken for which, as an array, text and a table of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.columns import aligned
from runtime.html import Markup, escaped, output
from runtime.training.tables import pandas

MAX_TEXT, MAX_HTML = 20, 60  # classes that are shown as a table
COLOUR = "70, 130, 220"  # of cells, with more or less transparency


@dataclass(frozen=True, repr=False, eq=False)
class Confusion:
    """How many of each class (rows) were taken for which class (columns).

    array: (C, C), int64. names: of the classes. `np.asarray` of it is the array.
    """

    array: np.ndarray
    names: tuple[str, ...]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype, copy=copy is not False)

    def __getitem__(self, place: Any) -> Any:
        """Return parts of the array: `confusion[3, 5]` 3s were taken for 5s."""
        return self.array[place]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    def most(self, count: int = 10) -> list[tuple[str, str, int]]:
        """Return the commonest mistakes: class, what it was taken for, how often."""
        wrong = self.array.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[: max(0, count)]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.names[row], self.names[column], int(wrong[row, column]))
            for row, column in zip(rows, columns, strict=True)
            if wrong[row, column]
        ]

    def to_pandas(self) -> Any:
        """Return a DataFrame; raises `MachineError` where pandas is missing."""
        names = list(self.names)
        library = pandas("Confusion.to_pandas", "array")
        frame = library.DataFrame(self.array, index=names, columns=names)
        return frame.rename_axis(index="label", columns="predicted")

    def plot(self) -> Any:
        """Return a `matplotlib.figure.Figure`: the more of a row, the darker a place.

        Raises `MachineError` without matplotlib.
        """
        from runtime.training.plots import new_figure

        classes = len(self.names)
        side = min(12.0, 2.5 + 0.35 * classes)
        figure = new_figure((side, side), "Confusion.plot")
        axes = figure.subplots()
        totals = np.maximum(self.array.sum(axis=1, keepdims=True), 1)
        axes.imshow(self.array / totals, cmap="Blues", vmin=0, vmax=1)
        axes.set_xlabel("predicted")
        axes.set_ylabel("label")
        if classes <= MAX_HTML:
            axes.set_xticks(range(classes), self.names, rotation=90)
            axes.set_yticks(range(classes), self.names)
        if classes <= MAX_TEXT:
            for (row, column), count in np.ndenumerate(self.array):
                colour = "white" if count > totals[row, 0] / 2 else "black"
                said = f"{count}" if count else ""
                axes.text(column, row, said, ha="center", va="center", color=colour)
        return figure

    def text(self) -> str:
        """Return a table; of many classes, the commonest mistakes."""
        if len(self.names) > MAX_TEXT:
            lines = [f"{row} taken for {column}: {n}" for row, column, n in self.most()]
            return "\n".join([f"{len(self.names)} classes, most confused:", *lines])
        cells = [["label \\ predicted", *self.names]]
        for name, row in zip(self.names, self.array, strict=True):
            cells.append([name, *(f"{n}" if n else "." for n in row)])
        return "\n".join(aligned(cells))

    __str__ = text

    def __repr__(self) -> str:
        return f"<Confusion of {len(self.names)} classes, {int(self.array.sum()):,}>"

    def _repr_html_(self) -> str:
        return output(self.table())

    def table(self) -> Markup:
        """Return the table in HTML: the more of a row, the stronger a cell."""
        if len(self.names) > MAX_HTML:
            return Markup(f"<pre>{escaped(self.text())}</pre>")
        head = "".join(map(_head, self.names))
        rows = [f"<tr><th>label \\ predicted</th>{head}</tr>"]
        for place, (name, row) in enumerate(zip(self.names, self.array, strict=True)):
            total = max(1, int(row.sum()))
            cells = "".join(
                _cell(int(n), n / total, name, other, own=place == column)
                for column, (n, other) in enumerate(zip(row, self.names, strict=True))
            )
            rows.append(f"<tr><th>{escaped(name)}</th>{cells}</tr>")
        return Markup(f"<table>{''.join(rows)}</table>")


def _head(name: str) -> str:
    return (
        f'<th class="number" style="padding: 0.1em 0.5em;" title="{escaped(name)}">'
        f"{escaped(name[:12])}</th>"
    )


def _cell(count: int, share: float, label: str, predicted: str, *, own: bool) -> str:
    mark = f" background: rgba({COLOUR}, {0.1 + 0.6 * share:.2f});" if count else ""
    line = " outline: 1px solid rgba(128, 128, 128, 0.6);" if own else ""
    title = f"{label} taken for {predicted}: {count} ({share:.1%})"
    return (
        f'<td class="number" style="padding: 0.1em 0.5em;{mark}{line}" '
        f'title="{escaped(title)}">{count if count else ""}</td>'
    )


def class_names(count: int, given: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes; their numbers where none are given."""
    return tuple(given) if given else tuple(map(str, range(count)))
