"""Sums of ranks of one machine, which read and write each other's memory.

The bits are those of MPICH's default for ranks of one machine: neighbours are added
first, (0 + 1) + (2 + 3), where the first ones that have no partner go with their
neighbours ahead of it, ((0 + 1) + 2). Of several machines each adds up its own ranks,
and the first rank of each adds up those sums with the others.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netspec.errors import MachineError
from runtime.distributed.communicator import Communicator
from runtime.distributed.host_memory import HostMemory, fence, word

SLOT_BYTES = 1 << 16  # of a small array
BLOCK = 1 << 15  # elements that are added at a time, which stay in a cache
STEP = 16  # elements that start a share: a line of a cache in float32
_KINDS = ("float32", "float64", "int64")
# Lines of the head, each written by who made the memory.
_HERE, _ADDED, _ENDED, _WHAT, _KEY = (word(line) for line in (1, 2, 3, 4, 5))


def hosts(ranks: Communicator) -> list[list[int]]:
    """Return the ranks of each machine, by its name. All ranks call it."""
    found: dict[str, list[int]] = {}
    for rank, name in enumerate(ranks.gather(platform.node())):
        found.setdefault(name, []).append(rank)
    return list(found.values())


def all_memories(
    ranks: Communicator, members: Sequence[int], mine: HostMemory | None
) -> tuple[list[HostMemory], str]:
    """Return the memory of each of some ranks, if all can have that of their members.

    Else nothing, and why, which is the same on all ranks. All of them call it.
    """
    places = ranks.gather(None if mine is None else mine.place)
    found: list[HostMemory] = []
    why = ""
    for rank in members:
        place = places[rank]
        if place is None:
            why = f"rank {rank} got no memory for it"
            break
        if mine is not None and rank == ranks.rank:
            found.append(mine)
            continue
        try:
            found.append(HostMemory.open(place))
        except (OSError, ValueError) as error:
            why = f"rank {ranks.rank} cannot open memory of rank {rank}: {error}"
            break
    told = [one for one in ranks.gather(why) if one]
    if mine is not None:
        mine.close()
    return ([], told[0]) if told else (found, "")


class _Waited:
    """Numbers that all ranks count up, each its own; `all` says who is there."""

    def __init__(self, memories: Sequence[HostMemory], place: int) -> None:
        self._words, self._place = [one.words for one in memories], place
        self._first = 0

    def tell(self, rank: int, number: int) -> None:
        """Say that this rank has come to a number, and all that it wrote before."""
        fence()
        self._words[rank][self._place] = number

    def one(self, rank: int, number: int) -> bool:
        """Say whether a rank has come to a number, and let it be read."""
        there: bool = self._words[rank][self._place] >= number
        fence()
        return there

    def all(self, number: int) -> bool:
        """Say whether all ranks have come to a number, and let it be read."""
        words, place = self._words, self._place
        while self._first < len(words):
            if words[self._first][place] < number:
                return False
            self._first += 1
        self._first = 0
        fence()
        return True


class Board:
    """Where ranks add up small arrays: each writes its own, and all read all.

    There are two slots, taken in turns: who writes into one again has seen all ranks
    write into the other, when they had read this one.
    """

    def __init__(self, memories: Sequence[HostMemory], rank: int) -> None:
        self._memories, self._rank = memories, rank
        self._here = _Waited(memories, _HERE)
        self._number = 0
        self._slots: dict[tuple[int, int, str], list[np.ndarray]] = {}

    @staticmethod
    def memory() -> HostMemory | None:
        """Return what a rank gives."""
        return HostMemory.make(2 * SLOT_BYTES)

    @staticmethod
    def takes(values: np.ndarray) -> bool:
        """Say whether an array has room, and a type that is added here."""
        return values.nbytes <= SLOT_BYTES and str(values.dtype) in _KINDS

    def start(self, values: np.ndarray, what: int = 0) -> _SmallSum:
        """Start to add up an array, in place, where `what` is the same on all ranks."""
        self._number += 1
        number, at = self._number, self._number % 2 * SLOT_BYTES
        key = at, values.size, str(values.dtype)
        every = self._slots.get(key)
        if every is None:
            every = [m.array(values.dtype, values.size, at) for m in self._memories]
            self._slots[key] = every
        every[self._rank][:] = values.reshape(-1)
        keys = [one.words[_KEY + number % 2 :] for one in self._memories]
        keys[self._rank][0] = what
        self._here.tell(self._rank, number)
        return _SmallSum(self._here, number, keys, every, values)


class _SmallSum:
    """A sum on its way, as a request of MPI is one.

    whats: what each rank gave as `what`, in the end. Nothing is added up where they
    differ.
    """

    def __init__(
        self,
        here: _Waited,
        number: int,
        keys: Sequence[memoryview],
        every: Sequence[np.ndarray],
        values: np.ndarray,
    ) -> None:
        self._here, self._number, self._keys = here, number, keys
        self._every, self._values = every, values
        self.whats: list[int] = []

    def Test(self) -> bool:
        if not self._here.all(self._number):
            return False
        self.whats = [one[0] for one in self._keys]
        if len({*self.whats}) == 1 and self._values.size:
            total = np.empty_like(self._every[0])
            _add_up(self._every, total, _scratch(self._every, total.size))
            self._values[...] = total.reshape(self._values.shape)
        return True


class Window:
    """Memory of all ranks whose arrays they add up where these lie, one at a time.

    Each rank adds up its share of the elements over all ranks, and writes the sums into
    the memory of all.

    across: for the first rank of several machines, what starts the sum of an array over
    the first ranks; for their others, anything but None. Sums of a machine are written
    into the memory of its first rank then, from which the others copy what comes of it.
    """

    def __init__(
        self,
        memories: Sequence[HostMemory],
        rank: int,
        across: Callable[[np.ndarray], Any] | None = None,
    ) -> None:
        self._memories, self._rank, self._across = memories, rank, across
        self._here = _Waited(memories, _HERE)
        self._added = _Waited(memories, _ADDED)
        self._ended = _Waited(memories, _ENDED)
        self._number, self._complete = 0, 0
        own = memories[rank]
        self._base = own.array(np.uint8, own.nbytes).__array_interface__["data"][0]
        self._arrays: dict[tuple[int, int, str], _Shares] = {}

    @property
    def whole(self) -> bool:
        """Whether no sum has to go to another machine."""
        return self._across is None

    def offset(self, values: np.ndarray) -> int | None:
        """Return at which byte of this rank's memory an array lies, or None."""
        if not values.flags.c_contiguous or str(values.dtype) not in _KINDS:
            return None
        at = int(values.__array_interface__["data"][0]) - self._base
        inside = at >= 0 and at + values.nbytes <= self._memories[self._rank].nbytes
        return at if inside else None

    def start(
        self, values: np.ndarray, at: int, on_step: Callable[[], Any]
    ) -> _SharedSum:
        """Start to add up an array that lies at byte `at` of the memory.

        on_step: called each time that this rank has done what others wait for.

        Raises `MachineError` where the sum before was left: others wait for it.
        """
        if self._complete < self._number:
            raise MachineError(
                "an iteration ended amid the sums of its gradients, so that this rank "
                "is out of step with the others; end the job, and resume from a "
                "snapshot"
            )
        shares = self._shares(values, at)
        self._number += 1
        words = self._memories[self._rank].words
        words[_WHAT], words[_WHAT + 1] = at, values.nbytes
        self._here.tell(self._rank, self._number)
        return _SharedSum(self, self._number, shares, on_step)

    def add(self, number: int, shares: _Shares) -> bool:
        """Add up this rank's share, if all ranks have come to a sum."""
        if not self._here.all(number):
            return False
        what = [one.words[_WHAT : _WHAT + 2] for one in self._memories]
        for rank, theirs in enumerate(what):
            if theirs != what[self._rank]:
                raise MachineError(
                    f"rank {rank} of this machine adds up other gradients than rank "
                    f"{self._rank}; all ranks must train the same net"
                )
        shares.add()
        self._added.tell(self._rank, number)
        return True

    def added(self, number: int) -> bool:
        """Say whether all ranks have added up their shares of a sum."""
        return self._added.all(number)

    def begin_across(self, shares: _Shares) -> Any:
        """Start the sum over machines; None but on the first rank."""
        if self._rank or self._across is None:
            return None
        return self._across(shares.every[0])

    def end_across(self, number: int, shares: _Shares, request: Any) -> bool:
        """Take what came of the sum over machines, once it is there."""
        if request is None:
            if not self._ended.one(0, number):
                return False
            shares.every[self._rank][:] = shares.every[0]
        elif not request.Test():
            return False
        self._ended.tell(self._rank, number)
        return True

    def ended(self, number: int) -> bool:
        """Say whether this rank may write into its array again."""
        waits = self._across is not None and self._rank == 0
        if waits and not self._ended.all(number):
            return False
        self._complete = number
        return True

    def _shares(self, values: np.ndarray, at: int) -> _Shares:
        key = at, values.size, str(values.dtype)
        if key not in self._arrays:
            every = [m.array(values.dtype, values.size, at) for m in self._memories]
            self._arrays[key] = _Shares(every, self._rank, to_all=self.whole)
        return self._arrays[key]


