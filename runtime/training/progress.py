"""What a learning rate remembers from iteration to iteration; snapshots save it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

NO_LOSS = float(np.float32(1e38))  # the lowest loss of a run that has none yet


@dataclass(frozen=True)
class Progress:
    """What multistep, plateau and stepearly remember.

    steps: how often the rate was multiplied by gamma.
    minimum_loss, last_event: of plateau, the lowest smoothed loss and the iteration in
        which it was found or the rate dropped.
    recent: of plateau, the last `average_loss` losses.
    best, without_gain, last_test: of stepearly, the highest accuracy, how many tests in
        a row did not raise it, and the iteration of the last test.
    """

    steps: int = 0
    minimum_loss: float = NO_LOSS
    last_event: int = 0
    recent: tuple[float, ...] = ()
    best: float | None = None
    without_gain: int = 0
    last_test: int = -1

    def with_steps(self, steps: int) -> Progress:
        """Return this with another number of steps."""
        return self if steps == self.steps else replace(self, steps=steps)

    def with_loss(self, loss: float, average_loss: int) -> Progress:
        """Return this with one more loss; the last `average_loss` of them count."""
        return replace(self, recent=(*self.recent, loss)[-average_loss:])

    @property
    def smoothed_loss(self) -> float:
        """The mean of the last losses, a float32 as in snapshots."""
        return float(np.float32(sum(self.recent) / len(self.recent)))

    def on_plateau(self, iteration: int, sizes: tuple[int, ...]) -> Progress:
        """Return this after the rule of plateau at `iteration`.

            lower loss                            -> event
            sizes[steps] iterations without event -> one step more, and event

        sizes: `plateau_winsize`. After the last of them the rate stays.
        """
        new, smoothed = self, self.smoothed_loss
        if smoothed < new.minimum_loss:
            new = replace(new, minimum_loss=smoothed, last_event=iteration)
        if new.steps < len(sizes) and iteration >= new.last_event + sizes[new.steps]:
            new = replace(new, steps=new.steps + 1, last_event=iteration)
        return new

    def with_test(self, iteration: int, accuracy: float, patience: int) -> Progress:
        """Return this after the rule of stepearly, for a test ahead of `iteration`.

            higher accuracy                -> the count of tests begins anew
            `patience` tests without that  -> one step more, and the same

        A test that was counted, and is repeated after a snapshot, counts once.
        """
        if iteration == self.last_test:
            return self
        new = replace(self, last_test=iteration)
        if self.best is None or accuracy > self.best:
            return replace(new, best=accuracy, without_gain=0)
        if self.without_gain + 1 < patience:
            return replace(new, without_gain=self.without_gain + 1)
        return replace(new, steps=self.steps + 1, without_gain=0)
