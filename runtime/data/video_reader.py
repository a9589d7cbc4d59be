"""VideoData layers of the SSD fork: the frames of a video, one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netspec.errors import FileError, MachineError, SpecError, UnsupportedError
from netspec.ops.base import label
from netspec.schema import LayerParameter, VideoDataParameter
from runtime.data.images import decode, decode_frame, frames_of
from runtime.data.pictures import PictureReader

FRAMES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".webp", ".gif")


class VideoReader(PictureReader):
    """Batches of frames, over and over, with the number of each as its label.

    `video_file` is a folder whose image files are the frames, in the order of their
    names, or one file of several frames that Pillow reads, such as GIF, WebP and TIFF.
    Cameras, and files that need a video library, are refused. Of `skip_frames` + 1
    frames the first is taken. The fork stops where a video ends.

    Tops: data (N, C, H, W) and, if the layer has a second top, label (N,).
    """

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        param = layer.video_data_param
        self._layer = layer
        batch = layer.data_param.batch_size
        if batch < 1:
            raise SpecError("batch_size must be given and above 0", layer=label(layer))
        if param.video_type != VideoDataParameter.VIDEO:
            raise UnsupportedError(
                f"camera {param.device_id} cannot be read; set video_type: VIDEO and "
                f"video_file to a folder of frames, or to a GIF, WebP or TIFF of "
                f"several",
                layer=label(layer),
            )
        if not param.video_file:
            raise SpecError(
                "video_data_param.video_file is missing; name a folder of frames, or a "
                "file of several",
                layer=label(layer),
            )
        self._path = Path(param.video_file)
        self._what = f"{label(layer)}: video {self._path}"
        self._files: list[Path] = []
        if self._path.is_dir():
            self._files = sorted(
                one for one in self._path.iterdir() if one.suffix.lower() in FRAMES
            )
            self._count = len(self._files)
        else:
            self._count = self._frames_in_file()
        if self._count == 0:
            raise FileError(
                f"{self._what}: has no frames; expected image files "
                f"({', '.join(FRAMES)})"
            )
        self._begin(layer, phase, seed, batch, 0)

    def _frames_in_file(self) -> int:
        try:
            return frames_of(self._path, self._what)
        except MachineError:
            raise
        except FileError as error:
            raise FileError(
                f"{error}; files of video codecs cannot be read here: write the frames "
                f"as image files into a folder"
            ) from error

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _item(self, number: int) -> tuple[np.ndarray, int]:
        step = self._layer.video_data_param.skip_frames + 1
        frame = number * step % self._count
        transform = self._layer.transform_param
        color = not transform.force_gray
        if self._files:
            path = self._files[frame]
            return decode(path, f"{self._what}, frame {path.name}", color=color), frame
        what = f"{self._what}, frame {frame}"
        return decode_frame(self._path, what, frame, color=color), frame
