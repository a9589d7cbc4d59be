"""The device under test: the host's by default, a GPU with `--backend cupy`."""

from __future__ import annotations

import pytest

from netspec.errors import MachineError
from runtime.backends.cuda import CudaBackend
from tests.backends.cuda.host_device import named_backend


@pytest.fixture(scope="session")
def cuda(request: pytest.FixtureRequest) -> CudaBackend:
    """The CUDA backend over the device under test; its name may be given to nets."""
    chosen = request.config.getoption("--backend")
    try:
        return named_backend("cupy" if chosen == "cupy" else "host")
    except MachineError as error:
        pytest.skip(str(error))


@pytest.fixture
def host(cuda: CudaBackend) -> CudaBackend:
    """The backend over the device in main memory, which counts; called "host"."""
    if cuda.name != "host":
        pytest.skip("counts are those of the device in main memory")
    return cuda
