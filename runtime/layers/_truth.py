"""True boxes, as AnnotatedData gives them to SSD's layers."""

from __future__ import annotations

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import bottom_name, label
from netspec.schema import LayerParameter

BOX = 8  # columns: item, class, instance, xmin, ymin, xmax, ymax, difficult
NO_BOX = -1  # the item of a row that only fills the blob


class Truth:
    """The true boxes of a batch: rows of 8 values, on the host.

    items, labels: int64 (G,). boxes: (G, 4). difficult: bool (G,). Rows of item -1 are
    left out.
    """

    def __init__(
        self, rows: np.ndarray, layer: LayerParameter, bottom: int, background: int
    ) -> None:
        self._layer, self._bottom = layer, bottom
        bad = np.argwhere(~np.isfinite(rows[:, [0, 1, 3, 4, 5, 6]]))
        if len(bad):
            self._refuse(int(bad[0, 0]), "has a value that is not finite")
        self._places = np.flatnonzero(rows[:, 0] != NO_BOX)
        rows = rows[self._places]
        self.items = rows[:, 0].astype(np.int64)
        self.labels = rows[:, 1].astype(np.int64)
        self.boxes = np.ascontiguousarray(rows[:, 3:7])
        self.difficult = rows[:, 7] != 0
        wrong = np.flatnonzero(self.labels == background)
        if len(wrong):
            self._refuse(
                int(self._places[wrong[0]]),
                f"has class {background}, the background; classes of objects are the "
                f"others",
            )
        wrong = np.flatnonzero(self.items < 0)
        if len(wrong):
            self._refuse(
                int(self._places[wrong[0]]),
                f"belongs to item {self.items[wrong[0]]}; expected an item of the "
                f"batch, from 0, or {NO_BOX} for no box",
            )

    def check_labels(self, classes: int) -> None:
        """Refuse a class that the layer does not have."""
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= classes))
        if len(wrong):
            self._refuse(
                int(self._places[wrong[0]]),
                f"has class {self.labels[wrong[0]]}; expected 0 to {classes - 1}, as "
                f"num_classes is {classes}, the background included",
            )

    def check_items(self, items: int) -> None:
        """Refuse an item that the batch does not have."""
        wrong = np.flatnonzero(self.items >= items)
        if len(wrong):
            self._refuse(
                int(self._places[wrong[0]]),
                f"belongs to item {self.items[wrong[0]]}; the batch has the items 0 to "
                f"{items - 1}",
            )

    def easy(self) -> None:
        """Leave difficult boxes out."""
        keep = ~self.difficult
        self.items, self.labels = self.items[keep], self.labels[keep]
        self.boxes, self.difficult = self.boxes[keep], self.difficult[keep]
        self._places = self._places[keep]

    def _refuse(self, row: int, what: str) -> None:
        raise SpecError(
            f"row {row} of {bottom_name(self._layer, self._bottom)}, the true boxes, "
            f"{what}",
            layer=label(self._layer),
        )
