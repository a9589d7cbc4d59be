"""The device under test: the host's by default, a GPU with `--backend cupy`."""

from __future__ import annotations

import pytest

from runtime.backends.cuda import CudaBackend, cupy_backend
from tests.backends.cuda.host_device import HostDevice, compiler


@pytest.fixture(scope="session")
def cuda(request: pytest.FixtureRequest) -> CudaBackend:
    """The CUDA backend over the device under test."""
    if request.config.getoption("--backend") == "cupy":
        return cupy_backend()
    if compiler() is None:
        pytest.skip("there is no C++ compiler, which compiles the kernels for the host")
    return CudaBackend(HostDevice())
