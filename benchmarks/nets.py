"""The nets that are measured, with Input layers in the place of data."""

from __future__ import annotations

import platform
import resource
from pathlib import Path
from typing import Any

from netspec import NetSpec, P
from netspec import layers as L
from netspec.commands.model_files import load_model
from netspec.nets.current import current
from netspec.nets.filter import filter_net, merge_state
from netspec.schema import TRAIN, NetParameter

ROOT = Path(__file__).resolve().parents[1]
# The models of this project, and the batch that they are trained with here.
MODELS = {
    "lenet": 64,
    "cifar10_full": 100,
    "caffenet": 32,
    "googlenet": 16,
    "resnet50": 8,
    "mnist_autoencoder": 100,
}
CHAIN_LAYERS = 1000
CHAIN_BATCH, CHAIN_WIDTH = 4, 16
DEFAULT_BATCH = 16
STEPS = 20  # of a sequence


def train_net(name: str, batch: int | None = None) -> NetParameter:
    """Return the train net of a prototxt, of a model of this project, or the chain.

    batch: of a model; else the one listed above. Of an LSTM it is the number of
    sequences, of STEPS words each.
    """
    if name.endswith(".prototxt"):
        return current(Path(name))
    if name == "chain":
        return chain(CHAIN_LAYERS)
    path = str(ROOT / "models" / f"{Path(name).stem}.py")
    batch = batch or MODELS.get(Path(name).stem, DEFAULT_BATCH)
    if Path(name).stem == "mnist_autoencoder":
        net = load_model(path, batch_size=batch)
        return with_inputs(net, [[batch, 1, 28, 28]])
    if Path(name).stem.startswith("lstm"):
        return with_inputs(load_model(path, batch_size=STEPS), [[STEPS, batch]] * 3)
    deploy = current(load_model(path, deploy=True))
    image = list(deploy.layer[0].input_param.shape[0].dim)[1:]
    net = load_model(path, batch_size=batch)
    return with_inputs(net, [[batch, *image], [batch]])


def deploy_net(name: str, batch: int) -> NetParameter:
    """Return the net of a model of this project for use."""
    net = current(load_model(str(ROOT / "models" / f"{name}.py"), deploy=True))
    net.layer[0].input_param.shape[0].dim[0] = batch
    return net


def with_inputs(train: NetParameter, shapes: list[list[int]]) -> NetParameter:
    """Replace the data layer of a train net by Input layers of these shapes."""
    train = current(train)
    net = filter_net(train, merge_state(train, TRAIN))
    layers = list(net.layer)
    del net.layer[:]
    for layer in layers:
        if layer.bottom:
            net.layer.append(layer)
            continue
        for top, shape in zip(layer.top, shapes, strict=True):
            new = net.layer.add(name=top, type="Input", top=[top])
            new.input_param.shape.add(dim=shape)
    return net


def chain(length: int) -> NetParameter:
    """Return a net of many layers with next to nothing to compute in each."""
    n = NetSpec("Chain")
    shape = dict(dim=[CHAIN_BATCH, CHAIN_WIDTH])
    n.data = L.Input(shape=shape)
    n.label = L.Input(shape=shape)
    x: Any = n.data
    kinds = (
        lambda x: L.InnerProduct(
            x, num_output=CHAIN_WIDTH, weight_filler=dict(type="xavier")
        ),
        lambda x: L.ReLU(x, in_place=True),
        lambda x: L.Scale(x, bias_term=True),
        lambda x: L.Eltwise(x, n["data"], operation=P.Eltwise.SUM),
    )
    for number in range(length - 1):
        x = n[f"layer{number}"] = kinds[number % len(kinds)](x)
    n.loss = L.EuclideanLoss(x, n["label"])
    return n.to_proto()


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    try:  # on Linux, getrusage also counts what the parent had when it forked
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if platform.system() == "Darwin" else peak / 2**10
