"""`BestCheckpoint`: the best weights as a file."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from netspec.errors import FileError, SpecError
from netspec.files import is_file
from runtime.callbacks.watching import Watching
from runtime.distributed.communicator import is_first
from runtime.training.divergence import warn
from runtime.training.ranks.first_rank import by_first_rank
from runtime.training.snapshot_files import SnapshotWarning

FIELDS = ("iteration", "epoch", "value")


class BestCheckpoint(Watching):
    """Writes the weights whenever a number is better than ever before.

        BestCheckpoint("best.caffemodel", "val_accuracy")
        BestCheckpoint("best_{iteration}_{value:.3f}.caffemodel.h5")

    path: the file; its suffix says the format, as of `Net.save`. It may have the fields
        `{iteration}`, `{epoch}` and `{value}`; then the last one that this wrote is
        removed once a better one is there, unless `keep_all`.
    restore: whether the net gets the best weights at the end of the training, when it
        is stopped or reaches `max_iter`. `restore_best` does it at any time.
    monitor, mode, min_delta: see `Watching`.

    The file appears whole or not at all. Training goes on where it cannot be written,
    with a `SnapshotWarning`. Of several ranks the first writes. path_of_best: the last
    file, or None.

    State: the best value and the name of its file, so that a resumed run leaves it
    until there is a better one. A run that is not resumed begins anew.

    Raises `SpecError` for fields that there are not, and `FileError` when training
    begins for a folder in which no file can be written.
    """

    def __init__(
        self,
        path: str | Path,
        monitor: str = "val_loss",
        mode: str = "auto",
        min_delta: float = 0.0,
        restore: bool = False,
        keep_all: bool = False,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.path = Path(path)
        self.name = f"{type(self).__name__}({monitor}, {self.path.name})"
        self.restore, self.keep_all = restore, keep_all
        self.path_of_best: Path | None = None
        self._ends = False
        self._formatted(0.5, 1, 1)  # its mistakes, before the training

    def on_train_begin(self, solver: Any) -> None:
        """Make the folder, and see that a file can be written."""
        super().on_train_begin(solver)
        self._ends = solver.iter < solver.param.max_iter
        by_first_rank(solver.communicator, self._check)

    def _check(self) -> None:
        probe = self.path.parent / f".{self.path.name}.writable"
        if self.path.is_dir():
            raise FileError(
                f"{self.path}: is a folder; give BestCheckpoint the name of a file, "
                f"such as {self.path / 'best.caffemodel'}"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise FileError(
                f"{self.path}: cannot be written: {reason}; choose another path for "
                f"BestCheckpoint"
            ) from error

    def looked(self, value: float, iteration: int, better: bool) -> None:
        """Write the weights, if they are the best."""
        if not better:
            return
        solver = self._solver
        epoch = iteration // solver.epoch_size if solver.epoch_size else 0
        path, last = self._formatted(value, iteration, epoch), self.path_of_best
        ranks = solver.communicator
        try:
            by_first_rank(ranks, lambda: solver.net.save(path))
        except FileError as error:
            warn(f"{error}; training goes on without these weights", SnapshotWarning)
            return
        self.path_of_best = path
        own = is_first(ranks) and not self.keep_all
        if own and last is not None and last != path:
            last.unlink(missing_ok=True)

    def on_train_end(self, solver: Any) -> None:
        """Read the best weights, if that is wanted and the training is over."""
        super().on_train_end(solver)
        over = self._ends and solver.iter >= solver.param.max_iter
        if self.restore and self.path_of_best and (over or solver.stopping):
            self.restore_best(solver)

    def restore_best(self, solver: Any) -> None:
        """Give the nets of a solver the best weights.

        Raises `SpecError` where none were written, `FileError` where they are gone.
        """
        if self.path_of_best is None:
            raise SpecError(
                f"BestCheckpoint has written nothing yet: {self.monitor} was not "
                f"looked at, or was never a number"
            )
        if not is_file(self.path_of_best):
            raise FileError(f"{self.path_of_best}: the best weights are gone")
        solver.copy_from(self.path_of_best)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        path = self.path_of_best
        return {**super().state_dict(), "path": None if path is None else str(path)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        path = state["path"]
        self.path_of_best = None if path is None else Path(path)

    def _formatted(self, value: float, iteration: int, epoch: int) -> Path:
        text = str(self.path)
        try:
            for _, field, _, _ in string.Formatter().parse(text):
                if field is not None and field not in FIELDS:
                    raise KeyError(field)
            return Path(text.format(value=value, iteration=iteration, epoch=epoch))
        except (KeyError, IndexError, ValueError) as error:
            raise SpecError(
                f"path {text!r} of BestCheckpoint cannot be filled in: {error}; its "
                f"fields are {', '.join(f'{{{name}}}' for name in FIELDS)}"
            ) from None
