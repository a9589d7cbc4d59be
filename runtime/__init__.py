"""Run and train Caffe nets on NumPy or CuPy, with Caffe's semantics."""

from netspec.schema import TEST as TEST
from netspec.schema import TRAIN as TRAIN
from runtime.backends import BACKENDS as BACKENDS
from runtime.backends import get_backend as get_backend
from runtime.blob import Blob as Blob
from runtime.net import Net as Net
from runtime.solver import Solver as Solver
from runtime.solver import get_solver as get_solver

__all__ = [
    "BACKENDS",
    "TEST",
    "TRAIN",
    "Blob",
    "Net",
    "Solver",
    "get_backend",
    "get_solver",
]
