"""Nets on several devices of one process, and passes in other threads."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import runtime
from runtime.backends import by_name
from runtime.backends.cuda.machine import cublas, cudnn
from runtime.backends.cuda.machine.cupy_device import CupyDevice
from tests.backends.cuda.fake_cupy import fake_cupy
from tests.backends.cuda.host_device import compiler, host_backend

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 8 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
  inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
layer { name: "y" type: "InnerProduct" bottom: "a" top: "y"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def two(monkeypatch):
    """The names of backends over two devices."""
    if compiler() is None:
        pytest.skip("no C++ compiler")
    names = ("host 0", "host 1")
    for name in names:
        monkeypatch.setitem(by_name.MAKERS, name, host_backend)
    by_name._made.cache_clear()
    yield names
    by_name._made.cache_clear()


def run(net, x):
    net.blobs["x"].data[...] = x
    return net.forward()["y"].copy()


def test_nets_on_two_devices_take_turns(two):
    rng = np.random.default_rng(3)
    nets = [runtime.Net(NET, runtime.TEST, backend=name, seed=5) for name in two]
    assert nets[0].backend is not nets[1].backend
    alone = runtime.Net(NET, runtime.TEST, backend="portable", seed=5)
    for _ in range(4):  # one by one, captured, replayed
        for net in nets:
            x = rng.standard_normal((4, 8), dtype=np.float32)
            np.testing.assert_allclose(run(net, x), run(alone, x), atol=1e-5)
    assert all(net.backend.device.counts["graphs"] for net in nets)


def test_a_pass_may_run_in_another_thread(two):
    net = runtime.Net(NET, runtime.TEST, backend=two[0])
    x = np.ones((4, 8), np.float32)
    wanted = run(net, x)
    for _ in range(3):  # a thread of its own each time
        with ThreadPoolExecutor(1) as pool:
            got = pool.submit(run, net, x).result()
        np.testing.assert_array_equal(got, wanted)


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy that knows the device and the stream of the thread, and little else."""
    module = fake_cupy(["A", "B"])
    module.now = now = {"device": 0, "stream": None}

    class Device:
        attributes = {"MultiProcessorCount": 7}

        def __init__(self, number):
            self.number = number

        def use(self):
            now["device"] = self.number

    class Stream:
        def __init__(self, non_blocking=False):
            self.of = now["device"]
            self.ptr = 100 + self.of

        def use(self):
            now["stream"] = self

        def begin_capture(self):
            assert now["device"] == self.of

        def end_capture(self):
            return SimpleNamespace(launch=self.launched)

        def launched(self, stream):
            assert now["device"] == stream.of == self.of

    class Array:
        def __init__(self):
            self.of, self.shape, self.dtype = now["device"], (2,), np.dtype("float32")
            self.nbytes = 8
            self.data = SimpleNamespace(copy_to_host_async=self.copied)

        def copied(self, pinned, nbytes, stream):
            assert now["device"] == stream.of == self.of

        def set(self, host):
            assert now["device"] == self.of

        def get(self):
            assert now["device"] == self.of
            return np.zeros(2, np.float32)

    class Event:
        def __init__(self, disable_timing=False):
            self.of = now["device"]

        def synchronize(self):
            pass

        def record(self, stream):
            assert stream.of == self.of

    class Pinned(bytearray):
        ptr = 0

    class MemoryHook:
        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

    class RawModule:
        def __init__(self, code, options, backend):
            self.of = now["device"]

        def get_function(self, name):
            return self.launched

        def launched(self, grid, block, values):
            assert now["device"] == now["stream"].of == self.of

    class Library:
        """In the place of cuBLAS and of cuDNN."""

        def __init__(self, number=None):
            self.of = now["device"]

        def plan(self, what):
            assert now["device"] == self.of
            return self.of

        def supports(self, what):
            return True

    module.RawModule = RawModule
    monkeypatch.setattr(cublas, "Cublas", Library)
    monkeypatch.setattr(cudnn, "Cudnn", Library)
    module.cuda.Device, module.cuda.Stream, module.cuda.Event = Device, Stream, Event
    module.cuda.MemoryHook, module.cuda.alloc_pinned_memory = MemoryHook, Pinned
    module.zeros = lambda shape, dtype: Array()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_each_device_has_its_own_memory_streams_and_marks(cupy):
    first, second = CupyDevice(0), CupyDevice(1)
    assert (first.number, second.number, second.multiprocessors) == (0, 1, 7)
    for _ in range(2):
        for device in (first, second):
            assert device.stream == 100 + device.number
            array = device.zeros((2,), "float32")
            assert array.of == device.number
            other = second if device is first else first
            other.enter()
            device.upload(np.ones(2, np.float32), array)
            other.enter()
            device.download(array, np.empty(2, np.float32))
            other.enter()
            assert device.fetch(array).result().size == 8
            other.enter()
            device.event().record()
            other.enter()
            replay = device.capture(lambda: None)
            other.enter()
            replay()


def test_each_device_has_its_own_libraries_and_kernels(cupy):
    first, second = CupyDevice(0), CupyDevice(1)
    function = SimpleNamespace(parameters=())
    kernel = SimpleNamespace(file="fill.cu", defines=(), name="f", function=function)
    launch = SimpleNamespace(kernel=kernel, grid=(1,), block=(1,), arguments=())
    for _ in range(2):
        for device, other in ((first, second), (second, first)):
            other.enter()
            assert device.product("a product") == device.number
            other.enter()
            assert device.supports("a convolution")
            other.enter()
            assert device.convolution("a convolution") == device.number
            other.enter()
            once, often = device.prepare_launch(launch), device.launcher(launch)
            other.enter()
            once()
            other.enter()
            often(())


def test_a_stream_is_of_its_device(cupy):
    device = CupyDevice(1)
    cupy.now["device"] = 0
    device.enter()
    assert cupy.now["stream"].of == 1
