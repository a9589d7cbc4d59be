"""Sums over the GPUs of several processes: NCCL, through CuPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.errors import MachineError
from runtime.arrays import Array


class NcclSum:
    """A sum on its way, behind which there is a mark."""

    def __init__(self, mark: Any) -> None:
        self._mark = mark

    def done(self) -> bool:
        """Say whether the GPU has come to the mark; never waits."""
        return bool(self._mark.done)


class Nccl:
    """The NCCL of a process with one GPU.

    Sums run on a stream of their own, behind what was asked of the computing stream
    until then; what is asked of that later runs beside them.

    device: a `cupy.cuda.Device`. compute: the stream of its work.
    """

    def __init__(self, cupy: Any, device: Any, compute: Any) -> None:
        self._cupy, self._device, self._compute = cupy, device, compute
        self._library: Any = getattr(cupy.cuda, "nccl", None)
        self._group: Any = None
        self._marks: dict[int, tuple[Any, Any]] = {}  # by the address that is summed

    @property
    def place(self) -> str:
        """Which GPU of its machine it is, whatever number processes give it."""
        return str(self._device.pci_bus_id)

    @property
    def missing(self) -> str:
        """Why NCCL cannot be used, or ""."""
        if self._library is None or not getattr(self._library, "available", False):
            return "CuPy finds no NCCL; install it, as by pip install nvidia-nccl-cu12"
        return ""

    def new_group(self) -> list[int]:
        """Return a name by which processes find each other."""
        return [int(byte) for byte in self._library.get_unique_id()]

    def join(self, group: Sequence[int], rank: int, size: int) -> None:
        """Meet the other processes of a group; each of them calls it.

        Raises `MachineError`.
        """
        self._device.use()
        try:
            self._group = self._library.NcclCommunicator(size, tuple(group), rank)
        except self._library.NcclError as error:
            raise MachineError(
                f"rank {rank} on GPU {self.place} cannot meet the others by NCCL: "
                f"{error}; NCCL_DEBUG=INFO in the environment makes NCCL tell more"
            ) from error
        self._stream = self._cupy.cuda.Stream(non_blocking=True)

    def start(self, array: Array) -> NcclSum:
        """Start to add up an array over all processes, in place.

        Raises `MachineError`.
        """
        self._device.use()
        address, library = int(array.data.ptr), self._library
        if address not in self._marks:
            event = self._cupy.cuda.Event
            self._marks[address] = tuple(event(disable_timing=True) for _ in range(2))
        before, behind = self._marks[address]
        before.record(self._compute)
        self._stream.wait_event(before)
        kind = getattr(library, f"NCCL_{str(array.dtype).upper()}")
        given = (array.size, kind, library.NCCL_SUM, self._stream.ptr)
        try:
            self._group.allReduce(address, address, *given)
        except library.NcclError as error:
            raise MachineError(f"NCCL failed: {error}") from error
        behind.record(self._stream)
        return NcclSum(behind)
