"""What a check of gradients found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.columns import aligned
from netspec.ops.base import Shape
from runtime.html import line, output, table


@dataclass(frozen=True)
class Element:
    """One element of a gradient.

    index: its place in the array. analytic: what the net computes. numerical: the
    central difference. error: their relative difference. kink: whether the objective
    has different slopes on its two sides, so that there is nothing to compare with.
    """

    index: tuple[int, ...]
    analytic: float
    numerical: float
    error: float
    kink: bool = False


@dataclass(frozen=True)
class Row:
    """The gradient of one array.

    name: of the blob, or `layer[slot]` for a parameter; kind says which. count: its
    elements, of which `checked` were looked at: `kinks` lie at a kink, `wrong` are
    wrong. worst: the one with the largest error, None if all are at kinks. zero:
    whether all was 0, analytic and numerical. users: the layers that share a parameter.
    """

    name: str
    kind: str
    shape: Shape
    count: int
    checked: int
    kinks: int
    wrong: int
    worst: Element | None
    zero: bool
    users: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no element is wrong."""
        return self.wrong == 0

    @property
    def error(self) -> float:
        """The largest relative error."""
        return self.worst.error if self.worst else 0.0

    @property
    def notes(self) -> str:
        """What a reader must know of the row."""
        found = []
        if self.wrong:
            found.append(f"WRONG: {self.wrong} of {self.checked}")
        if self.checked == self.kinks:
            why = "only kinks" if self.kinks else "no values"
            found.append(f"nothing compared: {why}")
        elif self.zero:
            found.append("zero everywhere")
        if len(self.users) > 1:
            found.append(f"shared by {', '.join(self.users)}")
        return "; ".join(found)


HEADS = (
    "gradient of",
    "shape",
    "checked",
    "kinks",
    "error",
    "worst at",
    "analytic",
    "numerical",
    "",
)
TEXTS = (0, 1, 5, 8)  # columns of text; the others are numbers


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """The gradients of a net, compared with central differences.

    rows: an array each. notes: what has no gradient. objective: the blobs whose sum,
    weighted, was the objective. `str()` is a table, which a notebook shows, and
    `repr()` a line.
    """

    name: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    objective: tuple[str, ...]
    eps: float
    rtol: float

    @property
    def ok(self) -> bool:
        """Whether something was compared, and nothing is wrong."""
        return self.worst is not None and all(row.ok for row in self.rows)

    @property
    def worst(self) -> Row | None:
        """The row with the largest error; None where nothing was compared."""
        compared = [row for row in self.rows if row.worst is not None]
        return max(compared, key=lambda row: row.error, default=None)

    @property
    def kinks(self) -> int:
        """How many elements are at a kink."""
        return sum(row.kinks for row in self.rows)

    def __str__(self) -> str:
        return "\n".join([self._verdict(), *self._table(), *self._remarks()])

    def __repr__(self) -> str:
        return f"<GradientCheck: {self._verdict()}>"

    def _repr_html_(self) -> str:
        numbers = set(range(len(HEADS))) - set(TEXTS)
        rows = [_cells(row) for row in self.rows]
        shown = table(HEADS, rows, numbers) if rows else ""
        remarks = [line(remark, "faint") for remark in self._remarks()]
        return output(line(self._verdict()), shown, *remarks)

    def _verdict(self) -> str:
        wrong = [row.name for row in self.rows if not row.ok]
        if not self.rows:
            return f"{self.name}: no gradient to check"
        said = "all gradients are right" if self.ok else "nothing was compared"
        said = f"WRONG: {', '.join(wrong)}" if wrong else said
        return f"{self.name}: {said} (eps {self.eps:g}, rtol {self.rtol:g})"

    def _table(self) -> list[str]:
        if not self.rows:
            return []
        return aligned([HEADS, *(_cells(row) for row in self.rows)], TEXTS)

    def _remarks(self) -> list[str]:
        remarks = [f"note: {note}" for note in self.notes]
        if self.kinks:
            remarks.append(
                f"note: {self.kinks} elements lie at a kink, where the slopes of both "
                f"sides differ; they were not compared"
            )
        return remarks


def _cells(row: Row) -> Sequence[str]:
    checked = f"{row.checked}"
    if row.checked < row.count:
        checked += f" of {row.count:,}"
    worst = row.worst
    numbers = ("", "", "", "")
    if worst is not None:
        place = "[" + ", ".join(map(str, worst.index)) + "]"
        numbers = (
            f"{worst.error:.1e}",
            place,
            f"{worst.analytic:.6g}",
            f"{worst.numerical:.6g}",
        )
    shape = "x".join(map(str, row.shape)) or "scalar"
    return (row.name, shape, checked, str(row.kinks), *numbers, row.notes)
