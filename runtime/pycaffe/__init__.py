"""pycaffe's names over this runtime.

`install()` makes `import caffe` mean this package in the whole program, and
`python -m runtime.pycaffe SCRIPT` runs a script so. What is not needed to write a net
is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from netspec.compatible import NetSpec as NetSpec
from netspec.compatible import layers as layers
from netspec.compatible import params as params
from netspec.compatible import to_proto as to_proto
from netspec.schema import TEST as TEST
from netspec.schema import TRAIN as TRAIN
from runtime.pycaffe.aliases import install as install

if TYPE_CHECKING:
    from runtime.pycaffe.classifier import Classifier as Classifier
    from runtime.pycaffe.detector import Detector as Detector
    from runtime.pycaffe.mode import has_nccl as has_nccl
    from runtime.pycaffe.mode import init_log as init_log
    from runtime.pycaffe.mode import log as log
    from runtime.pycaffe.mode import set_device as set_device
    from runtime.pycaffe.mode import set_mode_cpu as set_mode_cpu
    from runtime.pycaffe.mode import set_mode_gpu as set_mode_gpu
    from runtime.pycaffe.mode import set_multiprocess as set_multiprocess
    from runtime.pycaffe.mode import set_random_seed as set_random_seed
    from runtime.pycaffe.mode import set_solver_count as set_solver_count
    from runtime.pycaffe.mode import set_solver_rank as set_solver_rank
    from runtime.pycaffe.mode import solver_count as solver_count
    from runtime.pycaffe.mode import solver_rank as solver_rank
    from runtime.pycaffe.nccl import NCCL as NCCL
    from runtime.pycaffe.net import AdaDeltaSolver as AdaDeltaSolver
    from runtime.pycaffe.net import AdaGradSolver as AdaGradSolver
    from runtime.pycaffe.net import AdamSolver as AdamSolver
    from runtime.pycaffe.net import Layer as Layer
    from runtime.pycaffe.net import NesterovSolver as NesterovSolver
    from runtime.pycaffe.net import Net as Net
    from runtime.pycaffe.net import RMSPropSolver as RMSPropSolver
    from runtime.pycaffe.net import SGDSolver as SGDSolver
    from runtime.pycaffe.net import get_solver as get_solver
    from runtime.pycaffe.net import get_solver_from_file as get_solver_from_file
    from runtime.pycaffe.net import layer_type_list as layer_type_list
    from runtime.pycaffe.timing import Timer as Timer

__version__ = "1.0.0"  # of the pycaffe whose names these are

_MODULES = (
    "_caffe",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "io",
    "net_spec",
    "proto",
    "pycaffe",
)
_NAMES = {
    "classifier": ("Classifier",),
    "detector": ("Detector",),
    "mode": (
        "has_nccl",
        "init_log",
        "log",
        "set_device",
        "set_mode_cpu",
        "set_mode_gpu",
        "set_multiprocess",
        "set_random_seed",
        "set_solver_count",
        "set_solver_rank",
        "solver_count",
        "solver_rank",
    ),
    "net": (
        "AdaDeltaSolver",
        "AdaGradSolver",
        "AdamSolver",
        "Layer",
        "NesterovSolver",
        "Net",
        "RMSPropSolver",
        "SGDSolver",
        "get_solver",
        "get_solver_from_file",
        "layer_type_list",
    ),
    "nccl": ("NCCL",),
    "timing": ("Timer",),
}
_LAZY = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'caffe' (runtime.pycaffe) has no {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_LAZY])
