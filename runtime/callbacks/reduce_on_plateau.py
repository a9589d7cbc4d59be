"""`ReduceOnPlateau`: a lower learning rate where training gets no better."""

from __future__ import annotations

from typing import Any

from netspec.errors import SpecError
from runtime.callbacks.watching import Watching, number


class ReduceOnPlateau(Watching):
    """Multiplies the learning rate once a number got no better `patience` times.

        lr <- max(factor lr, min_lr)

    factor: above 0 and below 1. patience: how many tests (of `loss`: epochs) in a row
        may be no better. cooldown: how many of them do not count after that. min_lr:
        the rate stays there.
    monitor, mode, min_delta: see `Watching`.

    The solver's `lr_policy` goes on from the new rate, as after `solver.lr = ...`.
    reductions: (iteration, rate before, rate after) of each.

    State: the values, the counts and the reductions; the rate is kept by the solver.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 3,
        cooldown: int = 0,
        min_lr: float = 0.0,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.factor = number("factor", factor, at_least=0.0)
        if not 0 < self.factor < 1:
            raise SpecError(f"factor must be above 0 and below 1, got {factor!r}")
        self.patience = number("patience", patience, at_least=0, whole=True)
        self.cooldown = number("cooldown", cooldown, at_least=0, whole=True)
        self.min_lr = number("min_lr", min_lr, at_least=0.0)
        self.wait = self.cooling = 0
        self.reductions: list[tuple[int, float, float]] = []

    def looked(self, value: float, iteration: int, better: bool) -> None:
        """Count, and lower the rate."""
        if self.cooling:
            self.cooling -= 1
            self.wait = 0
        if better:
            self.wait = 0
        elif not self.cooling:
            self.wait += 1
        if not self.wait or self.wait < self.patience:
            return
        self.wait = 0
        before = self._solver.lr
        after = max(before * self.factor, self.min_lr)
        if after < before:
            self._solver.lr = after
            self.cooling = self.cooldown
            self.reductions.append((iteration, before, after))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        own = {"wait": self.wait, "cooling": self.cooling}
        return {**super().state_dict(), **own, "reductions": self.reductions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self.wait, self.cooling = state["wait"], state["cooling"]
        self.reductions = [(at, old, new) for at, old, new in state["reductions"]]
