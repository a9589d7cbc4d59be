"""Frames of a folder, or of a file that has several."""

import numpy as np
import pytest

from netspec.errors import FileError, SpecError, UnsupportedError
from netspec.schema import TEST
from runtime.data import open_source
from tests.runtime.data.common import batches, layer

Image = pytest.importorskip("PIL.Image")

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 3, 9, 12)).astype(np.uint8)


def data_layer(path, more="", transform="", batch_size=2):
    return layer(
        f'type: "VideoData" top: "x" top: "t" '
        f"data_param {{ batch_size: {batch_size} }} "
        f'video_data_param {{ video_type: VIDEO video_file: "{path}" {more} }} '
        f"transform_param {{ {transform} }}"
    )


def found(path, more="", transform="", count=3):
    source = open_source(data_layer(path, more, transform), TEST, 0)
    try:
        return batches(source, count)
    finally:
        source.close()


def pictures():
    return [
        Image.fromarray(np.ascontiguousarray(one[::-1].transpose(1, 2, 0)))
        for one in FRAMES
    ]


@pytest.fixture
def folder(tmp_path):
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / f"f{number:03d}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    return tmp_path


def test_a_folder_is_read_in_order_over_and_over(folder):
    every = found(folder)
    for number, (images, labels) in enumerate(every):
        places = [(2 * number + index) % 5 for index in range(2)]
        np.testing.assert_array_equal(images, FRAMES[places])
        assert labels.tolist() == places


def test_frames_are_skipped_and_resized(folder):
    every = found(folder, "skip_frames: 1", "resize_param { height: 6 width: 7 }")
    assert every[0][0].shape == (2, 3, 6, 7)
    assert [one for _, labels in every for one in labels] == [0, 2, 4, 1, 3, 0]


@pytest.mark.parametrize("end", ["tiff", "webp", "gif"])
def test_a_file_of_several_frames(tmp_path, end):
    first, *rest = pictures()
    more = {"lossless": True} if end == "webp" else {}
    try:
        first.save(tmp_path / f"v.{end}", save_all=True, append_images=rest, **more)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {end} of several frames")
    every = found(tmp_path / f"v.{end}")
    assert [one for _, labels in every for one in labels] == [0, 1, 2, 3, 4, 0]
    if end != "gif":
        np.testing.assert_array_equal(every[1][0], FRAMES[[2, 3]])


def test_what_is_no_video_of_ours_is_refused(folder):
    (folder / "v.avi").write_bytes(b"RIFF0000AVI LIST")
    with pytest.raises(
        FileError, match="v.avi: is no image.*video codecs cannot be read"
    ):
        found(folder / "v.avi")
    (folder / "empty").mkdir()
    with pytest.raises(FileError, match="empty: has no frames; expected image files"):
        found(folder / "empty")
    text = data_layer(folder)
    text.video_data_param.ClearField("video_type")
    text.video_data_param.device_id = 3
    with pytest.raises(
        UnsupportedError, match="camera 3 cannot be read; set video_type"
    ):
        open_source(text, TEST, 0)
    with pytest.raises(
        SpecError, match="video_file is missing; name a folder of frames"
    ):
        found("")
