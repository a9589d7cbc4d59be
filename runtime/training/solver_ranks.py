"""What the ranks of a `Solver` agree on: when to stop, to write, and to go on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from runtime.distributed import Communicator
from runtime.interrupts import Held
from runtime.training.divergence import NonFiniteLossError, Watch
from runtime.training.not_finite import Began, began, began_in
from runtime.training.passes import mean_gradients
from runtime.training.ranks.agreeing import (
    INTERRUPT,
    LISTENS,
    MEET,
    SNAPSHOT,
    STOP,
    UNSAVED,
    Agreed,
    Told,
)
from runtime.training.snapshot_files import Snapshot
from runtime.training.solver_tests import SolverTests

if TYPE_CHECKING:
    from runtime.training.ranks.data_parallel import DataParallel
    from runtime.training.ranks.shared_data import SharedData


class SolverRanks(SolverTests):
    """How a `Solver` goes along with those of other ranks.

    Each rank has wishes: somebody called `stop` there, or a signal came. They become
    what all do in sums over the ranks, at the same place of the same iteration. Alone,
    a wish is a deed.
    """

    counts_forward: ClassVar[bool]
    options: dict[str, Any]
    seed: int
    last_snapshot: Snapshot | None
    _watch: Watch
    micro_batch: int
    _together: DataParallel | None = None
    _shared: SharedData | None = None
    _end: int
    _bad_rank: int | None = None  # whose loss is not finite
    _passes = 0  # of the net, ahead of the iteration
    _spoiling_rank: int | None = None  # whose own gradient is not
    _listens = False  # whether on any rank somebody is told of iterations

    def _join(self, communicator: Communicator, check_replicas: int) -> None:
        """Train with other ranks from now on. One process alone loads nothing of it."""
        from runtime.training.ranks.data_parallel import DataParallel
        from runtime.training.ranks.replicas import Replicas
        from runtime.training.ranks.shared_data import SharedData

        given = (self.net, communicator)
        self._together = DataParallel(*given)
        self._replicas = Replicas(*given, check_replicas, self._rule)
        self._shared = SharedData(*given)

    def _meet(self, signals: Held) -> None:
        """Refuse ranks that differ, ahead of the first iteration."""
        if self._together is None or self._replicas is None:
            return
        self._interrupted = False
        agreed = self._agree(signals)
        if agreed.wishes & MEET:
            self._replicas.meet(self)
        agreed.check(self._iteration)

    def _gradients(self, iteration: int, lr: float, signals: Held) -> float:
        """Sum up the gradients of an iteration, of all ranks; return the mean loss."""
        size, net = self.param.iter_size, self.net
        together = self._together
        if together is None:
            first = iteration * size
        else:
            if self.communicator is not None:
                self.communicator.doing = f"training, iteration {iteration}"
            first = together.first_pass(iteration, size)
        if self.counts_forward:
            first = max(first, net.clock.value)
        self._passes = first
        if together is None:
            return mean_gradients(net, first, size)
        loss = together.gradients(first, size)
        agreed = self._agree(signals, loss, lr)
        agreed.check(iteration)
        self._bad_rank = agreed.bad_rank
        self._spoiling_rank = agreed.spoiling_rank
        self._listens = bool(agreed.wishes & LISTENS)
        return agreed.loss / together.passes(size)

    def _first_bad(self, loss: float) -> Began | None:
        """Return the first blob of the iteration that is not finite, if it can be told.

        Of several ranks none runs alone again, as its layers may wait for the others';
        all get what the first with a bad loss sees.
        """
        if self._together is not None:
            first = began(self.net, loss)
            message = None if first is None else asdict(first)
            told = self._together.communicator.gather(message)[self._bad_rank or 0]
            return None if told is None else Began(**told)
        return began_in(self.net, loss, self._passes, self.param.iter_size)

    def _tell_loss(self, loss: float, lr: float, *, careful: bool) -> None:
        """Refuse a loss that is not finite; or, if not `careful`, warn of it once."""
        where = self._bad_rank
        if careful:
            first = self._first_bad(loss)
            given = (self._iteration, loss, lr, self.last_snapshot, where, first)
            raise NonFiniteLossError(*given)
        if not self._watch.warned:
            on = "" if where is None else f" on rank {where}"
            said = f"the loss of iteration {self._iteration}{on} is {loss:g}"
            first = began(self.net, loss)
            self._watch.warn(said if first is None else f"{said}; {first}")

    def _heed(self, signals: Held) -> None:
        """Agree on what anybody wishes, where callbacks of one rank may have asked."""
        if self._together is not None:
            self._agree(signals).check(self._iteration)

    def _heed_listeners(self, signals: Held) -> None:
        """Agree behind `on_step`, if on any rank somebody listens."""
        if self._listens:
            self._heed(signals)

    def _agree(self, signals: Held, loss: float = 0.0, lr: float = 0.0) -> Agreed:
        together = self._together
        if together is None:
            raise RuntimeError("one rank alone has nobody to agree with")
        agreed = together.exchange(Told(loss, self._wishes(signals), lr, self._end))
        wishes = agreed.wishes
        self._stopping |= bool(wishes & STOP)
        self._interrupted |= bool(wishes & INTERRUPT)
        self._unsaved |= bool(wishes & UNSAVED)
        if wishes & SNAPSHOT:
            self._snapshot_wanted, self._snapshot_asked = True, False
        return agreed

    def _wishes(self, signals: Held) -> int:
        """Return what this rank wishes, as bits."""
        listens = self.callbacks.has("on_step") or self.callbacks.has("after")
        asked = {
            STOP: self._stop_asked,
            INTERRUPT: signals.stops(),
            SNAPSHOT: self._snapshot_asked,
            UNSAVED: self._unsaved,
            LISTENS: listens,
            MEET: self._replicas is not None and not self._replicas.met,
        }
        return sum(bit for bit, wish in asked.items() if wish)

    def _leaves(self, signals: Held) -> bool:
        """Say whether a signal ends the run here, on all ranks."""
        if self._together is None:
            return signals.stops()
        return self._interrupted

    def _was_left(self, signals: Held) -> bool:
        """Say whether a signal ended the run."""
        if self._together is None:
            return signals.interrupted
        return self._interrupted
