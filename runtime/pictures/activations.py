"""What a layer or a module makes of an image, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError
from runtime.execution.net import Net
from runtime.pictures.colours import (
    check_number,
    check_scale,
    cut_note,
    finite_note,
    from_least,
    grey_tiles,
    planes,
)
from runtime.pictures.grid import Grid, Scale
from runtime.pictures.subject import (
    blob_of,
    check_inputs,
    run_before,
    takes_by_hand,
    trained_net_of,
)

MOST_TILES = 64


def activations(
    net: Any,
    name: str,
    x: Any = None,
    *,
    item: int = 0,
    n: int = MOST_TILES,
    scale: Scale = "all",
    weights: Any = None,
) -> Grid:
    """Show the values of a blob for one item of the batch, an image a channel.

        runtime.activations(net, "inception_3a", image).save("inception_3a.png")

    The least value is black and the largest white, of all channels (scale="all") or of
    each. A blob without rows and columns is one image whose rows are the items.

    net: a `Net`, a `Solver`, what `fit` and `solve` return, or a net to be built with
        the file `weights`.
    name: of a blob, of a layer, whose first top is shown, or of a module, whose output
        is.
    x: what goes in: a dict by the names of inputs, or an array for the only one, as the
        net takes it (see `show_batch`), of a whole batch or a part of it. Without it
        it is what the inputs hold; of a net with data of its own the last batch, or the
        first one.
    item: its place in the batch. n: how many channels are shown at most.

    Shapes: blob (N, C, height, width).

    Raises `SpecError` for a name of nothing, for a blob that is not kept, and without x
    where inputs hold nothing; `ShapeError` for x of another shape than the input.
    """
    n = check_number(n)
    check_scale(scale)
    built = trained_net_of(net, weights)
    blob = blob_of(built.graph, name)
    if x is not None:
        _put_all(built, x)
    elif takes_by_hand(built):
        check_inputs(built, "x")
    if x is not None or takes_by_hand(built) or not run_before(built):
        _run(built, blob)
    data = np.asarray(built.blobs[blob].data)
    if not data.size:
        raise SpecError(f"blob {blob!r} has shape {data.shape}: no values to show")
    shown = blob if name == blob else f"{name} ({blob})"
    if data.ndim < 3:
        tiles = grey_tiles(from_least(planes(data), scale))
        notes = ["each row is an item of the batch"] if data.ndim == 2 else []
        notes += finite_note(data)
        return Grid(tiles, title=f"values of {shown}", notes=notes)
    if not 0 <= item < len(data):
        raise SpecError(
            f"item is {item}, but the batch has {len(data)}: expected 0 to "
            f"{len(data) - 1}"
        )
    one = data[item]
    every = planes(one if one.ndim > 2 else one[:, None])
    notes = [*cut_note(min(n, len(every)), len(every), "channels"), *finite_note(one)]
    size = " x ".join(map(str, every.shape[1:]))
    title = f"activations of {shown}, item {item}, {len(every)} of {size}"
    tiles = grey_tiles(from_least(every, scale)[:n])
    return Grid(tiles, title=title, notes=notes)


def _put_all(net: Net, x: Any) -> None:
    """Let inputs hold x."""
    inputs = net.inputs
    if not inputs:
        raise SpecError(
            "x is given, but the net has no inputs: its data come from its own layers; "
            "leave x out to see the last batch, or give a net for use (netspec.deploy)"
        )
    if isinstance(x, Mapping):
        given = dict(x)
    elif len(inputs) == 1:
        given = {inputs[0]: x}
    else:
        pictures = [i for i in inputs if len(net.blobs[i].shape) == 4] or inputs
        given = {pictures[0]: x}
    net.refuse_by_hand(given)
    for name, value in given.items():
        if name not in inputs:
            raise SpecError(f"{name!r} is no input of the net; it has {inputs}")
        _put(net, name, value)


def _run(net: Net, blob: str) -> None:
    """Run forward up to what makes a blob."""
    edge = net.graph.blobs[blob]
    last = max(
        node.index
        for node in net.graph.nodes
        if any(net.graph.edges[top].blob == blob for top in node.tops)
        or edge in node.tops
    )
    net.forward(end=net.graph.nodes[last].name)


def _put(net: Net, name: str, value: Any) -> None:
    target = net.blobs[name].data
    try:
        array = np.asarray(value, target.dtype)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"x for input {name!r} is no array of numbers: {error}"
        ) from None
    if array.ndim == target.ndim - 1:
        array = array[None]
    if array.shape[1:] != target.shape[1:] or not 0 < len(array) <= len(target):
        raise ShapeError(
            f"x has shape {np.shape(value)}, but input {name!r} has {target.shape}; "
            f"give an item of shape {target.shape[1:]}, or up to {len(target)} of them"
        )
    target[: len(array)] = array
