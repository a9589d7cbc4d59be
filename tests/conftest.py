"""What all tests share: a backend, `pytest --backend cupy`, and time enough."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from netspec.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.backends.base import Backend

# On a busy machine an example may take any time.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        default="numpy",
        help="run tests of arithmetic on this backend: numpy (default), cupy, host "
        "(that of cupy, on the host), or stand-in (portable, with copies as on a GPU)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--backend") == "stand-in":
        from tests.runtime.execution.device_stand_in import install

        install()


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend under test; skips, saying why, where the machine lacks it."""
    from runtime.backends import get_backend  # tests of netspec alone need no NumPy

    name = request.config.getoption("--backend")
    try:
        if name == "host":  # the CUDA backend, on a device in main memory
            from tests.backends.cuda.host_device import named_backend

            return named_backend(name)
        return get_backend(name)
    except MachineError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True, scope="session")
def interrupts() -> Iterator[None]:
    """SIGINT raises `KeyboardInterrupt`, also in a process in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def folder_stays() -> Iterator[None]:
    """A test that leaves the process in another folder fails, not a later one."""
    before = Path.cwd()
    yield
    if Path.cwd() != before:
        os.chdir(before)
        pytest.fail("the test left the process in another folder")
