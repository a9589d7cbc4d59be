"""What rank 0 does with files for all ranks, which learn how it went."""

from __future__ import annotations

from collections.abc import Callable

from netspec.errors import (
    FileError,
    MachineError,
    NetspecError,
    SpecError,
    SpecWarning,
)
from runtime.distributed import Communicator
from runtime.distributed.communicator import several
from runtime.distributed.ranks import launched
from runtime.training.divergence import warn
from runtime.training.snapshot_files import check_writable, remove_leftovers

# What goes wrong with files; anything else is a fault of this rank alone.
_KINDS = {kind.__name__: kind for kind in (FileError, MachineError, SpecError)}


def by_first_rank(communicator: Communicator | None, do: Callable[[], object]) -> None:
    """Call `do` on rank 0 while the others wait; they raise what it raises.

    Without a communicator it is just called.
    """
    communicator = several(communicator)
    if communicator is None:
        do()
        return
    error: NetspecError | None = None
    if communicator.rank == 0:
        try:
            do()
        except tuple(_KINDS.values()) as failed:
            error = failed
    kind, text = communicator.broadcast(kind_of(error))
    if error is not None:
        raise error
    if kind:
        raise error_of(kind, text)


def kind_of(error: NetspecError | None) -> list[str]:
    """Return what tells another rank of an error: its kind, "" for none, and text."""
    kind = next((k for k, one in _KINDS.items() if isinstance(error, one)), "")
    if error is not None and not kind:
        kind = MachineError.__name__
    return [kind, str(error)]


def error_of(kind: str, text: str) -> NetspecError:
    """Return the error that another rank told of."""
    return _KINDS[kind](text)


def make_ready(prefix: str, communicator: Communicator | None) -> None:
    """See that snapshots can be written, and remove what dead processes left of them.

    Raises `FileError`.
    """
    warn_of_lone_ranks(communicator)

    def ready() -> None:
        check_writable(prefix)
        remove_leftovers(prefix)

    by_first_rank(communicator, ready)


_warned = False


def warn_of_lone_ranks(communicator: Communicator | None) -> None:
    """Warn once where several processes that were started together write snapshots.

    Each trains for itself, and all may write to the same files.
    """
    global _warned
    found = launched()
    if communicator is not None or found is None or found.rank != 0 or _warned:
        return
    _warned = True
    warn(
        f"{found.size} processes run this program, and each trains for itself; "
        f"communicator=runtime.distributed.world() makes them train together, and else "
        f"each needs a snapshot_prefix of its own",
        SpecWarning,
    )
