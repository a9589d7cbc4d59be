"""A `fit` that was interrupted, and which other call of it goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netspec.schema import SolverParameter
from runtime.fitting.data import Given, same
from runtime.fitting.training import Training
from runtime.training.history import History

# What a run changes itself, or what may differ between it and one that goes on.
_OPEN = ("max_iter", "test_interval", "test_iter", "snapshot", "display")


@dataclass(frozen=True)
class Call:
    """What decides how a `fit` trains: its net, its solver, its data, its options.

    net: the message of the net to train. options: the other arguments.
    """

    net: bytes
    param: bytes
    given: Given
    options: Mapping[str, Any]

    def is_again(self, other: Call) -> bool:
        """Say whether another call would train the same."""
        return (
            self.net == other.net
            and self.param == other.param
            and self.options == other.options
            and all(
                same(getattr(self.given, name), getattr(other.given, name))
                for name in vars(self.given)
            )
        )


def told(param: SolverParameter) -> bytes:
    """Return the fields of a solver that decide how it trains, without its net."""
    copy = SolverParameter()
    copy.CopyFrom(param)
    nets = ("net", "net_param", "train_net", "train_net_param")
    for field in (*_OPEN, *nets):
        copy.ClearField(field)
    return bytes(copy.SerializeToString(deterministic=True))


class _Kept:
    """The last training of this process that was interrupted, with all its memory.

    It is kept until the same call came to its end or begins anew, or another one is
    interrupted.
    """

    def __init__(self) -> None:
        self.call: Call | None = None
        self.training: Training | None = None

    def keep(self, call: Call, training: Training) -> None:
        self.call, self.training = call, training

    def forget(self, training: Training) -> None:
        if self.training is training:
            self.call = self.training = None

    def forget_call(self, call: Call) -> None:
        """Give back the memory of a training that its call begins anew."""
        if self.of(call) is not None:
            self.call = self.training = None

    def of(self, call: Call) -> Training | None:
        if self.call is None or not self.call.is_again(call):
            return None
        return self.training


KEPT = _Kept()


def interrupted() -> History | None:
    """Return the history of the last `fit` that was interrupted, with its solver.

    None where none was, or the same call has come to its end since.
    """
    return None if KEPT.training is None else KEPT.training.solver.history
