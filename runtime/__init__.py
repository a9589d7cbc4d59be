"""Run and train Caffe nets on NumPy or CuPy, with Caffe's semantics.

What this offers is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from netspec.schema import TEST as TEST
from netspec.schema import TRAIN as TRAIN

if TYPE_CHECKING:
    import runtime.callbacks as callbacks
    import runtime.distributed as distributed
    from netspec.weights.hdf5_file import allow_links as allow_links
    from runtime.backends import BACKENDS as BACKENDS
    from runtime.backends import get_backend as get_backend
    from runtime.checking.gradients import check_gradients as check_gradients
    from runtime.evaluation.evaluate import evaluate as evaluate
    from runtime.evaluation.predict import predict as predict
    from runtime.evaluation.results import Evaluation as Evaluation
    from runtime.execution.blob import Blob as Blob
    from runtime.execution.net import Net as Net
    from runtime.execution.python_layers.call import Call as Call
    from runtime.execution.python_layers.code import register_layer as register_layer
    from runtime.execution.python_layers.layer import Layer as Layer
    from runtime.fitting.fit import fit as fit
    from runtime.fitting.interrupted import interrupted as interrupted
    from runtime.fitting.lr_find import lr_find as lr_find
    from runtime.pictures.activations import activations as activations
    from runtime.pictures.batch import show_batch as show_batch
    from runtime.pictures.filters import filters as filters
    from runtime.training.callbacks import Callback as Callback
    from runtime.training.divergence import NonFiniteLossError as NonFiniteLossError
    from runtime.training.history import History as History
    from runtime.training.opening import get_solver as get_solver
    from runtime.training.preview import rates as rates
    from runtime.training.solver import Solver as Solver

__all__ = [
    "BACKENDS",
    "TEST",
    "TRAIN",
    "Blob",
    "Call",
    "Callback",
    "History",
    "Evaluation",
    "Layer",
    "Net",
    "NonFiniteLossError",
    "Solver",
    "callbacks",
    "activations",
    "check_gradients",
    "allow_links",
    "distributed",
    "evaluate",
    "fit",
    "filters",
    "get_backend",
    "get_solver",
    "interrupted",
    "lr_find",
    "predict",
    "rates",
    "register_layer",
    "show_batch",
]

_LAZY = {
    "BACKENDS": "runtime.backends",
    "Blob": "runtime.execution.blob",
    "Call": "runtime.execution.python_layers.call",
    "Callback": "runtime.training.callbacks",
    "Evaluation": "runtime.evaluation.results",
    "Layer": "runtime.execution.python_layers.layer",
    "Net": "runtime.execution.net",
    "History": "runtime.training.history",
    "callbacks": "runtime.callbacks",
    "check_gradients": "runtime.checking.gradients",
    "distributed": "runtime.distributed",
    "NonFiniteLossError": "runtime.training.divergence",
    "Solver": "runtime.training.solver",
    "activations": "runtime.pictures.activations",
    "allow_links": "netspec.weights.hdf5_file",
    "evaluate": "runtime.evaluation.evaluate",
    "fit": "runtime.fitting.fit",
    "filters": "runtime.pictures.filters",
    "get_backend": "runtime.backends",
    "interrupted": "runtime.fitting.interrupted",
    "lr_find": "runtime.fitting.lr_find",
    "get_solver": "runtime.training.opening",
    "predict": "runtime.evaluation.predict",
    "rates": "runtime.training.preview",
    "register_layer": "runtime.execution.python_layers.code",
    "show_batch": "runtime.pictures.batch",
}


_CALLBACKS = (
    "ActivationStats",
    "BestCheckpoint",
    "CSVLog",
    "EarlyStopping",
    "JSONLog",
    "LambdaCallback",
    "ReduceOnPlateau",
    "TensorBoard",
    "TimeLimit",
)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        from netspec.errors import did_you_mean

        known = [] if name.startswith("_") else __all__
        hint = did_you_mean(name, known)
        if name in _CALLBACKS:
            hint = f"; it is runtime.callbacks.{name}"
        elif name in ("train", "Trainer"):
            hint = "; write runtime.fit(n, (x, y), epochs=...)"
        raise AttributeError(f"module 'runtime' has no attribute {name!r}{hint}")
    module = importlib.import_module(_LAZY[name])
    return module if module.__name__ == f"runtime.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    special = (name for name in globals() if name.startswith("__"))
    return sorted({*__all__, *special})
