"""The files that a `Solver` reads and writes: weights and snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.errors import FileError, SpecError
from netspec.schema import SolverParameter
from netspec.schema.kept import known_fields
from runtime.distributed import Communicator
from runtime.distributed.communicator import doing
from runtime.execution.arguments import path_of, refuse_copy
from runtime.execution.net import Net
from runtime.execution.weights import (
    CopyReport,
    Names,
    copy_files,
    copy_into,
    warn_of_rest,
)
from runtime.interrupts import whole
from runtime.training.divergence import warn
from runtime.training.new_end import has_new_end
from runtime.training.passes import UNKNOWN
from runtime.training.ranks.first_rank import by_first_rank, warn_of_lone_ranks
from runtime.training.ranks.running_statistics import RunningStatistics
from runtime.training.snapshot import restore_snapshot, write_snapshot
from runtime.training.snapshot_files import (
    Snapshot,
    SnapshotWarning,
    last,
    snapshot_paths,
)
from runtime.training.telling import Callbacks
from runtime.update_rules import Update

if TYPE_CHECKING:
    from runtime.training.ranks.replicas import Replicas

_FIELDS = frozenset(known_fields(SolverParameter.DESCRIPTOR))
_OWN = frozenset(("net",))


class SolverFiles(Callbacks):
    """How a `Solver` reads weights, writes snapshots and goes on from them."""

    net: Net
    test_nets: list[Net]
    last_snapshot: Snapshot | None
    communicator: Communicator | None
    copied: tuple[CopyReport, ...]
    _cut: bool
    _unsaved: bool
    _replicas: Replicas | None = None
    statistics: RunningStatistics

    def __setattr__(self, name: str, value: Any) -> None:
        # `solver.base_lr = 0.1` would be an attribute that nothing reads.
        if name in _FIELDS and name not in _OWN and not hasattr(type(self), name):
            also = " or solver.lr" if name == "base_lr" else ""
            raise SpecError(
                f"solver: {name} is a field; set solver.param.{name}{also}, which "
                f"holds from the next iteration on"
            )
        if name == "iter":
            raise SpecError(
                "solver: iter counts the iterations that are done; restore goes on "
                "from a snapshot of another"
            )
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise refuse_copy(
            "Solver",
            "solver.snapshot writes a run, and runtime.Solver(solver.param, ...) with "
            "restore makes another that goes on from it",
        )

    @property
    def update(self) -> Update:
        """The update rule, with its running values."""
        return self._rule.update

    def _note_files(self) -> None:
        """Note that files were read: ranks compare what they hold once more."""
        if self._replicas is not None:
            self._replicas.met = False

    def copy_from(self, path: str | Path, names: Names | None = None) -> CopyReport:
        """Copy parameters of a file into net and test nets, as `Net.copy_from` does.

        Returns what was copied into the net. Warns of a file that gives nothing, and of
        layers that it leaves as they are, unless they are a new end of the net, to be
        trained, in the place of another one in the file.
        """
        self._note_files()
        report = copy_into([self.net, *self.test_nets], path, names)
        if not has_new_end(self.net, [report]):
            warn_of_rest([path], [report])
        return report

    def copy_all(
        self, paths: Sequence[str | Path], names: Names | None = None
    ) -> tuple[CopyReport, ...]:
        """Copy parameters of several files, and warn once of what none of them gives.

        names: as of `copy_from`; a mapping may have layers of any of the files. The
        reports are `copied` from then on.
        """
        self._note_files()
        self.copied = tuple(copy_files([self.net, *self.test_nets], paths, names))
        if not has_new_end(self.net, self.copied):
            warn_of_rest(paths, self.copied, keyword="rename")
        return self.copied

    def snapshot(self) -> Snapshot:
        """Write a snapshot and return the names of its files.

        Of several ranks all call it; rank 0 writes, and all raise what goes wrong.

        Raises `FileError`.
        """
        written = self._write_snapshot()
        self.callbacks.tell("on_snapshot", written)
        return written

    def _write_snapshot(self) -> Snapshot:
        with doing(self.communicator, f"a snapshot at iteration {self._iteration}"):
            return self._snapshot()

    def _snapshot(self) -> Snapshot:
        param = self.param
        self.statistics.average()
        hdf5 = param.snapshot_format == SolverParameter.HDF5
        states = self._states()
        warn_of_lone_ranks(self.communicator)
        by_first_rank(
            self.communicator,
            lambda: write_snapshot(
                self.net,
                self.update,
                param.snapshot_prefix,
                iteration=self._iteration,
                progress=self._rule.progress,
                states=states,
                hdf5=hdf5,
            ),
        )
        written = snapshot_paths(param.snapshot_prefix, self._iteration, hdf5=hdf5)
        self.last_snapshot = written
        self._records.snapshots.append(written)
        self._snapshot_wanted = self._unsaved = False
        return written

    def _snapshot_on_the_way(self) -> None:
        """Write a snapshot; if that fails training is worth more than to end there."""
        self._snapshot_wanted = False
        try:
            written = self._write_snapshot()
        except FileError as error:
            warn(
                f"{error}; training goes on, and the next one is tried again; "
                f"{last(self.last_snapshot)}",
                SnapshotWarning,
            )
            self._unsaved = True
            return
        self.callbacks.tell("on_snapshot", written)

    @whole
    def restore(self, path: str | Path) -> None:
        """Continue from the state file of a snapshot, written here or by Caffe.

        What `history` has of later iterations is dropped, as they are done again.

        Raises `FileError` for a file that is missing, broken or none, and for a model
        that is not the one of this state, `SpecError` for another net or solver.
        """
        path = path_of(path, "restore: path")
        self._note_files()
        saved = restore_snapshot(self.net, self.update, path)
        self._iteration = saved.iteration
        self._rule.progress = saved.progress
        self._restore_states(saved.states)
        self.last_snapshot = Snapshot(
            saved.iteration, Path(saved.learned_net), Path(path)
        )
        self._records.drop(saved.iteration)
        self.net.clock.value = UNKNOWN
        self._tested, self._cut = -1, False

    def _snapshot_is_new(self) -> bool:
        last = self.last_snapshot
        return last is not None and last.iteration == self._iteration
