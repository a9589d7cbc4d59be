"""LSTM and RNN layers beside PyTorch's: `python benchmarks/recurrent.py`.

A training step is forward, backward down to the input, and the gradients of all
parameters; both sides have the same parameters, input and gradient of the output, in
one process, taking turns. Our RNN has a matrix more, from the hidden state to the
output, as Caffe's has. What both compute is compared first.
"""

from __future__ import annotations

import argparse
import os
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import peers
from tables import markdown, write_into
from torch_net import load_lstm
from turns import processor, take_turns
from values import SEED

import netspec
import runtime

TOLERANCE = 1e-4
SIZES = ["50:32:256", "20:1:256", "20:16:512"]


def our_net(kind: str, steps: int, batch: int, width: int, *, train: bool) -> Any:
    """Return a net of one recurrent layer."""
    n = netspec.NetSpec(kind)
    n.x = netspec.layers.Input(shape=dict(dim=[steps, batch, width]))
    n.cont = netspec.layers.Input(shape=dict(dim=[steps, batch]))
    layer = getattr(netspec.layers, kind)
    n.y = layer(
        n.x,
        n.cont,
        num_output=width,
        weight_filler=dict(type="uniform", min=-0.1, max=0.1),
        bias_filler=dict(type="uniform", min=-0.1, max=0.1),
    )
    param = n.to_proto()
    param.force_backward = train
    net = runtime.Net(
        param, runtime.TRAIN if train else runtime.TEST, keep=("x", "y"), seed=SEED
    )
    rng = np.random.default_rng(SEED)
    net.blobs["x"].data[...] = rng.normal(size=(steps, batch, width))
    net.blobs["cont"].data[...] = 1
    net.blobs["cont"].data[0] = 0
    return net


def our_step(net: Any, gradient: np.ndarray) -> Any:
    """Return a training step of our net."""

    def step() -> None:
        net.forward_steps()
        net.blobs["y"].diff[...] = gradient
        net.backward()

    return step


def their_layer(kind: str, net: Any, width: int) -> Any:
    """Return PyTorch's layer with our parameters."""
    import torch

    values = [torch.from_numpy(blob.data.copy()) for blob in net.params["y"]]
    if kind == "LSTM":
        layer: Any = torch.nn.LSTM(width, width)
        load_lstm(layer, *values)
        return layer
    layer = torch.nn.RNN(width, width)
    w_x, bias, w_h = values[:3]
    layer.weight_ih_l0.data.copy_(w_x)
    layer.bias_ih_l0.data.copy_(bias)
    layer.weight_hh_l0.data.copy_(w_h)
    layer.bias_hh_l0.data.zero_()
    return layer


def compare(kind: str, size: str, seconds: float) -> list[list[str]]:
    """Measure one layer at one size, and return the rows of its two passes."""
    import torch

    steps, batch, width = map(int, size.split(":"))
    use = our_net(kind, steps, batch, width, train=False)
    learns = our_net(kind, steps, batch, width, train=True)
    layer = their_layer(kind, use, width)
    x = torch.from_numpy(np.array(use.blobs["x"].data)).requires_grad_()
    gradient = np.random.default_rng(SEED).normal(size=(steps, batch, width))
    gradient = gradient.astype(np.float32)

    def their_use() -> Any:
        with torch.inference_mode():
            return layer(x)[0]

    def their_step() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x)[0].backward(torch.from_numpy(gradient))

    step = our_step(learns, gradient)
    use.forward()
    if kind == "LSTM":
        apart = np.abs(use.blobs["y"].data - their_use().numpy()).max()
        step()
        their_step()
        ours = np.array(learns.blobs["x"].diff)
        apart = max(apart, np.abs(ours - x.grad.numpy()).max() / np.abs(ours).max())
        if not apart <= TOLERANCE:
            raise SystemExit(f"{kind}: the results differ by {apart}")
    rows = []
    runs = {
        "forward": {"ours": use.forward_steps, "PyTorch": their_use},
        "training step": {"ours": step, "PyTorch": their_step},
    }
    for what, sides in runs.items():
        turns = take_turns(sides, seconds)
        low, high = turns.quartiles("PyTorch", "ours")
        row = [
            f"{kind} {what}, {steps} x {batch} x {width}",
            f"{1000 * turns.sides['ours'].median:.2f}",
            f"{1000 * turns.sides['PyTorch'].median:.2f}",
            f"**{turns.ratio('PyTorch', 'ours'):.2f}**",
            f"{low:.2f} to {high:.2f}",
            "" if turns.others is None else f"{turns.others:.0%}",
        ]
        print(f"| {' | '.join(row)} |", flush=True)
        rows.append(row)
    return rows


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="LSTM and RNN beside PyTorch's.")
    add = parser.add_argument
    add("sizes", nargs="*", default=SIZES, help="steps:sequences:width")
    add("--seconds", type=float, default=6, help="for each row, at least")
    add("--write", type=Path, help="write the table into this file")
    options = parser.parse_args()
    threads = os.cpu_count() or 1
    peers.use_threads(threads)
    rows = [
        row
        for size in options.sizes
        for kind in ("LSTM", "RNN")
        for row in compare(kind, size, options.seconds)
    ]
    heads = ["steps x sequences x width", "ours", "PyTorch", "ratio", "its quartiles"]
    text = f"{date.today()}, {processor()}, {threads} threads; milliseconds."
    table = markdown([*heads, "others"], rows)
    if options.write:
        write_into(options.write, f"{text}\n\n{table}", "recurrent")


if __name__ == "__main__":
    main()
