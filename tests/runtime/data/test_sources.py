"""Data layers read what is in their files, from any position, and say what is wrong."""

import io
import threading

import numpy as np
import pytest
from google.protobuf import text_format

from netspec.errors import FileError, ShapeError, SpecError, UnsupportedError
from netspec.schema import TEST, TRAIN, BlobProto, Datum, LayerParameter
from runtime.data import open_source
from runtime.data.source import ReadAhead

h5py = pytest.importorskip("h5py")
lmdb = pytest.importorskip("lmdb")
Image = pytest.importorskip("PIL.Image")

COUNT, SHAPE = 7, (3, 6, 5)


def layer(text):
    return text_format.Parse(f'name: "d" {text}', LayerParameter())


def database(path, datums):
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for index, datum in enumerate(datums):
            txn.put(f"{index:08d}".encode(), datum.SerializeToString())


def pixels(count=COUNT, shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8)


def datum(picture, label=0):
    channels, height, width = picture.shape
    return Datum(
        channels=channels,
        height=height,
        width=width,
        data=picture.tobytes(),
        label=label,
    )


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "db"
    database(path, [datum(p, i + 1) for i, p in enumerate(pixels())])
    return path


def data_layer(path, more="", batch_size=4, tops='top: "x" top: "t"'):
    return layer(
        f'type: "Data" {tops} data_param {{ source: "{path}" backend: LMDB '
        f"batch_size: {batch_size} }} {more}"
    )


def batches(source, count):
    return [[array.copy() for array in source.next()] for _ in range(count)]


def test_database_is_read_in_key_order_and_starts_over_within_a_batch(db):
    source = open_source(data_layer(db), TEST, 0)
    assert source.shapes == ((4, *SHAPE), (4,))
    (x0, t0), (x1, t1) = batches(source, 2)
    np.testing.assert_array_equal(x0, pixels()[:4])
    np.testing.assert_array_equal(x1, pixels()[[4, 5, 6, 0]])
    assert [*t0, *t1] == [1, 2, 3, 4, 5, 6, 7, 1]
    source.close()


def test_layer_with_one_top_delivers_no_labels(db):
    source = open_source(data_layer(db, tops='top: "x"'), TEST, 0)
    assert source.shapes == ((4, *SHAPE),)
    assert len(source.next()) == 1


def test_two_layers_may_read_one_database_at_once(db):
    one, other = (open_source(data_layer(db), TEST, 0) for _ in range(2))
    one.next()
    np.testing.assert_array_equal(other.next()[0], pixels()[:4])
    one.close()
    np.testing.assert_array_equal(other.next()[1], [5, 6, 7, 1])
    other.close()


def test_seek_goes_back_and_forth_with_the_same_random_crops(db):
    text = "transform_param { crop_size: 3 mirror: true }"
    source = open_source(data_layer(db, text), TRAIN, 5)
    run = batches(source, 6)
    for position in (3, 0, 5):
        source.seek(position)
        for got, want in zip(source.next(), run[position], strict=True):
            np.testing.assert_array_equal(got, want)
    other = batches(open_source(data_layer(db, text), TRAIN, 6), 6)
    assert any((a[0] != b[0]).any() for a, b in zip(run, other, strict=True))


def test_every_random_crop_is_a_window_and_both_sides_occur(db):
    text = "transform_param { crop_size: 3 mirror: true }"
    source = open_source(data_layer(db, text), TRAIN, 0)
    seen = set()
    for number, (x, _) in enumerate(batches(source, 40)):
        for index, got in enumerate(x):
            item = pixels()[(4 * number + index) % COUNT]
            matches = [
                (top, left, flipped)
                for top in range(4)
                for left in range(3)
                for flipped in (False, True)
                if np.array_equal(
                    got,
                    item[:, top : top + 3, left : left + 3][
                        :, :, :: -1 if flipped else 1
                    ],
                )
            ]
            assert matches
            seen.update(matches)
    assert len(seen) == 4 * 3 * 2


