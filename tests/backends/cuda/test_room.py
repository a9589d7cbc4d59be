"""Nets that a device has no room for: refused by name, before memory is taken."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import runtime
from netspec.errors import MachineError
from netspec.schema import TRAIN
from runtime.backends.cuda.machine.cupy_device import CupyDevice, DeviceFull
from tests.backends.cuda.host_device import HostFull

MIB = 2**20
TOWER = """
name: "tower"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [5, 1000] } } }
layer { name: "small" type: "ReLU" bottom: "x" top: "a" }
layer { name: "wide" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 20000 } }
layer { name: "sum" type: "Reduction" bottom: "b" top: "s" loss_weight: 1 }
"""
PARAMETERS = 2 * 4 * (20000 * 1000 + 20000)  # weights and gradients
IMAGES = """
name: "images"
layer { name: "in" type: "Input" top: "x"
        input_param { shape { dim: [4, 8, 200, 200] } } }
layer { name: "wide" type: "Convolution" bottom: "x" top: "a"
        convolution_param { num_output: 64 kernel_size: 3 pad: 1 } }
layer { name: "act" type: "TanH" bottom: "a" top: "b" }
layer { name: "pool" type: "Pooling" bottom: "b" top: "c"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "sum" type: "Reduction" bottom: "c" top: "s" loss_weight: 1 }
"""


@pytest.fixture
def have(host, monkeypatch):
    """Return what sets how many bytes the device has left."""
    return lambda nbytes: monkeypatch.setattr(host.device, "free_bytes", nbytes)


def test_a_net_that_a_device_has_no_room_for_is_refused_by_its_largest_layer(
    host, have
):
    have(100 * MIB)
    host.device.counts.clear()
    said = (
        r"^net 'tower' needs 15\d\.\d MiB of memory, of which 100.0 MiB can be had "
        r"on device 'host'; most of it takes layer 'wide' \(InnerProduct\), 15\d\.\d "
        r"MiB for its blobs and parameters\. Use a smaller batch or fewer outputs, "
        r"precision 'bf16', or a machine"
    )
    with pytest.raises(MachineError, match=said):
        runtime.Net(TOWER, TRAIN, backend="host")
    assert host.device.counts["allocations"] == 0


def test_a_net_that_just_fits_is_built(host, have):
    have(PARAMETERS + 2 * MIB)
    assert runtime.Net(TOWER, TRAIN, backend="host").blobs["b"].shape == (5, 20000)


def test_what_the_host_has_left_does_not_matter_to_a_device(host, monkeypatch):
    monkeypatch.setattr("netspec.room.room_bytes", lambda: 100 * MIB)
    runtime.Net(TOWER, TRAIN, backend="host")
    with pytest.raises(MachineError, match="100.0 MiB can be had here"):
        runtime.Net(TOWER, TRAIN, backend="portable")


def test_the_room_is_that_of_the_precision(host, have):
    arena = {
        precision: runtime.Net(
            IMAGES, TRAIN, backend="host", precision=precision
        ).plan.memory["arena_bytes"]
        for precision in ("float32", "bf16")
    }
    assert arena["bf16"] < 0.6 * arena["float32"]
    have(arena["float32"] - MIB)
    with pytest.raises(MachineError, match="'images' needs .* on device 'host'; most"):
        runtime.Net(IMAGES, TRAIN, backend="host")
    runtime.Net(IMAGES, TRAIN, backend="host", precision="bf16")
    have(arena["bf16"] - MIB)
    with pytest.raises(MachineError, match="fewer outputs, or a machine"):
        runtime.Net(IMAGES, TRAIN, backend="host", precision="bf16")


@pytest.mark.parametrize("when", range(1, 6))
def test_memory_that_ends_while_a_net_is_built_is_an_error_of_ours(
    host, monkeypatch, when
):
    zeros, calls = host.device.zeros, iter(range(1, 99))

    def ending(*arguments):
        if next(calls) == when:
            raise HostFull
        return zeros(*arguments)

    monkeypatch.setattr(host.device, "zeros", ending)
    said = "'images' needs .* which is not on device 'host'; most of it takes layer"
    with pytest.raises(MachineError, match=said):
        runtime.Net(IMAGES, TRAIN, backend="host").forward_backward()


def test_memory_that_ends_in_a_pass_is_an_error_of_ours(host, monkeypatch):
    net = runtime.Net(TOWER, TRAIN, backend="host")

    def ending(*_):
        raise HostFull

    monkeypatch.setattr(host.device, "prepare_launch", ending)
    with pytest.raises(MachineError, match="'tower' needs .* not on device 'host'"):
        net.forward()
    monkeypatch.undo()
    assert net.forward(x=np.ones((5, 1000)))["s"].shape == ()


def test_what_the_pool_keeps_counts_as_free_and_a_full_gpu_says_how_full():
    device = CupyDevice.__new__(CupyDevice)
    device.number, device.enter = 3, lambda: None
    device._device = SimpleNamespace(mem_info=(5 * MIB, 16 * MIB))

    def zeros(*_):
        raise MemoryError("out of memory")

    pool = SimpleNamespace(free_bytes=lambda: 2 * MIB)
    device._cupy = SimpleNamespace(get_default_memory_pool=lambda: pool, zeros=zeros)
    assert device.memory_bytes() == (7 * MIB, 16 * MIB)
    said = r"GPU 3 has no 12.0 MiB in one piece: 7.0 MiB of its 16.0 MiB are free\. Use"
    with pytest.raises(MachineError, match=said) as caught:
        device.zeros((3, MIB), "float32")
    assert isinstance(caught.value, DeviceFull)
    assert isinstance(caught.value, MemoryError)
