"""ImageData layers read the images of a list."""

import struct
import sys
import zlib

import numpy as np
import pytest

from netspec import room
from netspec.errors import FileError, MachineError, SpecError
from netspec.schema import TEST
from runtime.data import open_source
from runtime.data.images import decode, resize
from tests.runtime.data.common import batches, layer

Image = pytest.importorskip("PIL.Image")


def image_layer(tmp_path, more=""):
    lines = []
    for number, (width, height) in enumerate([(5, 6), (8, 4), (5, 6)]):
        image = Image.new("RGB", (width, height), (number, 50, 100))
        image.save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png {number + 7}")
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return layer(
        f'type: "ImageData" top: "x" top: "t" image_data_param {{ batch_size: 2 '
        f'source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/" {more} }}'
    )


def test_images_are_resized_and_have_blue_first(tmp_path):
    text = image_layer(tmp_path, "new_height: 3 new_width: 4")
    source = open_source(text, TEST, 0)
    (x, t), (_, u) = batches(source, 2)
    assert x.shape == (2, 3, 3, 4)
    assert [x[1, channel, 0, 0] for channel in range(3)] == [100, 50, 1]
    assert [*t, *u] == [7, 8, 9, 7]


def test_images_of_different_sizes_need_a_size(tmp_path):
    source = open_source(image_layer(tmp_path), TEST, 0)
    with pytest.raises(SpecError, match=r"item 1 has shape \(3, 4, 8\)"):
        source.next()
    with pytest.raises(SpecError, match="must be given together"):
        open_source(image_layer(tmp_path, "new_height: 3"), TEST, 0)


def test_lists_of_images_with_a_bad_line_or_file_are_refused(tmp_path):
    text = image_layer(tmp_path)
    (tmp_path / "list.txt").write_text("0.png 1\n0.png\n")
    with pytest.raises(FileError, match=r"list.txt:2: expected a path and a label"):
        open_source(text, TEST, 0)
    (tmp_path / "list.txt").write_text("gone.png 1\n")
    with pytest.raises(FileError, match=r"gone.png: cannot be read as an image"):
        open_source(text, TEST, 0)


def test_paths_may_have_spaces_and_labels_signs(tmp_path):
    text = image_layer(tmp_path)
    (tmp_path / "0.png").rename(tmp_path / "a b .png")
    (tmp_path / "list.txt").write_text("a b .png\t-3\r\n2.png   9\n")
    (x, t) = open_source(text, TEST, 0).next()
    assert x.shape == (2, 3, 6, 5)
    np.testing.assert_array_equal(t, [-3, 9])


def test_shuffled_images_come_once_an_epoch_in_a_new_order(tmp_path):
    text = image_layer(tmp_path, "shuffle: true new_height: 3 new_width: 4")
    text.image_data_param.batch_size = 3
    orders = set()
    run = batches(open_source(text, TEST, 4), 40)
    for x, t in run:
        assert sorted(t) == [7, 8, 9]
        np.testing.assert_array_equal(x[:, 2, 0, 0], t - 7)  # red is the number
        orders.add(tuple(t))
    assert len(orders) == 6
    again = open_source(text, TEST, 4)
    again.seek(13)
    np.testing.assert_array_equal(again.next()[1], run[13][1])


def test_gray_images_and_random_skip(tmp_path):
    more = "is_color: false new_height: 3 new_width: 4 rand_skip: 3"
    text = image_layer(tmp_path, more)
    firsts = set()
    for seed in range(20):
        source = open_source(text, TEST, seed)
        assert source.shapes == ((2, 1, 3, 4), (2,))
        firsts.add(float(source.next()[1][0]))
        source.close()
    assert firsts == {7, 8, 9}


def test_crop_and_mean_hold_for_listed_images(tmp_path):
    text = image_layer(tmp_path, "new_height: 6 new_width: 5")
    text.transform_param.crop_size = 3
    text.transform_param.mean_value.extend([1, 2, 3])
    x, _ = open_source(text, TEST, 0).next()
    assert x.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(x[1, :, 1, 1], [99, 48, -2])


def test_batch_of_no_images_is_refused(tmp_path):
    text = image_layer(tmp_path)
    text.image_data_param.batch_size = 0
    with pytest.raises(SpecError, match="batch_size is 0; give at least 1"):
        open_source(text, TEST, 0)


def test_image_in_the_place_of_the_list_is_refused(tmp_path):
    text = image_layer(tmp_path)
    text.image_data_param.source = str(tmp_path / "0.png")
    with pytest.raises(FileError, match=r"0.png is no text; expected a list"):
        open_source(text, TEST, 0)
    (tmp_path / "list.txt").write_text("\n \n")
    text.image_data_param.source = str(tmp_path / "list.txt")
    with pytest.raises(FileError, match=r"list.txt names no file"):
        open_source(text, TEST, 0)


# Pillow warns of an image that says it is huge, and goes on.
@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp"])
def test_damaged_images_are_refused_or_read_but_never_crash(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f"image.{suffix}"
    picture = Image.fromarray(rng.integers(0, 255, (9, 13, 3), dtype=np.uint8))
    picture.save(path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(120, len(whole)), 4):
            damaged[place] = rng.integers(256)
        try:
            assert decode(bytes(damaged), "it", color=True).shape[0] == 3
        except FileError:
            refused += 1
    assert refused > 5


def test_resizing_interpolates_between_pixel_centres():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 8), dtype=np.uint8)
    for height, width in ((3, 13), (7, 2), (5, 8)):
        resized = resize(images, height, width)
        for n, i, j in np.ndindex(2, height, width):
            y = min(max((i + 0.5) * 5 / height - 0.5, 0), 4)
            x = min(max((j + 0.5) * 8 / width - 0.5, 0), 7)
            expected = 0.0
            for row in range(5):
                for column in range(8):
                    near = max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
                    expected += near * images[n, row, column]
            assert resized[n, i, j] == pytest.approx(expected, abs=0.5 + 1e-9)


def test_missing_pillow_names_the_extra(tmp_path, monkeypatch):
    text = image_layer(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MachineError, match=r"needs Pillow.*extra netspec\[data\]"):
        open_source(text, TEST, 0)


@pytest.mark.parametrize("color", [False, None, True])
def test_images_of_two_bytes_a_pixel_keep_the_upper_byte(tmp_path, color):
    values = np.array([[0, 255, 256], [4660, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = decode(tmp_path / "deep.png", "it", color=color)
    assert found.shape == (3 if color else 1, 2, 3)
    np.testing.assert_array_equal(found[-1], [[0, 0, 1], [18, 128, 255]])


def test_batches_of_one_image(tmp_path):
    text = image_layer(tmp_path, "new_height: 3 new_width: 4")
    text.image_data_param.batch_size = 1
    labels = [t.tolist() for _, t in batches(open_source(text, TEST, 0), 4)]
    assert labels == [[7], [8], [9], [7]]


def test_images_that_claim_too_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("L", (4000, 3000)).save(path)
    assert decode(path, "it", color=False).shape == (1, 3000, 4000)
    monkeypatch.setattr(room, "room_bytes", lambda: 80 * 2**20)
    said = r"^it: decoding \(4000, 3000\) needs 80.1 MiB of memory, 80.0 MiB can be had"
    with pytest.raises(MachineError, match=said):
        decode(path, "it", color=False)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 30_000, 30_000)  # width and height
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"it: cannot be read .*\(900000000 pixels"):
        decode(path, "it", color=False)
