"""A stand-in for a device: arrays that are not NumPy's, and must be brought over.

As with CuPy, NumPy cannot read them by itself, so that whoever forgets to upload or to
download finds out on a machine without a device.
"""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from runtime import backends
from runtime.backends.base import Backend


class DeviceArray(NDArrayOperatorsMixin):
    """An array that only `DeviceModule` computes with."""

    def __init__(self, array: np.ndarray) -> None:
        self.inner = array

    def __array__(self, *_, **__):
        raise TypeError("a device array is not converted by itself; download it")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(isinstance(one, np.ndarray) and one.ndim for one in inputs):
            raise TypeError("host and device arrays in one operation")
        return wrap(getattr(ufunc, method)(*unwrap(inputs), **unwrap(kwargs)))

    def __getattr__(self, name):
        if name.startswith("__") or name == "ctypes":
            raise AttributeError(name)
        found = getattr(self.inner, name)
        return calling(found) if callable(found) else found

    def __getitem__(self, place):
        return wrap(self.inner[unwrap(place)])

    def __setitem__(self, place, value):
        if isinstance(value, np.ndarray):
            raise TypeError("a host array stored on the device; upload it")
        self.inner[unwrap(place)] = unwrap(value)

    def __len__(self):
        return len(self.inner)

    def __float__(self):
        return float(self.inner)

    def __bool__(self):
        return bool(self.inner)


def wrap(value):
    return DeviceArray(value) if isinstance(value, np.ndarray | np.generic) else value


def unwrap(value):
    if isinstance(value, DeviceArray):
        return value.inner
    if isinstance(value, tuple | list):
        return type(value)(map(unwrap, value))
    if isinstance(value, dict):
        return {name: unwrap(one) for name, one in value.items()}
    return value


def calling(function):
    return lambda *args, **kwargs: wrap(function(*unwrap(args), **unwrap(kwargs)))


def elementwise(function):
    """A function that refuses what CuPy would copy before it begins.

    That is an input whose first to last bytes touch those of the output, unless both
    are one object.
    """
    call = calling(function)

    def checked(*args, **kwargs):
        out, inputs = kwargs.get("out"), args
        if function is np.copyto:
            out, *inputs = args
        for one in inputs:
            if isinstance(one, DeviceArray) and one is not out and out is not None:
                assert not np.may_share_memory(one.inner, out.inner), "copies its input"
        return call(*args, **kwargs)

    if isinstance(function, np.ufunc):
        checked.at = calling(function.at)
    return checked


class DeviceModule(ModuleType):
    """NumPy's functions over device arrays."""

    def __init__(self, name, module=np):
        super().__init__(name)
        self._module = module

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if isinstance(found, ModuleType):
            return DeviceModule(name, found)
        if isinstance(found, type) or not callable(found):
            return found
        if isinstance(found, np.ufunc) or found in (np.clip, np.copyto):
            return elementwise(found)
        return calling(found)


def install() -> None:
    """Let nets have the stand-in by its name; before they are imported."""
    get = backends.get_backend
    device = DeviceBackend()

    def get_backend(name, **how):
        return device if name == device.name else get(name, **how)

    backends.get_backend = get_backend


class DeviceBackend(Backend):
    """The portable kernels over the stand-in; `copies` has what was brought over.

    It is a list of ("upload" or "download", shape).
    """

    name: ClassVar[str] = "stand-in"

    def __init__(self) -> None:
        super().__init__(DeviceModule("device"))
        self.copies = []
        self._take = calling(lambda *args, **more: np.take(*args, mode="clip", **more))

    def upload(self, host, out) -> None:
        assert isinstance(host, np.ndarray)
        assert host.shape == out.shape
        self.copies.append(("upload", host.shape))
        out.inner[...] = host

    def download(self, array, out) -> None:
        assert isinstance(out, np.ndarray)
        assert array.shape == out.shape
        self.copies.append(("download", out.shape))
        out[...] = array.inner
