"""`EarlyStopping`: end a training that gets no better."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.errors import SpecError
from runtime.callbacks.parameters import copied, put_back
from runtime.callbacks.watching import Watching, number


class EarlyStopping(Watching):
    """Ends training once a number got no better `patience` times in a row.

        better:  value < best - min_delta   (mode "max": value > best + min_delta)

    patience: how many tests (of `loss`: epochs) in a row may be no better. 0 and 1 end
        at the first of them.
    restore_best: whether the net gets the parameters back that it had at the best
        value, at the end of the training: when this stopped it, or it reached
        `max_iter`. A snapshot that `solve` writes there has those of the last
        iteration, so that a run can go on from it; `BestCheckpoint` writes the best.
    monitor, mode, min_delta: see `Watching`.

    best, best_iteration: the best value, and after how many iterations it was found.
    stopped_at: after how many iterations this ended the training, or None. A training
        that goes on then has the whole patience again.

    State: the values, the count, and with `restore_best` a copy of all parameters,
    which makes snapshots larger by as much.

    Source: Prechelt, Early stopping - but when?, 1998.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.patience = number("patience", patience, at_least=0, whole=True)
        self.restore_best = restore_best
        self.wait = 0
        self.stopped_at: int | None = None
        self._kept: list[np.ndarray] | None = None
        self._ends = False  # whether this run can come to the end of the training

    def on_train_begin(self, solver: Any) -> None:
        """Begin to count anew, if this had stopped the training."""
        super().on_train_begin(solver)
        if self.stopped_at is not None:
            self.wait, self.stopped_at = 0, None
        self._ends = solver.iter < solver.param.max_iter

    def looked(self, value: float, iteration: int, better: bool) -> None:
        """Count, and stop."""
        if better:
            self.wait = 0
            if self.restore_best:
                self._kept = copied(self._solver.net)
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_at = iteration
            self._solver.stop()

    def on_train_end(self, solver: Any) -> None:
        """Put the best parameters back, if the training is over."""
        super().on_train_end(solver)
        over = self._ends and solver.iter >= solver.param.max_iter
        over = over or self.stopped_at is not None
        if over and self.restore_best and self._kept is not None:
            put_back(solver.net, self._kept)

    def restore(self, solver: Any) -> None:
        """Give the net of a solver the parameters that it had at the best value.

        Raises `SpecError` where none are kept.
        """
        if self._kept is None:
            raise SpecError(
                "EarlyStopping has kept no parameters: nothing was looked at yet, or "
                "restore_best is False"
            )
        put_back(solver.net, self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        own = {"wait": self.wait, "stopped_at": self.stopped_at, "kept": self._kept}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self.wait, self.stopped_at = state["wait"], state["stopped_at"]
        self._kept = state["kept"]
