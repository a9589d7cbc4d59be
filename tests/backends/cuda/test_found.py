"""What `python -m runtime devices` says of NVIDIA's GPUs and libraries."""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import pytest

from netspec.errors import MachineError
from runtime.__main__ import main
from runtime.backends.cuda import found
from runtime.backends.cuda.found import found_gpus, found_libraries
from runtime.backends.cuda.machine.library import MissingLibrary
from runtime.cli.devices import INSTALL
from tests.backends.cuda.fake_cupy import fake_cupy


def number(value):
    """A C function that returns a number."""
    function = ctypes.CFUNCTYPE(ctypes.c_size_t)(lambda: value)
    return SimpleNamespace(cublasLtGetVersion=function, cudnnGetVersion=function)


def missing(*_):
    raise MissingLibrary("it is not found (libit.so.1)")


def front_end(version="1.32.0", error=None):
    module = ModuleType("cudnn")
    module.__version__ = version

    def backend_version():
        if error is not None:
            raise error
        return 91900

    module.backend_version = backend_version
    return module


@pytest.fixture
def machine(monkeypatch):
    """Sets what this machine has; without arguments, everything and two GPUs."""

    def has(cupy=None, cudnn=None, cublas=True, library=True):
        modules = {"cupy": cupy or fake_cupy(["GPU A", "GPU B"])}
        modules["cudnn"] = cudnn or front_end()
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, None if module == "no" else module)
        open_cublas = (lambda: (number(130100), "file")) if cublas else missing
        monkeypatch.setattr(found, "open_library", open_cublas)
        load = (lambda *_: (number(91900), "file")) if library else missing
        monkeypatch.setattr(found, "load", load)

    return has


def said(capsys):
    assert main(["devices"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return [line[6:] for line in out.splitlines() if line.startswith("cupy: ")]


def test_every_gpu_and_library_is_told(machine, capsys):
    machine()
    assert said(capsys) == [
        "device 0: GPU A, compute capability 9.0, 32.0 GiB memory, 1.0 GiB free",
        "device 1: GPU B, compute capability 9.1, 48.0 GiB memory, 2.0 GiB free",
        "CuPy 14.2.0 with CUDA 13.2, driver for CUDA 13.0",
        "NVRTC 13.0",
        "cuBLASLt 13.1.0",
        "cuDNN 9.19.0",
        "cuDNN front end 1.32.0",
    ]


def test_what_is_missing_is_told_with_its_remedy_and_the_loss(machine, capsys):
    machine(cudnn="no", cublas=False, library=False)
    remedy = "not found; pip install 'netspec[train,cuda]' installs it; without it"
    slow = "convolutions run as products of unfolded images"
    lines = said(capsys)[-3:]
    assert lines[0] == (
        f"cuBLASLt: {remedy} layers with matrix products do not run on a GPU"
    )
    assert lines[1].startswith(f"cuDNN: {remedy} {slow}")
    assert lines[2].startswith(f"cuDNN front end: {remedy} {slow}")


def test_a_machine_without_anything_is_two_lines(machine, capsys):
    machine(cupy="no", cudnn="no", cublas=False, library=False)
    assert said(capsys) == [
        "not available: CuPy is not installed",
        f"no library of NVIDIA is installed; {INSTALL} installs all",
    ]


def test_a_machine_without_a_driver(machine, capsys):
    machine(fake_cupy([], driver=0, error="cudaErrorInsufficientDriver: too old"))
    lines = said(capsys)
    assert lines[0] == (
        "not available: no CUDA device answers: cudaErrorInsufficientDriver: too old"
    )
    assert lines[1] == "CuPy 14.2.0 with CUDA 13.2, no driver"


def test_a_machine_without_a_gpu(machine):
    machine(fake_cupy([]))
    with pytest.raises(MachineError, match="this machine has no CUDA device"):
        found_gpus()


def test_a_gpu_that_does_not_answer_hides_no_other(machine, capsys):
    machine(fake_cupy(["GPU A", "GPU B"], silent=0))
    first, second = said(capsys)[:2]
    assert first == "device 0: does not answer: cudaErrorDevicesUnavailable: busy"
    assert second.startswith("device 1: GPU B")


def test_a_cupy_that_does_not_load_is_one_line(machine, monkeypatch, capsys):
    machine()

    def broken(name):
        raise ImportError(f"{name}: libcudart is too old\nTraceback of its own")

    monkeypatch.setattr(found, "import_module", broken)
    lines = said(capsys)
    assert lines[0] == "not available: CuPy does not load: cupy: libcudart is too old"
    assert lines[1].startswith("CuPy: does not work: cupy: libcudart is too old; pip i")


def test_a_front_end_without_cudnn_does_not_work(machine):
    machine(cudnn=front_end(error=RuntimeError("no libcudnn.so.9\nsearched all over")))
    *_, last = found_libraries()
    assert (last.version, last.problem) == ("", "does not work: no libcudnn.so.9")
    machine(cudnn=front_end(error=RuntimeError()))
    assert found_libraries()[-1].problem == "does not work: RuntimeError"


def test_nvrtc_that_cupy_does_not_find_is_missing(machine):
    class DynamicLibNotFoundError(RuntimeError):
        pass

    def not_found():
        raise DynamicLibNotFoundError("Failure finding libnvrtc\nlistdir")

    cupy = fake_cupy(["GPU A"])
    cupy.cuda.nvrtc.getVersion = not_found
    machine(cupy)
    nvrtc = found_libraries()[1]
    assert (nvrtc.name, nvrtc.problem) == ("NVRTC", found.NOT_FOUND)
    assert nvrtc.lost == "nothing runs on a GPU"


def test_a_module_that_cupy_itself_lacks_is_not_cupy(machine, monkeypatch):
    machine()

    def lacks(name):
        raise ModuleNotFoundError("No module named 'numpy.core'", name="numpy.core")

    monkeypatch.setattr(found, "import_module", lacks)
    assert found_libraries()[0].problem == (
        "does not work: No module named 'numpy.core'"
    )
