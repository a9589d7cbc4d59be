"""A CuPy for tests of what is said of machines: as many GPUs as wanted, none works."""

from __future__ import annotations

from contextlib import nullcontext
from types import ModuleType, SimpleNamespace


def fake_cupy(
    names: list[str], *, silent: int = -1, driver: int = 13000, error: str = ""
) -> ModuleType:
    """Return the module.

    names: of the GPUs. silent: the number of one that does not answer. driver: its CUDA
    as a number, 0 for none. error: what asking for GPUs says instead of answering.
    """

    class CUDARuntimeError(RuntimeError):
        pass

    current = [0]

    def count() -> int:
        if error:
            raise CUDARuntimeError(error)
        return len(names)

    def properties(number: int) -> dict[str, object]:
        return {"name": names[number].encode(), "major": 9, "minor": number}

    def device(number: int):
        if number == silent:
            raise CUDARuntimeError("cudaErrorDevicesUnavailable: busy\nmore")
        current[0] = number
        return nullcontext()

    cupy = ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    cupy.cuda = SimpleNamespace(
        Device=device,
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=count,
            getDeviceProperties=properties,
            runtimeGetVersion=lambda: 13020,
            driverGetVersion=lambda: driver,
            memGetInfo=lambda: ((current[0] + 1) << 30, (current[0] + 2) << 34),
        ),
    )
    return cupy
