"""The backend that the tests run on: `pytest --backend cupy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netspec.errors import MachineError

if TYPE_CHECKING:
    from runtime.backends.base import Backend


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        default="numpy",
        help="run the tests of arithmetic on this backend: numpy (default) or cupy",
    )


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend under test; skips, saying why, where the machine lacks it."""
    from runtime.backends import get_backend  # tests of netspec alone need no NumPy

    try:
        return get_backend(request.config.getoption("--backend"))
    except MachineError as error:
        pytest.skip(str(error))
