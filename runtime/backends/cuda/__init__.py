"""The NVIDIA backend: own kernels, libraries of products and convolutions, graphs.

`backend` chooses kernels, `arrange` where blobs lie, `table` says which layer type has
own kernels in `layers/`, whose sources are in `kernels/`; `machine/` is what talks to
the device. What has no own kernel runs on the portable ones over CuPy.
"""

from runtime.backends.cuda.backend import CudaBackend as CudaBackend


def cupy_backend(number: int = 0, **options: bool) -> CudaBackend:
    """Return the backend of a GPU; raises `MachineError` where that cannot be.

    options: those of `CudaBackend`.
    """
    from runtime.backends.cuda.machine.cupy_device import CupyDevice

    return CudaBackend(CupyDevice(number), **options)
