"""Numbers that are not finite: what training stops at."""

from __future__ import annotations

from netspec.errors import SpecError
from netspec.notebooks import warn_user
from netspec.ops.base import label
from runtime.execution.mirror import UPDATE
from runtime.execution.net import Net
from runtime.training.not_finite import Began
from runtime.training.snapshot_files import Snapshot, last
from runtime.update_rules import Update


class NonFiniteLossError(SpecError):
    """Training diverged: the loss of `iteration` is infinite or not a number.

    The parameters are those before that iteration. `snapshot` is the last one that was
    written or restored, or None. `rank` is the first whose loss it is, where several
    train together, on each of which this is raised. `began` is the first blob that is
    not finite, where that can be told.
    """

    rank: int | None = None

    def __init__(
        self,
        iteration: int,
        loss: float,
        lr: float,
        snapshot: Snapshot | None,
        rank: int | None = None,
        began: Began | None = None,
    ) -> None:
        where = "" if rank is None else f" on rank {rank}"
        first = "" if began is None else f"{began}; "
        data = began is not None and began.is_data
        advice = "Look" if data else "Lower base_lr, set clip_gradients, or look"
        super().__init__(
            f"the loss of iteration {iteration}{where} is {loss:g} at learning rate "
            f"{lr:g}; {first}{last(snapshot)}. {advice} for bad values in the data"
        )
        self.began = began
        self.iteration = iteration
        self.loss = loss
        self.snapshot = snapshot
        self.rank = rank


class NonFiniteGradientError(NonFiniteLossError):
    """The loss of `iteration` is finite, but its gradient is not.

    The parameters are those before that iteration. `parameter` names the first
    parameter whose gradient has an infinite value or one that is not a number. `rank`
    is the first that had it of its own batches, where several train together, and None
    where none had and the sum over ranks or a callback made it.
    """

    def __init__(
        self,
        iteration: int,
        loss: float,
        parameter: str,
        snapshot: Snapshot | None,
        rank: int | None = None,
    ) -> None:
        SpecError.__init__(
            self,
            f"{gradient(iteration, parameter, rank)}, although the loss is {loss:g}; "
            f"{last(snapshot)}. Look for a square root, a logarithm or a division at 0 "
            f"above that layer, or lower base_lr",
        )
        self.iteration = iteration
        self.loss = loss
        self.parameter = parameter
        self.snapshot = snapshot
        self.rank = rank


class NonFiniteParameterError(SpecError):
    """An update made parameters infinite; no snapshot of them is written.

    `iteration` is how many iterations are done, `snapshot` the last one that was
    written or restored, or None.
    """

    def __init__(
        self, iteration: int, parameter: str, snapshot: Snapshot | None
    ) -> None:
        super().__init__(
            f"{parameter} is not finite after {iteration} iterations, so no snapshot "
            f"of it is written; {last(snapshot)}. Lower base_lr, or set clip_gradients"
        )
        self.iteration = iteration
        self.parameter = parameter
        self.snapshot = snapshot


def gradient(iteration: int, parameter: str, rank: int | None = None) -> str:
    """Say that a gradient is not finite."""
    where = "" if rank is None else f" on rank {rank}"
    return f"the gradient of {parameter} in iteration {iteration}{where} is not finite"


def not_finite(net: Net, *, gradients: bool) -> str | None:
    """Name the first parameter of a net whose values or gradients are not finite."""
    array = net.flat.diff if gradients else net.flat.data
    for parameter in net.graph.parameters:
        place = net.flat.slices.get(parameter.index)
        if place is not None and not bool(net.backend.xp.isfinite(array[place]).all()):
            node = net.graph.nodes[parameter.owner.node]
            return f"parameter {parameter.owner.slot} of {label(node.layer)}"
    return None


def check_parameters(net: Net, iteration: int, snapshot: Snapshot | None) -> None:
    """Refuse parameters that are not finite; raises `NonFiniteParameterError`."""
    if bad := not_finite(net, gradients=False):
        raise NonFiniteParameterError(iteration, bad, snapshot)


def learns_nothing(net: Net) -> bool:
    """Say whether no top counts in the objective and nothing is told to go back."""
    nodes = net.graph.nodes
    if any(node.backward for node in nodes):
        return False
    return not any(weight != 0 for node in nodes for weight in node.loss_weights)


def without_loss(net: Net) -> SpecError:
    """Return the error of a net that has nothing to learn from."""
    return SpecError(
        f"net {net.name!r} has no loss: no top has a loss_weight, so nothing would be "
        f"learned. Add a loss layer, or `loss_weight: 1` to the layer whose top is to "
        f"become small. To train by gradients of your own, put `force_backward: true` "
        f"into the net and set `diff` of its outputs"
    )


def within_itself(net: Net) -> SpecError:
    """Return the error of a solver that is to train while it trains."""
    return SpecError(
        f"the solver of net {net.name!r} is training already: a callback cannot call "
        f"its step, solve or fit. Call them once training is over; to train for longer,"
        f" give more epochs or a larger max_iter"
    )


class Watch:
    """Stops at gradients that are not finite, or warns of them once."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._warned = False

    def check(
        self,
        update: Update,
        iteration: int,
        loss: float | None,
        last: Snapshot | None,
        rank: int | None = None,
    ) -> None:
        """Look at the gradients of an iteration; without `loss` only warn.

        rank: the first of several whose own gradients are not finite.

        Raises `NonFiniteGradientError`.
        """
        if loss is None and self._warned:
            return
        # What a callback wrote into host arrays must reach the device.
        self._net.mirror.before_steps(UPDATE)
        finite = update.finite()
        self._net.mirror.after_steps()
        if finite:
            return
        bad = not_finite(self._net, gradients=True)
        if bad is not None and loss is not None:
            raise NonFiniteGradientError(iteration, loss, bad, last, rank)
        if bad is not None:
            self.warn(gradient(iteration, bad, rank))

    @property
    def warned(self) -> bool:
        """Whether there was a warning."""
        return self._warned

    def warn(self, text: str) -> None:
        """Warn, if it is the first time."""
        if not self._warned:
            self._warned = True
            warn(text)


def warn(text: str, kind: type[Warning] = RuntimeWarning) -> None:
    """Warn at the line that called this package."""
    warn_user(text, kind)
