"""The images of a batch, with their labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.graph import Node
from netspec.schema import LayerParameter
from runtime.data.lists import read_names
from runtime.data.mean_file import read_any_mean
from runtime.execution.net import Net
from runtime.pictures.colours import (
    check_channels,
    check_number,
    colour_tiles,
    cut_note,
    finite_note,
    from_least,
)
from runtime.pictures.grid import Channels, Grid
from runtime.pictures.subject import check_inputs, net_of, nodes_of, run_before

MOST_LABELS = 4  # values of a label that has several
BYTE = 255.0
COLOURS = (1, 3)  # channels of images that are grey or have colours
Names = Sequence[str] | Mapping[int, str] | str | Path | None


@dataclass
class _Batch:
    """Images (n, c, h, w) and their labels (n, ...), if there are any."""

    images: np.ndarray
    labels: np.ndarray | None
    layer: LayerParameter | None = None
    names: Sequence[str] = ()


def show_batch(
    data: Any,
    n: int = 16,
    *,
    names: Names = None,
    channels: Channels = "bgr",
    undo: bool = True,
    batch: int = 0,
    weights: Any = None,
) -> Grid:
    """Show the first images of a batch, with their labels below.

        runtime.show_batch(solver.net)
        runtime.show_batch((x, y), names=["cat", "dog"])

    Of a net these are the images that it sees: those of its last pass, or of the first
    batch of its data layers if there was none. Where their `transform_param` has a
    mean or a scale, that is undone (undo=False leaves it). Then values from 0 to 1, or
    from 0 to 255, are shown as they are, and others so that the least of the batch is
    black and the largest white, which the grid says.

    data: a `Net`, a `Solver`, what `fit` and `solve` return, or a net to be built; or
        what `fit` takes as arrays: (x, y), x alone or a dict by names; or a data set as
        `open_dataset` returns it.
    n: how many images. batch: which one of a data set.
    names: of the classes, as a list, a dict by label or a file with one on each line.
    channels: what three channels are: "bgr", as Caffe and this runtime read images,
        "rgb", or "gray" to show the first alone.

    Shapes: images (N, 1 or 3, height, width), or (N, height, width).

    Raises `SpecError` where there are no images, and for a net of inputs that got none.
    """
    n = check_number(n)
    check_channels(channels)
    found = _batch_of(data, batch, weights)
    pixels, notes = _pixels(found, undo)
    count = len(pixels)
    pixels = pixels[:n]
    depth = pixels.shape[1]
    if depth not in COLOURS or channels == "gray":
        if depth > 1:
            notes.append(f"the first of {depth} channels is shown")
        pixels = pixels[:, :1]
    elif depth == 3:
        order = "blue, green, red" if channels == "bgr" else "red, green, blue"
        other = "rgb" if channels == "bgr" else "bgr"
        notes.append(f"channels are taken for {order}; channels={other!r} turns them")
    captions: list[str] = []
    if found.labels is not None:
        captions = _captions(found.labels[:n], _names(names) or _numbered(found.names))
    size = " x ".join(map(str, found.images.shape[1:]))
    title = f"batch of {count} images, {size}"
    return Grid(
        colour_tiles(pixels, channels),
        title=title,
        captions=captions,
        notes=[*cut_note(min(n, count), count, "images"), *notes],
    )


# ---------------------------------------------------------------- where they come from


def _batch_of(data: Any, number: int, weights: Any) -> _Batch:
    if hasattr(data, "batch") and hasattr(data, "names") and hasattr(data, "shapes"):
        arrays = dict(zip(data.names, data.batch(number), strict=True))
        classes = getattr(data, "classes", ())
        return _of_arrays(arrays, names=classes)
    if isinstance(data, Mapping) and not hasattr(data, "to_proto"):
        return _of_arrays({name: np.asarray(a) for name, a in data.items()})
    if isinstance(data, np.ndarray):
        return _of_arrays({"x": data})
    if isinstance(data, tuple | list):
        return _of_arrays({str(i): np.asarray(a) for i, a in enumerate(data)})
    return _of_net(net_of(data, weights))


def _of_arrays(arrays: Mapping[str, np.ndarray], names: Sequence[str] = ()) -> _Batch:
    # Grey images may come without an axis for their channel.
    image = next((n for n, a in arrays.items() if _is_image(a.shape)), None)
    image = image or next((n for n, a in arrays.items() if a.ndim == 3), None)
    if image is None:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise SpecError(
            f"there are no images in the data, whose shapes are {shapes}; expected "
            f"(N, channels, height, width) or (N, height, width)"
        )
    images = arrays[image]
    images = images[:, None] if images.ndim == 3 else images
    if images.shape[1] not in COLOURS and images.shape[3] in COLOURS:
        raise SpecError(
            f"the images have shape {images.shape}, with channels last; a net takes "
            f"(N, channels, height, width): give x.transpose(0, 3, 1, 2)"
        )
    count = len(images)
    labels = [a for n, a in arrays.items() if n != image and a.shape[:1] == (count,)]
    return _Batch(images, labels[0] if labels else None, names=names)


def _is_image(shape: Sequence[int]) -> bool:
    return len(shape) == 4 and shape[2] * shape[3] > 1


def _of_net(net: Net) -> _Batch:
    graph = net.graph
    makers = [node for node in nodes_of(graph) if not node.bottoms and node.tops]
    node, images = _image_top(net, makers)
    if not run_before(net):
        _run_sources(net, makers)
    tops = [graph.edges[top].blob for maker in (node, *makers) for top in maker.tops]
    count = net.blobs[images].shape[0]
    others = [b for b in dict.fromkeys(tops) if b != images]
    labels = next(
        (b for b in others if net.blobs[b].shape[:1] == (count,) and _small(net, b)),
        None,
    )
    values = None if labels is None else np.array(net.blobs[labels].data)
    return _Batch(np.array(net.blobs[images].data), values, node.layer)


def _image_top(net: Net, makers: Sequence[Node]) -> tuple[Node, str]:
    for node in makers:
        for top in node.tops:
            edge = net.graph.edges[top]
            if _is_image(edge.shape):
                return node, edge.blob
    made = [
        f"{edge.blob} {edge.shape}"
        for node in makers
        for edge in (net.graph.edges[top] for top in node.tops)
    ]
    raise SpecError(
        f"the net takes no images; what it takes is {', '.join(made) or 'nothing'}"
    )


def _run_sources(net: Net, makers: Sequence[Node]) -> None:
    """Let data layers read a batch; inputs hold what they were given."""
    sources = [node for node in makers if node.type != "Input"]
    if sources:
        net.forward(end=sources[-1].name)
    else:
        check_inputs(net, "the arrays themselves")


def _small(net: Net, blob: str) -> bool:
    shape = net.blobs[blob].shape
    return int(np.prod(shape[1:])) <= BYTE and not _is_image(shape)


# ---------------------------------------------------------------- how they are shown


def _pixels(found: _Batch, undo: bool) -> tuple[np.ndarray, list[str]]:
    """Return the images as uint8, and what to say of their values."""
    images = np.asarray(found.images, np.float64)
    if not images.size:
        raise SpecError(f"the batch is empty: its shape is {images.shape}")
    notes = [*finite_note(images)]
    images = np.nan_to_num(images, posinf=0, neginf=0)
    if undo and found.layer is not None:
        images, said = _undone(images, found.layer)
        notes += said
    low, high = float(images.min()), float(images.max())
    slack = 1e-3 * max(abs(low), abs(high))
    if low >= -slack and high <= 1 + 1e-6:
        return np.rint(np.clip(images, 0, 1) * BYTE).astype(np.uint8), notes
    if low >= -slack - 0.5 and high <= BYTE + 0.5 + slack:
        return np.rint(np.clip(images, 0, BYTE)).astype(np.uint8), notes
    notes.append(f"values from {low:.4g} (black) to {high:.4g} (white)")
    return from_least(images, "all"), notes


def _undone(images: np.ndarray, layer: LayerParameter) -> tuple[np.ndarray, list[str]]:
    """Return pixels again: y / scale + mean, and what was undone.

    Of a mean image its mean over rows and columns is taken: where it was cropped is
    not known any more.
    """
    param, said = layer.transform_param, []
    if not layer.HasField("transform_param"):
        return images, []
    if param.scale not in (0, 1):
        images = images / param.scale
        said.append(f"scale {param.scale:g}")
    if param.mean_value:
        images = images + np.array(param.mean_value).reshape(1, -1, 1, 1)
        said.append("mean_value")
    elif param.mean_file:
        mean = read_any_mean(layer, param.mean_file)
        mean = mean.reshape(-1, *mean.shape[-2:]) if mean.ndim > 1 else mean
        images = images + mean.mean(axis=(1, 2)).reshape(1, -1, 1, 1)
        said.append("the mean over mean_file")
    return images, [f"undone: {', '.join(said)}"] if said else []


def _captions(labels: np.ndarray, names: Mapping[int, str]) -> list[str]:
    return [_caption(np.ravel(label), names) for label in labels]


def _caption(values: np.ndarray, names: Mapping[int, str]) -> str:
    words = [_word(value, names) for value in values[:MOST_LABELS].tolist()]
    return ", ".join(words) + (" ..." if len(values) > MOST_LABELS else "")


def _word(value: Any, names: Mapping[int, str]) -> str:
    if isinstance(value, str | bytes):
        return str(value)
    if isinstance(value, int | bool) or float(value).is_integer():
        return names.get(int(value), str(int(value)))
    return f"{value:.4g}"


def _names(names: Names) -> Mapping[int, str]:
    if names is None:
        return {}
    if isinstance(names, Mapping):
        return {int(label): str(name) for label, name in names.items()}
    if isinstance(names, str | os.PathLike):
        return _numbered(read_names(names))
    return _numbered(list(map(str, names)))


def _numbered(names: Sequence[str]) -> Mapping[int, str]:
    return dict(enumerate(names))
