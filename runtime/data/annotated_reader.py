"""AnnotatedData layers of the SSD fork: images with boxes, of a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import FileError, SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import Shape, label
from netspec.room import check_room
from netspec.schema import AnnotatedDatum, LayerParameter
from runtime.counter_random import stream_keys
from runtime.data.augment import Augment, bytes_only
from runtime.data.boxes import emitted, mirrored, within
from runtime.data.colors import Distortion, to_bytes
from runtime.data.datum import picture_of
from runtime.data.draws import Draws
from runtime.data.label_map import Labels
from runtime.data.lmdb_reader import color_of, open_database
from runtime.data.sampler import FIRST_STREAM, check_samplers, draw_window
from runtime.data.source import Arrays, Place
from runtime.data.transform import Transform

COLUMNS = 8  # of a label: item, class, instance, xmin, ymin, xmax, ymax, difficult
LEAST_EXPANSION = 1e-2  # a canvas that is hardly larger is none, as in the fork


@dataclass(frozen=True)
class Scene:
    """An image and what is in it.

    Shapes: image (C, H, W), boxes (B, 4) in pixels, facts (B, 3): class, instance,
    difficult.
    """

    image: np.ndarray
    boxes: np.ndarray
    facts: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """Width and height, twice, as boxes are divided by them."""
        height, width = self.image.shape[1:]
        return np.array([width, height, width, height], np.float64)


class AnnotatedReader:
    """Batches of images and the boxes in them, over and over.

    An image is changed in this order: colours (`distort_param`), a larger canvas
    (`expand_param`), a window that a batch sampler draws, `resize_param`,
    `noise_param`, crop, mirror, mean and scale. Boxes follow every change by the pixels
    that it really moved, and are cut at the sides; those that leave the image go, as do
    those that `emit_constraint` does not keep. The fork goes by fractions before
    sizes are cut to pixels, and passes images through JPEG between the steps.

    Tops: data (N, C, H, W) and, if the layer has a second top, label (1, 1, B, 8) with
    a row for every box: item, class, instance, xmin, ymin, xmax, ymax in fractions of
    the sides, difficult. Without any box there is one row of -1. Where the database
    has no annotations, label is (N,), the label of each `Datum`.
    """

    varies: bool
    shapes: tuple[Shape, ...]

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        param, transform = layer.annotated_data_param, layer.transform_param
        check_samplers(layer)
        self._layer, self._seed = layer, seed
        self._size = layer.data_param.batch_size
        self._what, self._file = open_database(layer)
        self._names = Labels(param.label_map_file) if param.label_map_file else None
        self._emit = (
            transform.emit_constraint if transform.HasField("emit_constraint") else None
        )
        self._start = 0
        if layer.data_param.rand_skip:
            skip = stream_keys(seed, layer.name, 0, 1)[0] % layer.data_param.rand_skip
            self._start = skip
        first = self._datum(0)[0]
        self._boxed = param.HasField("anno_type") or first.HasField("type")
        channels = len(self._read(0).image)
        self._distortion = (
            Distortion(layer, channels) if transform.HasField("distort_param") else None
        )
        self._canvas = self._canvas_color(channels)
        self._augment = Augment(layer, seed, channels)
        self._transform = Transform(layer, phase, seed, self._scene(0).image.shape)
        self.varies = True
        arrays = self.read_sized(0, _host_arrays)
        self.shapes = tuple(array.shape for array in arrays)
        boxes = self._boxed and len(layer.top) > 1
        self.varies = boxes or (self._transform.varies and not self._augment.fixed)

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`, which have `shapes`."""
        self.read_sized(batch, lambda shapes: out)

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them."""
        start = batch * self._size
        scenes = [self._scene(start + index) for index in range(self._size)]
        images = [scene.image for scene in scenes]
        shape = self._transform.shape_of(images[0], start)
        labels = self._labels(scenes, start)
        shapes = ((self._size, *shape), labels.shape)
        out = place(shapes[: len(self._layer.top)])
        if len(out) > 1:
            out[1][...] = labels
        self._transform.batch(images, start, out[0])
        return out

    def close(self) -> None:
        """Close the database."""
        self._file.close()

    # ------------------------------------------------------------ reading

    def _datum(self, number: int) -> tuple[Any, str]:
        """Return item `number` since the start, and what errors call it."""
        key, value = self._file.item((number + self._start) % self._file.entries)
        what = f"{self._what}, key {key.decode(errors='replace')!r}"
        datum = AnnotatedDatum()
        try:
            datum.ParseFromString(value)
        except DecodeError:
            raise FileError(f"{what}: is no AnnotatedDatum") from None
        if not datum.HasField("datum"):
            raise FileError(
                f"{what}: is no AnnotatedDatum, as it has no image; a database of "
                f"plain images is for a Data layer, and `python -m runtime.data "
                f"annotated` makes one with boxes"
            )
        return datum, what

    def _read(self, number: int) -> Scene:
        """Return item `number` as the database has it."""
        datum, what = self._datum(number)
        image = picture_of(datum.datum, what, color=color_of(self._layer))
        if not self._boxed:
            return Scene(image, np.empty((0, 4)), np.full((1, 3), datum.datum.label))
        if not datum.HasField("type"):
            self._check_type(what)
        rows, facts = [], []
        for group in datum.annotation_group:
            for one in group.annotation:
                box = one.bbox
                rows.append((box.xmin, box.ymin, box.xmax, box.ymax))
                facts.append((group.group_label, one.instance_id, box.difficult))
        boxes = np.array(rows, np.float64).reshape(-1, 4)
        self._check(boxes, what)
        self._check_names(facts, what)
        scene = Scene(image, boxes, np.array(facts, np.float64).reshape(-1, 3))
        return replace(scene, boxes=boxes * scene.sides)

    def _check_type(self, what: str) -> None:
        if self._layer.annotated_data_param.HasField("anno_type"):
            return
        raise FileError(
            f"{what}: has no type, but the first item has one; all must have "
            f"annotations, or set annotated_data_param.anno_type"
        )

    def _check(self, boxes: np.ndarray, what: str) -> None:
        right = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(
            axis=1
        )
        if not right.all():
            bad = tuple(boxes[int(np.argmin(right))].tolist())
            raise FileError(
                f"{what}: has the box {bad} (xmin, ymin, xmax, ymax); expected finite "
                f"numbers, xmin <= xmax and ymin <= ymax"
            )

    def _check_names(self, facts: Sequence[tuple[Any, ...]], what: str) -> None:
        if self._names is None:
            return
        for number, *_ in facts:
            if number not in self._names.names:
                warn_user(
                    f"{what}: has a box of class {number}, which label_map_file "
                    f"{self._names.path} lacks",
                    SpecWarning,
                )

    # ------------------------------------------------------------ changing

    def _scene(self, number: int) -> Scene:
        """Return item `number` as it is before crop, mirror, mean and scale."""
        scene, layer = self._read(number), self._layer
        samplers = layer.annotated_data_param.batch_sampler
        draws = Draws(self._seed, layer.name, number, 1)
        if self._distortion is not None:
            bytes_only(layer, scene.image, "distort_param")
            image = self._distortion.apply(scene.image, draws)
            scene = replace(scene, image=image)
        if self._canvas is not None:
            scene = self._expanded(scene, draws)
        if len(samplers):
            streams = range(FIRST_STREAM, FIRST_STREAM + len(samplers))
            more = [Draws(self._seed, layer.name, number, one) for one in streams]
            fractions = scene.boxes / scene.sides
            window = draw_window(samplers, fractions, [draws, *more])
            if window is not None:
                scene = self._cut(scene, window)
        height, width = scene.image.shape[1:]
        image, placed = self._augment.apply(scene.image, number)
        moved = placed.boxes(scene.boxes, (height, width))
        return replace(scene, image=image, boxes=moved)

    def _canvas_color(self, channels: int) -> np.ndarray | None:
        """Return the colour around an image on a larger canvas, (C, 1, 1)."""
        transform, layer = self._layer.transform_param, self._layer
        if not transform.HasField("expand_param"):
            return None
        param, values = transform.expand_param, list(transform.mean_value) or [0.0]
        if not (param.max_expand_ratio >= 1 and 0 <= param.prob <= 1):
            raise SpecError(
                f"expand_param has max_expand_ratio {param.max_expand_ratio:g} and "
                f"prob {param.prob:g}; expected at least 1, and 0 to 1",
                layer=label(layer),
            )
        if transform.mean_file:
            raise SpecError(
                "expand_param fills the canvas with the mean; give mean_value in place "
                "of mean_file",
                layer=label(layer),
            )
        if len(values) not in (1, channels):
            values = [0.0]  # `Transform` has the error
        color = to_bytes(np.array(values)).reshape(-1, 1, 1)
        return np.broadcast_to(color, (channels, 1, 1))

    def _expanded(self, scene: Scene, draws: Draws) -> Scene:
        """Put the image somewhere on a larger canvas."""
        param, canvas = self._layer.transform_param.expand_param, self._canvas
        wanted = draws.uniform() < param.prob or param.prob == 1
        if not wanted or param.max_expand_ratio - 1 < LEAST_EXPANSION:
            return scene
        ratio = draws.uniform(1, param.max_expand_ratio)
        channels, height, width = scene.image.shape
        rows, columns = int(height * ratio), int(width * ratio)
        top = draws.below(rows - height + 1)
        left = draws.below(columns - width + 1)
        size = channels * rows * columns * scene.image.itemsize
        check_room(size, f"{label(self._layer)}: a canvas of {rows} by {columns}")
        image = np.empty((channels, rows, columns), scene.image.dtype)
        image[...] = canvas
        image[:, top : top + height, left : left + width] = scene.image
        moved = Scene(
            image, scene.boxes + np.array([left, top, left, top]), scene.facts
        )
        return self._keep(moved, np.array([0, 0, columns, rows], np.float64))

    def _cut(self, scene: Scene, window: np.ndarray) -> Scene:
        """Cut a window out, given in fractions of the sides."""
        left, top, right, bottom = np.floor(window * scene.sides + 1e-9).astype(int)
        height, width = scene.image.shape[1:]
        left, top = min(left, width - 1), min(top, height - 1)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        kept = self._keep(scene, np.array([left, top, right, bottom], np.float64))
        return replace(kept, image=scene.image[:, top:bottom, left:right])

    def _keep(self, scene: Scene, window: np.ndarray) -> Scene:
        """Return the scene with the boxes that a window keeps, as it has them."""
        if not self._boxed:
            return scene
        chosen = emitted(scene.boxes, window, self._emit)
        boxes = within(scene.boxes[chosen], window)
        return Scene(scene.image, boxes, scene.facts[chosen])

    def _labels(self, scenes: Sequence[Scene], start: int) -> np.ndarray:
        """Return the labels of a batch, after crop and mirror."""
        if not self._boxed:
            return np.array([scene.facts[0, 0] for scene in scenes], np.float32)
        resizing, found = self._augment.resizing, []
        for index, scene in enumerate(scenes):
            rows, columns, flip = self._transform.window(
                scene.image.shape, start + index
            )
            edges = (columns.start, rows.start, columns.stop, rows.stop)
            scene = self._keep(scene, np.array(edges, np.float64))
            height, width = rows.stop - rows.start, columns.stop - columns.start
            boxes = mirrored(scene.boxes, width) if flip else scene.boxes
            frame = (height, width)
            if resizing is not None and resizing.frame is not None:
                frame = self._frame(resizing.frame, frame)
            boxes = boxes / np.array([frame[1], frame[0]] * 2, np.float64)
            items = np.full((len(boxes), 1), index)
            parts = (items, scene.facts[:, :2], boxes, scene.facts[:, 2:])
            found.append(np.concatenate(parts, axis=1))
        rows_of_all = np.concatenate(found)
        if len(rows_of_all) == 0:
            rows_of_all = np.full((1, COLUMNS), -1)
        return rows_of_all.astype(np.float32).reshape(1, 1, -1, COLUMNS)

    def _frame(self, frame: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
        """Return what boxes are fractions of: height_scale and width_scale."""
        if frame[0] > size[0] or frame[1] > size[1]:
            raise SpecError(
                f"resize_param has height_scale {frame[0]} and width_scale {frame[1]}; "
                f"expected at most the size of the image, {size[0]} by {size[1]}",
                layer=label(self._layer),
            )
        return frame


def _host_arrays(shapes: Sequence[Shape]) -> Arrays:
    return [np.empty(shape, np.float32) for shape in shapes]
