"""The filters of a layer as a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.graph import Graph, Node
from netspec.ops.base import label
from runtime.pictures.colours import (
    around_zero,
    check_channels,
    check_number,
    check_scale,
    colour_tiles,
    cut_note,
    finite_note,
    grey_tiles,
)
from runtime.pictures.grid import Channels, Grid, Scale
from runtime.pictures.subject import layer_of, nodes_of, trained_net_of

MOST_TILES = 256
COLOURED = 3  # channels of a filter that is shown in colour


def filters(
    net: Any,
    layer: str,
    *,
    n: int = MOST_TILES,
    channels: Channels = "bgr",
    scale: Scale = "each",
    weights: Any = None,
) -> Grid:
    """Show what a layer has learned: its filters as images, its bias left out.

        runtime.filters(net, "conv1").save("conv1.png")

    0 is grey; the largest absolute value of a filter is black or white (scale="each"),
    or that of all (scale="all"). Filters of three channels are in colour; of others
    each channel is an image of its own, a row for each filter. The filters of an
    InnerProduct layer on top of images have the shape of these; without, its matrix is
    one image.

    net: a `Net`, a `Solver`, what `fit` and `solve` return, or a net to be built with
        the file `weights`.
    n: how many images are shown at most.
    channels: what the three channels are: "bgr", as Caffe reads images, "rgb", or
        "gray" to show each by itself.

    Shapes: weights (out, in / group, height, width).

    Raises `SpecError` for a name of no layer, and for a layer without weights.
    """
    n = check_number(n)
    check_channels(channels)
    check_scale(scale)
    built = trained_net_of(net, weights)
    node = layer_of(built.graph, layer)
    blobs = built.params.get(node.name)
    if not blobs or len(blobs[0].shape) < 2:
        having = [
            one.name
            for one in nodes_of(built.graph)
            if one.params and len(built.params[one.name][0].shape) > 1
        ]
        raise SpecError(
            f"{label(node.layer)} has no filters; layers that have: "
            f"{', '.join(having) or 'none'}"
        )
    w = _four_axes(blobs[0].data, built.graph, node)
    if not w.size:
        raise SpecError(f"{label(node.layer)} has filters of shape {w.shape}: none")
    grid = _grid(w, n, channels, scale, f"filters of {node.name}")
    grid.notes += tuple(finite_note(w))
    return grid


def _grid(w: np.ndarray, n: int, channels: Channels, scale: Scale, title: str) -> Grid:
    out, depth, height, width = w.shape
    said = f"{title}, {out} of {depth} x {height} x {width}"
    if depth == 1 or (depth == COLOURED and channels != "gray"):
        tiles = colour_tiles(around_zero(w[:n], scale), channels)
        notes = list(cut_note(min(n, out), out, "filters"))
        if depth == COLOURED:
            notes.append(_colour_note(channels))
        return Grid(tiles, title=said, notes=notes)
    columns = min(depth, n)
    rows = max(1, min(out, n // columns))
    part = around_zero(w, scale)[:rows, :columns]
    notes = list(cut_note(rows * columns, out * depth, "channels of filters"))
    notes.insert(0, "each row is a filter, each column a channel of its input")
    tiles = grey_tiles(part.reshape(-1, height, width))
    return Grid(tiles, title=said, notes=notes, columns=columns)


def _colour_note(channels: Channels) -> str:
    order = "blue, green, red" if channels == "bgr" else "red, green, blue"
    other = "rgb" if channels == "bgr" else "bgr"
    return f"the channels are taken for {order}; channels={other!r} turns them round"


def _four_axes(data: np.ndarray, graph: Graph, node: Node) -> np.ndarray:
    """Return weights as filters of channels and planes.

    Shapes: (out, in, kh, kw), (out, in, k), (out, in, kd, kh, kw) or (out, in) ->
    (out, channels, h, w).
    """
    if data.ndim == 2:
        return _of_matrix(data, graph, node)
    if data.ndim == 3:
        return data[:, :, None, :]
    return data.reshape(data.shape[0], -1, *data.shape[-2:])


def _of_matrix(data: np.ndarray, graph: Graph, node: Node) -> np.ndarray:
    if node.type == "InnerProduct" and node.bottoms:
        bottom = graph.edges[node.bottoms[0]].shape
        if len(bottom) == 4 and bottom[2] * bottom[3] > 1:
            turned = node.layer.inner_product_param.transpose
            rows = data.T if turned else data
            if rows.shape[1] == int(np.prod(bottom[1:])):
                return rows.reshape(-1, *bottom[1:])
    return data[None, None]
