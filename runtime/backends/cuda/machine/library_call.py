"""Products and convolutions of a library as calls."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.machine.device import Device, Planned
from runtime.backends.cuda.machine.launch import Call

ALIGNMENT_BYTES = 256  # of a workspace


def workspace_of(nbytes: int) -> ArraySpec:
    """Return the scratch array in which an aligned workspace has its place."""
    return ArraySpec((nbytes + ALIGNMENT_BYTES,), "uint8")


class LibraryCall(Call):
    """A planned product or convolution with its operands.

    operands: arrays by the names that the specification gives them. workspace: of
    `workspace_of(planned.workspace_bytes)` or more, or None where that is 0.
    """

    def __init__(
        self,
        device: Device,
        planned: Planned,
        operands: Mapping[str, Array],
        workspace: Array | None = None,
    ) -> None:
        self._device, self._planned = device, planned
        self._operands, self._workspace = operands, workspace  # they stay alive
        self._addresses = {name: device.address(a) for name, a in operands.items()}
        self._work_address = 0
        if workspace is not None:
            address = device.address(workspace)
            self._work_address = -(-address // ALIGNMENT_BYTES) * ALIGNMENT_BYTES

    def __call__(self) -> None:
        """Do it."""
        self._planned.run(self._addresses, self._work_address, self._device.stream)
