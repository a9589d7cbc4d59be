"""WindowData layers: labelled windows of images, for training detectors (R-CNN)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.files import read_bytes
from netspec.ops.base import Shape, check_count, label
from netspec.schema import LayerParameter
from runtime.data.augment import warn_of_unread
from runtime.data.draws import Draws
from runtime.data.images import decode, resize
from runtime.data.lists import read_lines
from runtime.data.mean_file import MAKE_ONE, read_any_mean

CROP_MODES = ("warp", "square")
NUMBERS = 6  # of a window in the file: class, overlap, x1, y1, x2, y2


@dataclass(frozen=True)
class Window:
    """A window of an image, its sides included, in pixels."""

    image: int
    label: int
    sides: tuple[int, int, int, int]


class WindowReader:
    """Batches of windows, drawn anew for every batch.

    A batch has `batch_size` * `fg_fraction` windows, cut to a whole number, of the
    foreground, behind those of the background, whose label is 0. Of the foreground are
    windows whose overlap with an object is at least `fg_threshold`, of the background
    those below `bg_threshold`. Each is scaled to crop_size by crop_size; `context_pad`
    pixels on every side then show what is around it, and `crop_mode: "square"` takes
    the tightest square around it. What lies beyond the image is 0, after the mean.

    The file has for every image `# number`, its path, channels, height, width and
    number of windows, then a line `class overlap x1 y1 x2 y2` for each of these.

    Tops: data (N, C, crop_size, crop_size), label (N,).
    """

    varies = False

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        self._layer, self._seed = layer, seed
        self._param = param = layer.window_data_param
        transform = layer.transform_param
        self._crop = transform.crop_size or param.crop_size
        self._mirror = transform.mirror or param.mirror
        self._check()
        self._paths: list[Path] = []
        self._kept: dict[int, bytes] = {}
        self._foreground: list[Window] = []
        self._background: list[Window] = []
        channels = self._read_windows()
        self._front = int(param.batch_size * param.fg_fraction)
        self._check_windows()
        self._scale = transform.scale
        self._mean = self._read_mean(channels)
        images = (param.batch_size, channels, self._crop, self._crop)
        check_count(layer, "top 0", images)
        self.shapes: tuple[Shape, ...] = (images, images[:1])[: len(layer.top)]

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`."""
        out[0].fill(0)
        behind = self._param.batch_size - self._front
        for index in range(self._param.batch_size):
            number = batch * self._param.batch_size + index
            draws = Draws(self._seed, self._layer.name, number)
            windows = self._background if index < behind else self._foreground
            chosen = windows[draws.below(len(windows))]
            flip = bool(self._mirror and draws.below(2))
            self._cut(chosen, out[0][index], flip=flip)
            if len(out) > 1:
                out[1][index] = chosen.label

    def close(self) -> None:
        """Do nothing: no file stays open."""

    # ------------------------------------------------------------ windows

    def _cut(self, window: Window, out: np.ndarray, *, flip: bool) -> None:
        """Scale a window into its place. Shapes: out (C, crop, crop), of zeros."""
        path = self._paths[window.image]
        what = f"{label(self._layer)}: image {path}"
        data = self._kept.get(window.image, path)
        image = decode(data, what, color=len(out) == 3)
        part, (height, width), (top, left) = self._placed(
            window, image, flip=flip, what=what
        )
        scaled = resize(part, height, width).astype(np.float32)
        if flip:
            scaled = scaled[:, :, ::-1]
        if self._mean is not None:
            scaled -= self._mean[:, top : top + height, left : left + width]
        out[:, top : top + height, left : left + width] = scaled * np.float32(
            self._scale
        )

    def _placed(
        self, window: Window, image: np.ndarray, *, flip: bool, what: str
    ) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
        """Return what is cut out, the size that it gets, and where its corner goes."""
        x1, y1, x2, y2 = window.sides
        height, width = image.shape[1:]
        if not (0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height):
            raise FileError(
                f"{what}: has the window {window.sides} (x1, y1, x2, y2), which is "
                f"none of an image of {height} by {width} (height, width)"
            )
        size, square = self._crop, self._param.crop_mode == "square"
        if not (self._param.context_pad or square):
            return image[:, y1 : y2 + 1, x1 : x2 + 1], (size, size), (0, 0)
        context = size / (size - 2 * self._param.context_pad)
        half = np.array([y2 - y1 + 1, x2 - x1 + 1]) / 2
        centre = np.array([y1, x1]) + half
        reach = np.full(2, half.max()) if square else half
        first = _rounded(centre - reach * context)
        last = _rounded(centre + reach * context)
        limits = np.array([height, width])
        before = np.maximum(0, -first)
        beyond = np.maximum(0, last - limits + 1)
        scales = size / (last - first + 1)
        inner = _rounded((last - beyond - first - before + 1) * scales)
        corner = _rounded(before * scales)
        if flip:
            corner[1] = _rounded(beyond * scales)[1]
        inner = np.maximum(np.minimum(inner, size - corner), 1)
        (top, left), (bottom, right) = first + before, last - beyond
        part = image[:, top : bottom + 1, left : right + 1]
        return part, (int(inner[0]), int(inner[1])), (int(corner[0]), int(corner[1]))

    # ------------------------------------------------------------ the file

    def _read_windows(self) -> int:
        """Read the file of windows and return the number of channels."""
        source = self._param.source
        words = _Words(source, label(self._layer))
        channels = 0
        while not words.ended:
            if words.take("#") != "#":
                raise words.wrong("#")
            words.number("the number of an image")
            path = Path(self._param.root_folder + words.take("a path"))
            index = len(self._paths)
            self._paths.append(path)
            there = words.number("channels")
            channels = channels or there
            if there != channels or there not in (1, 3):
                raise FileError(
                    f"{words.where}: the image {path} has {there} channels; expected 1 "
                    f"or 3, the same for all"
                )
            words.number("height")
            words.number("width")
            for _ in range(words.number("the number of windows")):
                self._sort(
                    index, [words.real("a window") for _ in range(NUMBERS)], words
                )
            if self._param.cache_images:
                self._kept[index] = read_bytes(path)
        return channels

    def _sort(self, image: int, numbers: list[float], words: _Words) -> None:
        """Take a window to the foreground, to the background, or to neither."""
        kind, overlap, *sides = numbers
        window = (int(sides[0]), int(sides[1]), int(sides[2]), int(sides[3]))
        if overlap >= self._param.fg_threshold:
            if kind < 1:
                raise FileError(
                    f"{words.where}: a window of the foreground has class {kind:g}; "
                    f"classes count from 1, as 0 is the background"
                )
            self._foreground.append(Window(image, int(kind), window))
        elif overlap < self._param.bg_threshold:
            self._background.append(Window(image, 0, window))

    def _check(self) -> None:
        param, layer = self._param, self._layer
        if param.batch_size < 1:
            raise SpecError("batch_size must be given and above 0", layer=label(layer))
        if not self._crop:
            raise SpecError(
                "transform_param.crop_size is missing; give the side to which windows "
                "are scaled",
                layer=label(layer),
            )
        if param.crop_mode not in CROP_MODES:
            raise SpecError(
                f"window_data_param.crop_mode is {param.crop_mode!r}; expected "
                f"{' or '.join(CROP_MODES)}",
                layer=label(layer),
            )
        if 2 * param.context_pad >= self._crop:
            raise SpecError(
                f"window_data_param.context_pad {param.context_pad} leaves nothing of "
                f"crop_size {self._crop}; it must be below half of that",
                layer=label(layer),
            )
        if not 0 <= param.fg_fraction <= 1:
            raise SpecError(
                f"window_data_param.fg_fraction is {param.fg_fraction:g}; expected 0 "
                f"to 1",
                layer=label(layer),
            )
        for name in ("resize_param", "noise_param"):
            if layer.transform_param.HasField(name):
                raise SpecError(
                    f"transform_param.{name} is not for windows; remove it",
                    layer=label(layer),
                )
        warn_of_unread(layer)

    def _check_windows(self) -> None:
        behind = self._param.batch_size - self._front
        for name, windows, wanted in (
            ("foreground", self._foreground, self._front),
            ("background", self._background, behind),
        ):
            if wanted and not windows:
                raise FileError(
                    f"{label(self._layer)}: {self._param.source} has no window of the "
                    f"{name}, but a batch has {wanted}; look at fg_threshold, "
                    f"bg_threshold and fg_fraction"
                )

    def _read_mean(self, channels: int) -> np.ndarray | None:
        """Return the mean of a scaled window, (C, crop, crop): the file's centre."""
        transform, layer = self._layer.transform_param, self._layer
        values = list(transform.mean_value)
        name = transform.mean_file or self._param.mean_file
        if name and values:
            raise SpecError(
                "both mean_file and mean_value are given; keep one", layer=label(layer)
            )
        shape = (channels, self._crop, self._crop)
        if values:
            if len(values) not in (1, channels):
                raise SpecError(
                    f"mean_value is given {len(values)} times for {channels} channels; "
                    f"give one, or one for each channel",
                    layer=label(layer),
                )
            means = np.array(values, np.float32).reshape(-1, 1, 1)
            return np.broadcast_to(means, shape)
        if not name:
            return None
        mean = read_any_mean(layer, name)
        if (
            mean.ndim != 3
            or mean.shape[0] != channels
            or min(mean.shape[1:]) < self._crop
        ):
            raise SpecError(
                f"mean_file {name} has shape {mean.shape}; expected {channels} "
                f"channels and at least the crop_size {self._crop}; {MAKE_ONE}",
                layer=label(layer),
            )
        # As in Caffe, by the width alone.
        start = (mean.shape[2] - self._crop) // 2
        start = min(start, mean.shape[1] - self._crop)
        stop = start + self._crop
        return mean[:, start:stop, start:stop]


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round halves away from 0, as C does."""
    return (np.sign(values) * np.floor(np.abs(values) + 0.5)).astype(int)


class _Words:
    """The words of a file of windows, one after the other, with their lines."""

    def __init__(self, source: str, what: str) -> None:
        self._what, self._source = what, source
        self._words = self._split(read_lines(source, what))
        self._line = 0
        self._next: str | None = None
        self._step()

    @staticmethod
    def _split(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        for number, line in lines:
            for word in line.split():
                yield number, word

    def _step(self) -> None:
        self._ahead, self._next = next(self._words, (self._line, None))

    @property
    def ended(self) -> bool:
        """Whether all words are taken."""
        return self._next is None

    @property
    def where(self) -> str:
        """Who asks, the file, and the line of the last word."""
        return f"{self._what}: {self._source}:{self._line}"

    def take(self, what: str) -> str:
        """Return the next word, which is `what`."""
        if self._next is None:
            raise FileError(f"{self.where}: the file ends where {what} is expected")
        self._line, word = self._ahead, self._next
        self._last = word
        self._step()
        return word

    def wrong(self, what: str) -> FileError:
        """Return the error for the last word, which is not `what`."""
        return FileError(f"{self.where}: expected {what}, got {self._last!r}")

    def number(self, what: str) -> int:
        """Return the next word as a whole number from 0."""
        word = self.take(what)
        if not word.isdecimal():
            raise self.wrong(what)
        return int(word)

    def real(self, what: str) -> float:
        """Return the next word as a number."""
        try:
            value = float(self.take(what))
        except ValueError:
            raise self.wrong(what) from None
        if not np.isfinite(value):
            raise self.wrong(what)
        return value