def test_mean_values_scale_and_central_crop(db):
    text = """transform_param { scale: 0.5 crop_size: 3
              mean_value: 10 mean_value: 20 mean_value: 30 }"""
    (x, _) = open_source(data_layer(db, text), TEST, 0).next()
    centre = pixels()[:4, :, 1:4, 1:4].astype(np.float32)
    mean = np.array([10, 20, 30], np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(x, (centre - mean) * 0.5, rtol=1e-6)


def test_mean_file_is_cropped_with_the_image(db, tmp_path):
    mean = np.random.default_rng(1).random(SHAPE, np.float32) * 100
    blob = BlobProto(num=1, channels=3, height=6, width=5, data=mean.ravel())
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    text = f'transform_param {{ crop_size: 3 mean_file: "{path}" }}'
    (x, _) = open_source(data_layer(db, text), TEST, 0).next()
    expected = pixels()[:4, :, 1:4, 1:4] - mean[:, 1:4, 1:4]
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_encoded_and_float_data(tmp_path):
    picture = np.zeros((6, 5, 3), np.uint8)
    picture[:, :, 0] = 200  # red, the last of Caffe's channels
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    values = np.linspace(-1, 1, 90, dtype=np.float32)
    database(tmp_path / "png", [Datum(data=file.getvalue(), encoded=True)])
    database(
        tmp_path / "float",
        [Datum(channels=3, height=6, width=5, float_data=values)],
    )
    (x, _) = open_source(data_layer(tmp_path / "png", batch_size=1), TEST, 0).next()
    assert x.shape == (1, 3, 6, 5)
    assert (x[0, 2] == 200).all()
    assert not x[0, :2].any()
    (x, _) = open_source(data_layer(tmp_path / "float", batch_size=1), TEST, 0).next()
    np.testing.assert_array_equal(x.ravel(), values)


def test_force_gray_gives_one_channel(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (5, 6), (90, 90, 90)).save(file, "PNG")
    database(tmp_path / "png", [Datum(data=file.getvalue(), encoded=True)])
    text = "transform_param { force_gray: true }"
    source = open_source(data_layer(tmp_path / "png", text, batch_size=1), TEST, 0)
    (x, _) = source.next()
    np.testing.assert_array_equal(x, np.full((1, 1, 6, 5), 90))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("transform_param { crop_size: 6 }", r"'d' \(Data\): crop_size 6 is larger"),
        (
            "transform_param { mean_value: 1 mean_value: 2 }",
            "mean_value is given 2 times for 3 channels",
        ),
        (
            'transform_param { mean_value: 1 mean_file: "m" }',
            "both mean_file and mean_value",
        ),
    ],
)
def test_impossible_transforms_are_refused(db, text, message):
    with pytest.raises(SpecError, match=message):
        open_source(data_layer(db, text), TEST, 0)


def test_mean_of_another_size_is_refused(db, tmp_path):
    path = tmp_path / "m.binaryproto"
    blob = BlobProto(num=1, channels=1, height=2, width=2, data=[0] * 4)
    path.write_bytes(blob.SerializeToString())
    text = f'transform_param {{ mean_file: "{path}" }}'
    with pytest.raises(
        SpecError, match=r"has shape \(1, 2, 2\), the images \(3, 6, 5\)"
    ):
        open_source(data_layer(db, text), TEST, 0)


def test_databases_that_cannot_be_read_are_refused_by_name(tmp_path, db):
    with pytest.raises(FileError, match="nowhere does not exist"):
        open_source(data_layer(tmp_path / "nowhere"), TEST, 0)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "data.mdb").write_text("no database" * 1000)
    with pytest.raises(FileError, match="is no LMDB database"):
        open_source(data_layer(tmp_path / "text"), TEST, 0)
    database(tmp_path / "empty", [])
    with pytest.raises(FileError, match="empty is empty"):
        open_source(data_layer(tmp_path / "empty"), TEST, 0)
    level = data_layer(db)
    level.data_param.ClearField("backend")
    with pytest.raises(UnsupportedError, match="LEVELDB cannot be read; convert"):
        open_source(level, TEST, 0)
    with pytest.raises(SpecError, match="batch_size must be given"):
        open_source(data_layer(db, batch_size=0), TEST, 0)


def test_items_of_different_sizes_are_an_error_of_the_forward_pass(tmp_path):
    items = [datum(pixels()[0]), datum(pixels(1, (3, 6, 4))[0])]
    database(tmp_path / "db", items)
    source = open_source(data_layer(tmp_path / "db", batch_size=2), TEST, 0)
    with pytest.raises(SpecError, match=r"item 1 has shape \(3, 6, 4\)"):
        source.next()


def test_broken_item_is_named_by_its_key(tmp_path):
    broken = datum(pixels()[0])
    broken.height = 99
    database(tmp_path / "db", [datum(pixels()[0]), broken])
    source = open_source(data_layer(tmp_path / "db", batch_size=2), TEST, 0)
    with pytest.raises(FileError, match="key '00000001': 90 values do not make"):
        source.next()


# ---------------------------------------------------------------- HDF5


def hdf5_layer(tmp_path, sizes, more="", batch_size=4):
    lines, start = [], 0
    for number, size in enumerate(sizes):
        path = tmp_path / f"part{number}.h5"
        rows = np.arange(start, start + size, dtype=np.float32)
        with h5py.File(path, "w") as file:
            file["x"] = rows[:, None, None] + np.zeros((1, 2, 3))
            file["t"] = rows * 10
        lines.append(str(path))
        start += size
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    return layer(
        f'type: "HDF5Data" top: "x" top: "t" hdf5_data_param {{ '
        f'batch_size: {batch_size} source: "{tmp_path / "list.txt"}" {more} }}'
    )


