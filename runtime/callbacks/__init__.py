"""Callbacks that are ready to use: stopping early, the best weights, rates, logs."""

from runtime.callbacks.activation_stats import ActivationStats as ActivationStats
from runtime.callbacks.best_checkpoint import BestCheckpoint as BestCheckpoint
from runtime.callbacks.early_stopping import EarlyStopping as EarlyStopping
from runtime.callbacks.logs import CSVLog as CSVLog
from runtime.callbacks.logs import JSONLog as JSONLog
from runtime.callbacks.reduce_on_plateau import ReduceOnPlateau as ReduceOnPlateau
from runtime.callbacks.simple import LambdaCallback as LambdaCallback
from runtime.callbacks.simple import TimeLimit as TimeLimit
from runtime.callbacks.tensorboard import TensorBoard as TensorBoard
from runtime.training.callbacks import Callback as Callback

__all__ = [
    "ActivationStats",
    "BestCheckpoint",
    "CSVLog",
    "Callback",
    "EarlyStopping",
    "JSONLog",
    "LambdaCallback",
    "ReduceOnPlateau",
    "TensorBoard",
    "TimeLimit",
]
