"""The table of models and readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from netspec.commands.model_files import load_model
from netspec.readers.form import plain_form
from netspec.schema import NetParameter
from runtime.layers import portable_kernels
from tools.interop.attempt import TRIED, Outcome, attempt, refusal
from tools.interop.nets import computed, with_ones

MODELS = Path(__file__).resolve().parents[2] / "models"
PATIENCE_S = 300
# Where a batch of two of the sizes that a model has would take long: what is set.
SETTINGS: Mapping[str, Sequence[str]] = {
    "fast_rcnn": ("regions=3",),
    "faster_rcnn": ("proposal=compiled",),
    "fcn16s": ("height=48", "width=64"),
    "fcn32s": ("height=48", "width=64"),
    "fcn8s": ("height=48", "width=64"),
    "lrcn": ("steps=2", "clips=1"),
    "lstm_language_model": ("batch_size=3", "streams=2"),
    "lstm_sequence": ("batch_size=4", "streams=2"),
    "rfcn": ("proposal=compiled", "depth=18", "height=224", "width=224"),
    "pspnet": ("size=49",),
    "segnet": ("height=45", "width=70"),
    "ssd512": ("batch_size=1",),
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


def inputs_of(name: str) -> str:
    """Return the inputs of a model as its row has them: `data` 2x3x224x224."""
    return ", ".join(
        f"`{top}` {'x'.join(map(str, shape.dim))}"
        for layer in plain_form(net_of(name)).net.layer
        for top in layer.top
        for shape in layer.input_param.shape
    )


def outcomes(name: str) -> dict[str, Outcome]:
    """Run one model in all readers."""
    net = net_of(name)
    types = {layer.type for layer in net.layer}
    missing = sorted(types - portable_kernels().keys())
    if missing:
        reason = (
            f"`runtime` does not run {', '.join(missing)}; tests compare such layers "
            f"with references"
        )
        return {reader: _not_compared(reader, net, reason) for reader in TRIED}
    done = computed(net)
    return {reader: attempt(reader, done, PATIENCE_S) for reader in TRIED}


def _not_compared(reader: str, net: NetParameter, reason: str) -> Outcome:
    if why := refusal(reader, with_ones(net)):
        return Outcome(None, "refused", why)
    return Outcome(None, "not compared", reason)
