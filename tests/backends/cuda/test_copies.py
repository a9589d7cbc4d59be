"""Copies between host and device, by the rules of CuPy's own arrays."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.backends.cuda.machine.cupy_device import CupyDevice


class CopiedArray:
    """As `cupy.ndarray.set` and `get`: equal shape and type, contiguous, or refused."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.inner = np.full(shape, 7, dtype)
        self.shape, self.dtype = shape, self.inner.dtype

    def set(self, host: np.ndarray) -> None:
        assert isinstance(host, np.ndarray)
        assert host.shape == self.shape
        assert host.dtype == self.dtype
        assert host.flags.c_contiguous
        self.inner[...] = host

    def get(self) -> np.ndarray:
        return self.inner.copy()


@pytest.fixture
def backend() -> CupyDevice:
    return CupyDevice.__new__(CupyDevice)  # copies need no device of their own


@pytest.mark.parametrize(
    "host",
    [
        np.array(2.5, np.float32),
        np.array(2.5),
        np.arange(6.0).reshape(2, 3),
        np.arange(6.0, dtype=np.float32).reshape(3, 2).T,
        np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::-2],
        np.zeros((0, 3), np.float32),
    ],
    ids=["no axes", "no axes, float64", "float64", "turned", "steps", "empty"],
)
def test_host_arrays_of_any_layout_arrive_and_come_back(
    backend: CupyDevice, host: np.ndarray
) -> None:
    device = CopiedArray(host.shape, "float32")
    backend.upload(host, device)
    np.testing.assert_array_equal(device.inner, host)
    back = np.full(host.T.shape, 9.0).T
    backend.download(device, back)
    np.testing.assert_array_equal(back, host)
