"""The table of models and readers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from netspec.catalogue.table import LAYER_TYPES
from netspec.commands.model_files import load_model
from netspec.schema import NetParameter
from runtime.layers import portable_kernels
from tools.interop.attempt import TITLES, TRIED, Outcome, attempt
from tools.interop.nets import computed

MODELS = Path(__file__).resolve().parents[2] / "models"
PATIENCE_S = 300
# Where a batch of two of the sizes that a model has would take long: what is set.
SETTINGS: Mapping[str, Sequence[str]] = {
    "fast_rcnn": ("regions=3",),
    "fcn16s": ("height=48", "width=64"),
    "fcn32s": ("height=48", "width=64"),
    "fcn8s": ("height=48", "width=64"),
    "lrcn": ("steps=2", "clips=1"),
    "lstm_language_model": ("batch_size=3", "streams=2"),
    "lstm_sequence": ("batch_size=4", "streams=2"),
    "unrolled_rnn": ("batch_size=4", "streams=2"),
    "vgg16": ("batch_size=1",),
    "vgg19": ("batch_size=1",),
}
DEFAULT = ("batch_size=2",)
SHAPES = {"mnist_autoencoder": {"data": (2, 1, 28, 28)}}


def names() -> list[str]:
    """Return the names of all models."""
    return sorted(path.stem for path in MODELS.glob("*.py"))


def net_of(name: str) -> NetParameter:
    """Return a model's net for use, with a small batch."""
    path = MODELS / f"{name}.py"
    if name in SHAPES:
        return load_model(path, deploy=True, shapes=SHAPES[name])
    return load_model(path, deploy=True, settings=SETTINGS.get(name, DEFAULT))


def outcomes(name: str) -> dict[str, Outcome]:
    """Run one model in all readers."""
    net = net_of(name)
    missing = sorted(
        {layer.type for layer in net.layer if layer.type not in portable_kernels()}
    )
    if missing:
        reason = f"not compared: `runtime` does not run {' and '.join(missing)}"
        return {reader: Outcome(None, reason) for reader in TRIED}
    done = computed(net)
    return {reader: attempt(reader, done, PATIENCE_S) for reader in TRIED}
