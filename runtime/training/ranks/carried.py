"""What layers carry from batch to batch, which ranks cannot share between them."""

from __future__ import annotations

from netspec.graph import Node
from netspec.ops.base import label
from netspec.ops.data import HDF5Output
from netspec.ops.detection_evaluate import DetectionEvaluate
from netspec.ops.detection_output import DetectionOutput
from netspec.ops.python import OwnPython, Python
from netspec.ops.recurrent import LSTM, RNN
from netspec.ops.seg_accuracy import SegAccuracy
from runtime.execution.net import Net


def carried(net: Net) -> str | None:
    """Return which layer makes a batch depend on those before, and by what, or None.

    A `Layer` in Python is an object that may keep anything; one of `netspec.layer` has
    nothing but the number of its pass.
    """
    for node in net.graph.nodes:
        why = _state(node) or written(node)
        if why is None and isinstance(node.op, Python):
            own = isinstance(node.op, OwnPython)
            why = None if own else "may keep what its code likes from batch to batch"
        if why is not None:
            return f"{label(node.layer)} {why}"
    return None


def hidden_state(net: Net) -> str | None:
    """Return which layer begins a batch with what the one before has left, or None."""
    for node in net.graph.nodes:
        why = _state(node)
        if why is not None:
            return f"{label(node.layer)} {why}"
    return None


def written(node: Node) -> str | None:
    """Say what a layer writes to files that have the batches in order, or None."""
    op = node.op
    if isinstance(op, HDF5Output):
        return f"writes its batches to {op.file_name!r}"
    if isinstance(op, DetectionOutput) and op.saving is not None:
        return "writes its detections to files"
    return None


def _state(node: Node) -> str | None:
    op = node.op
    if isinstance(op, LSTM | RNN) and not op.expose_hidden:
        return "begins a batch with the hidden state that the one before has left"
    if isinstance(op, SegAccuracy) and not op.reset:
        return "counts on from batch to batch (reset: false)"
    if isinstance(op, DetectionEvaluate) and op.name_size_file:
        return "goes through the list of images of name_size_file batch by batch"
    return None