class _SharedSum:
    """A sum on its way, as a request of MPI is one.

    steps: how many times this rank has done what others wait for.
    """

    steps = 0

    def __init__(
        self,
        window: Window,
        number: int,
        shares: _Shares,
        on_step: Callable[[], Any],
    ) -> None:
        self._window, self._number = window, number
        self._shares, self._on_step = shares, on_step
        self._request: Any = None
        self._added = False

    def Test(self) -> bool:
        window, number, shares = self._window, self._number, self._shares
        if self.steps == 0:
            if not window.add(number, shares):
                return False
            self._step()
        if not self._added:
            if not window.added(number):
                return False
            self._added = True
            self._request = window.begin_across(shares)
        if self.steps == 1 and not window.whole:
            if not window.end_across(number, shares, self._request):
                return False
            self._step()
        return window.ended(number)

    def _step(self) -> None:
        self.steps += 1
        self._on_step()


class _Shares:
    """What a rank adds up of an array of all ranks, cut into blocks.

    to_all: whether all ranks get the sums, or the first one alone.
    """

    def __init__(self, every: Sequence[np.ndarray], rank: int, *, to_all: bool) -> None:
        size, ranks = every[0].size, len(every)
        lines = -(-size // STEP)
        first = min(size, lines * rank // ranks * STEP)
        stop = min(size, lines * (rank + 1) // ranks * STEP)
        self.every = every
        self._to = rank if to_all else 0
        self._others = [r for r in range(ranks) if to_all and r != rank]
        self._blocks = [
            [one[at : min(stop, at + BLOCK)] for one in every]
            for at in range(first, stop, BLOCK)
        ]
        self._scratch = _scratch(every, min(BLOCK, stop - first))

    def add(self) -> None:
        """Add up the share."""
        for parts in self._blocks:
            total = parts[self._to]
            _add_up(parts, total, self._scratch[:, : total.size])
            for rank in self._others:
                parts[rank][:] = total


def _scratch(parts: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Return room for what `_add_up` has in hand: one a level."""
    return np.empty((len(parts).bit_length(), size), parts[0].dtype)


def _add_up(parts: Sequence[np.ndarray], out: np.ndarray, scratch: np.ndarray) -> None:
    """Add up arrays in the order of this module; `out` may be one of them."""
    if len(parts) == 1:
        out[:] = parts[0]
        return
    pairs = len(parts) - (1 << (len(parts).bit_length() - 1))
    leaves = [parts[2 * pair : 2 * pair + 2] for pair in range(pairs)]
    leaves += [[part] for part in parts[2 * pairs :]]

    def add(first: int, count: int, level: int, out: np.ndarray) -> np.ndarray:
        if count == 1:
            one, *other = leaves[first]
            return np.add(one, other[0], out=out) if other else one
        half = count // 2
        one = add(first, half, level, scratch[level])
        two = add(first + half, half, level + 1, scratch[level + 1])
        return np.add(one, two, out=out)

    with np.errstate(all="ignore"):  # as MPI does
        add(0, len(leaves), 0, out)
