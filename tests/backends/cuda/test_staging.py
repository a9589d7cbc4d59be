"""Copies beside other work, on two streams that run as late as they may."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from runtime.backends.cuda.machine.cupy_device import _Ring


class Stream:
    """Does what is asked of it only when somebody waits; `ptr` is its name."""

    def __init__(self) -> None:
        self.work: list = []

    def ask(self, work) -> None:
        self.work.append(work)

    def wait_event(self, event: Event) -> None:
        # What an event stands for is settled when it is recorded.
        upto = event.at
        self.ask(lambda: upto and upto[0].run(upto[1]))

    def run(self, upto: int | None = None) -> None:
        """Do what was asked, or what was asked first."""
        done = len(self.work) if upto is None else upto
        for index in range(done):
            work, self.work[index] = self.work[index], None
            if work is not None:
                work()


class Event:
    def __init__(self) -> None:
        self.at: tuple[Stream, int] | None = None

    def record(self, stream: Stream) -> None:
        self.at = (stream, len(stream.work))

    def synchronize(self) -> None:
        if self.at is not None:
            self.at[0].run(self.at[1])


class Memory:
    """A piece of a device's memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.data = self

    def copy_from_host_async(self, pinned: np.ndarray, nbytes: int, stream) -> None:
        stream.ask(lambda: self.array.__setitem__(slice(0, nbytes), pinned[:nbytes]))

    def view(self, dtype):
        return self.array.view(dtype)


class Pinned(np.ndarray):
    @property
    def ptr(self):
        return self


def fake(memories) -> SimpleNamespace:
    lend = iter(memories)
    cuda = SimpleNamespace(
        alloc_pinned_memory=lambda nbytes: np.zeros(nbytes, np.uint8).view(Pinned),
        Event=Event,
    )
    return SimpleNamespace(cuda=cuda, empty=lambda nbytes, dtype: Memory(next(lend)))


def test_memory_that_was_lent_before_is_not_written_too_early():
    """Its last owner's work on the one stream is done before the copy on the other."""
    compute, copies = Stream(), Stream()
    memories = [np.full(8, 9, np.uint8) for _ in range(2)]
    for memory in memories:
        compute.ask(lambda memory=memory: memory.fill(0))  # the last owner's
    ring = _Ring(fake(memories), 8, compute)
    staged = ring.stage(np.arange(8, dtype=np.uint8), compute, copies)
    copies.run()  # as early as it may
    compute.run()
    assert staged.tolist() == list(range(8))


def test_turns_do_not_overtake_what_reads_them():
    compute, copies = Stream(), Stream()
    ring = _Ring(fake([np.zeros(8, np.uint8) for _ in range(2)]), 8, compute)
    seen = []
    for turn in range(5):
        staged = ring.stage(np.full(8, turn, np.uint8), compute, copies)
        compute.ask(lambda staged=staged: seen.append(int(staged[0])))
        copies.run()
    compute.run()
    assert seen == list(range(5))
