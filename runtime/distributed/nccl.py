"""Ranks with GPUs: their gradients are added up by NCCL, all else by what they have.

Without NCCL, and where ranks share a GPU, gradients go through the memory of the host.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from netspec.errors import SpecWarning
from netspec.notebooks import warn_user
from runtime.distributed.communicator import Communicator, Group, Request
from runtime.distributed.host_memory import HostMemory

T = TypeVar("T")


class Copies(Protocol):
    """Who copies between the memory of a device and that of the host."""

    def download(self, array: Any, out: np.ndarray) -> None:
        """Copy an array of the device; waits until it is computed."""

    def upload(self, host: np.ndarray, out: Any) -> None:
        """Copy an array of the host."""


def on_devices(
    ranks: Communicator, copies: Copies, group: Group | None
) -> Communicator:
    """Return ranks that can add up arrays of their devices. All of them call it.

    group: None where the device has no way of its own.

    Rank 0 gives a `SpecWarning` where gradients go through the memory of the host.
    """
    told = ["", "the device has no way to other processes"]
    if group is not None:
        told = [f"{platform.node()} {group.place}", group.missing]
    why = _why_not(ranks.gather(told))
    if why or group is None:
        if ranks.rank == 0:
            warn_user(
                f"gradients are added up through the memory of the host, which takes "
                f"longer than NCCL: {why}",
                SpecWarning,
            )
        return ThroughHost(ranks, copies)
    name = ranks.broadcast(group.new_group() if ranks.rank == 0 else [])
    group.join(name, ranks.rank, ranks.size)
    return OnDevices(ranks, group)


def _why_not(told: Sequence[Sequence[str]]) -> str:
    """Return why these ranks cannot use NCCL, or "". told: place and fault of each."""
    for rank, (_, missing) in enumerate(told):
        if missing:
            return f"on rank {rank} {missing}"
    places = [place for place, _ in told]
    for rank, place in enumerate(places):
        first = places.index(place)
        if first != rank:
            return (
                f"ranks {first} and {rank} share GPU {place}, and NCCL takes one for "
                f"each; start as many ranks as there are GPUs"
            )
    return ""


class _Ranks:
    """Ranks that do by others all but sums of arrays of a device."""

    def __init__(self, ranks: Communicator) -> None:
        self._ranks = ranks
        self.rank, self.size = ranks.rank, ranks.size
        self.local_rank, self.local_size = ranks.local_rank, ranks.local_size

    @property
    def doing(self) -> str:
        """What the program does."""
        return self._ranks.doing

    @doing.setter
    def doing(self, what: str) -> None:
        self._ranks.doing = what

    def sum(self, values: Any) -> None:
        """Add up a small array of the host over all ranks, in place."""
        self._ranks.sum(values)

    def memory(self, nbytes: int) -> HostMemory | None:
        """Return memory of the host for arrays that ranks add up where they lie."""
        return self._ranks.memory(nbytes)

    def share(self, memory: HostMemory | None) -> Any:
        """Let `start_sum` do that with arrays in such memory, while this is kept."""
        return self._ranks.share(memory)

    def broadcast(self, value: T) -> T:
        """Return the value that rank 0 has."""
        return self._ranks.broadcast(value)

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, on each."""
        return self._ranks.gather(value)

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self._ranks.barrier()

    def abort(self, status: int) -> None:
        """End the processes of all ranks at once."""
        self._ranks.abort(status)


class OnDevices(_Ranks):
    """Ranks whose devices add up arrays among themselves."""

    def __init__(self, ranks: Communicator, group: Group) -> None:
        super().__init__(ranks)
        self._group = group

    def start_sum(self, values: Any) -> Request:
        """Start to add up an array, of a device or of the host, in place."""
        if isinstance(values, np.ndarray):
            return self._ranks.start_sum(values)
        return self._group.start(values)


class ThroughHost(_Ranks):
    """Ranks that add up arrays of devices in the memory of the host."""

    def __init__(self, ranks: Communicator, copies: Copies) -> None:
        super().__init__(ranks)
        self._copies = copies
        self._hosts: dict[tuple[tuple[int, ...], str], np.ndarray] = {}

    def start_sum(self, values: Any) -> Request:
        """Start to add up an array, of a device or of the host, in place.

        Of a device one is on its way at a time.
        """
        if isinstance(values, np.ndarray):
            return self._ranks.start_sum(values)
        key = (tuple(values.shape), str(values.dtype))
        if key not in self._hosts:
            self._hosts[key] = np.empty(*key)
        host = self._hosts[key]
        self._copies.download(values, out=host)
        return _Copied(self._ranks.start_sum(host), self._copies, host, values)


class _Copied:
    """A sum on the host that goes back to the device when it is done."""

    def __init__(
        self, request: Request, copies: Copies, host: np.ndarray, values: Any
    ) -> None:
        self._request, self._copies = request, copies
        self._host, self._values = host, values
        self._there = False

    def done(self) -> bool:
        """Move it on, and say whether it is complete."""
        if not self._there and self._request.done():
            self._copies.upload(self._host, out=self._values)
            self._there = True
        return self._there
