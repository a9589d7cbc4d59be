"""A stand-in for a device, by the name "stand-in"."""

from __future__ import annotations

import pytest

import runtime
from tests.runtime.execution.device_stand_in import DeviceBackend


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> DeviceBackend:
    """The backend that nets get which ask for "stand-in"."""
    device = DeviceBackend()
    get = runtime.get_backend
    monkeypatch.setattr(
        "runtime.execution.net.get_backend",
        lambda name, **options: device if name == "stand-in" else get(name, **options),
    )
    return device
