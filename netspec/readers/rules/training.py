"""Losses, measures and Python: what is no part of a net for use."""

from __future__ import annotations

from netspec.catalogue import LAYER_TYPES
from netspec.readers.reader import READERS
from netspec.readers.rule import Rule, refused

_LOSSES = tuple(name for name in LAYER_TYPES if name.endswith("Loss"))
_MEASURES = ("Accuracy", "DetectionEvaluate", "HDF5Output", "SegAccuracy")
_ADVICE = "has none; give the net for use: --deploy, or netspec.deploy(net)"
_OTHERS = [name for name in READERS if name != "caffe"]

RULES = (
    Rule(
        name="for-training",
        types=(*_LOSSES, *_MEASURES),
        says="a layer for training and testing",
        readers={name: refused(_ADVICE) for name in _OTHERS},
        applies=lambda _: True,
    ),
    Rule(
        name="python",
        types=("Python",),
        says="a layer written in Python",
        readers={name: refused("cannot run it") for name in _OTHERS},
        applies=lambda _: True,
    ),
)