def test_hdf5_batches_go_on_in_the_next_file(tmp_path):
    source = open_source(hdf5_layer(tmp_path, [3, 2, 1]), TRAIN, 0)
    assert source.shapes == ((4, 2, 3), (4,))
    labels = [t for _, batch in batches(source, 3) for t in batch]
    assert labels == [0, 10, 20, 30, 40, 50, 0, 10, 20, 30, 40, 50]
    source.seek(1)
    np.testing.assert_array_equal(source.next()[1], [40, 50, 0, 10])


def test_shuffled_hdf5_rows_come_once_an_epoch_in_a_new_order(tmp_path):
    text = hdf5_layer(tmp_path, [5, 4, 3], "shuffle: true", batch_size=6)
    run = [tuple(t) for _, t in batches(open_source(text, TRAIN, 0), 4)]
    first, second = run[0] + run[1], run[2] + run[3]
    everything = [10.0 * row for row in range(12)]
    assert sorted(first) == sorted(second) == everything
    assert first != second
    assert first != tuple(everything)
    again = [tuple(t) for _, t in batches(open_source(text, TRAIN, 0), 4)]
    assert again == run


def test_hdf5_files_that_do_not_fit_are_refused(tmp_path):
    good = hdf5_layer(tmp_path, [3])
    renamed = hdf5_layer(tmp_path, [3])
    renamed.top[1] = "label"
    with pytest.raises(FileError, match=r"has no dataset 'label'; it has t, x"):
        open_source(renamed, TRAIN, 0)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/gone.h5\n")
    with pytest.raises(FileError, match=r"gone.h5, named in .*, does not exist"):
        open_source(good, TRAIN, 0)
    (tmp_path / "gone.h5").write_text("text")
    with pytest.raises(FileError, match=r"gone.h5 is no HDF5 file"):
        open_source(good, TRAIN, 0)
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(FileError, match=r"list.txt names no file"):
        open_source(good, TRAIN, 0)


# ---------------------------------------------------------------- images, arrays


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


MEMORY = """type: "MemoryData" top: "x" top: "t"
            memory_data_param { batch_size: 2 channels: 3 height: 6 width: 5 }"""


def test_arrays_are_delivered_in_turn():
    source = open_source(layer(MEMORY), TEST, 0)
    with pytest.raises(SpecError, match="call net.set_input_arrays"):
        source.next()
    source.set_arrays(pixels(6), np.arange(6))
    labels = [t.ravel().tolist() for _, t in batches(source, 4)]
    assert labels == [[0, 1], [2, 3], [4, 5], [0, 1]]
    source.seek(2)
    np.testing.assert_array_equal(source.next()[0], pixels(6)[4:])


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (
            (4, 3, 5, 6),
            (4,),
            r"must have shape \(M, 3, 6, 5\), got \(4, 3, 5, 6\)",
        ),
        ((4, 3, 6, 5), (5,), r"labels must have shape \(4,\).*got \(5,\)"),
        ((3, 3, 6, 5), (3,), "3 items are no multiple of the batch_size 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(data, labels, message):
    source = open_source(layer(MEMORY), TEST, 0)
    with pytest.raises(ShapeError, match=message):
        source.set_arrays(np.zeros(data), np.zeros(labels))


def test_window_data_is_refused_with_what_can_be_used_instead():
    with pytest.raises(UnsupportedError, match=r"\(WindowData\).*use Data \(LMDB\)"):
        open_source(layer('type: "WindowData" top: "x"'), TEST, 0)


# ---------------------------------------------------------------- reading ahead


class Numbers:
    """Delivers the number of the batch, and fails at batch 3."""

    shapes = ((1,),)

    def __init__(self):
        self.threads = set()

    def read(self, batch, out):
        self.threads.add(threading.current_thread())
        if batch == 3:
            raise FileError("batch 3 is broken")
        out[0][0] = batch

    def close(self):
        pass


def test_reading_ahead_happens_in_a_thread_that_ends_with_the_source():
    reader = Numbers()
    source = ReadAhead(reader, "d")
    assert [source.next()[0][0] for _ in range(2)] == [0, 1]
    source.close()
    assert threading.current_thread() not in reader.threads
    assert not any(thread.is_alive() for thread in reader.threads)


def test_error_of_the_reader_is_raised_where_its_batch_is_asked_for():
    source = ReadAhead(Numbers(), "d")
    assert [source.next()[0][0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FileError, match="batch 3 is broken"):
        source.next()
    source.seek(7)
    assert source.next()[0][0] == 7
    source.close()


def test_a_delivered_batch_stays_until_the_next_is_asked_for():
    source = ReadAhead(Numbers(), "d")
    (first,) = source.next()
    source._ahead.result()  # the next batch has been read
    assert first[0] == 0
    source.close()
