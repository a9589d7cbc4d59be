"""Data layers read databases item by item, from any position."""

import io

import numpy as np
import pytest

from netspec.errors import FileError, SpecError, UnsupportedError
from netspec.schema import TEST, TRAIN, BlobProto, Datum
from runtime.data import open_source
from tests.runtime.data.common import COUNT, SHAPE, batches, layer, pixels

lmdb = pytest.importorskip("lmdb")
Image = pytest.importorskip("PIL.Image")


def database(path, datums):
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for index, datum in enumerate(datums):
            txn.put(f"{index:08d}".encode(), datum.SerializeToString())


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


def test_keys_are_read_in_the_order_of_their_bytes(tmp_path):
    items = {b"b": 3, b"10": 1, b"9": 2, b"\xff": 5, "é".encode(): 4}
    with lmdb.open(str(tmp_path / "db")) as env, env.begin(write=True) as txn:
        for key, number in items.items():
            txn.put(key, datum(pixels(1)[0], number).SerializeToString())
    source = open_source(data_layer(tmp_path / "db", batch_size=5), TEST, 0)
    np.testing.assert_array_equal(source.next()[1], [1, 2, 3, 4, 5])


def test_random_skip_is_a_function_of_the_seed_and_kept_by_seek(db):
    starts = set()
    text = data_layer(db, batch_size=1)
    text.data_param.rand_skip = 3
    for seed in range(30):
        source = open_source(text, TRAIN, seed)
        labels = [int(t[0]) for _, t in batches(source, 9)]
        first = labels[0]
        assert labels == [(first - 1 + place) % COUNT + 1 for place in range(9)]
        source.seek(2)
        assert source.next()[1][0] == labels[2]
        starts.add(first)
        source.close()
    assert starts == {1, 2, 3}


def test_mirrored_images_are_as_many_in_the_test_phase(db):
    text = "transform_param { mirror: true }"
    source = open_source(data_layer(db, text, batch_size=COUNT), TEST, 2)
    flipped = 0
    for x, _ in batches(source, 20):
        for got, item in zip(x, pixels(), strict=True):
            turned = np.array_equal(got, item[:, :, ::-1])
            assert turned or np.array_equal(got, item)
            flipped += turned
    assert 45 < flipped < 95  # of 140


def test_one_mean_value_stands_for_all_channels(db):
    text = "transform_param { mean_value: 7 scale: 2 }"
    (x, _) = open_source(data_layer(db, text), TEST, 0).next()
    np.testing.assert_array_equal(x, (pixels()[:4] - np.float32(7)) * 2)


def test_mean_file_holds_double_values_too(db, tmp_path):
    mean = np.random.default_rng(1).random(SHAPE) * 100
    blob = BlobProto(double_data=mean.ravel())
    blob.shape.dim.extend(SHAPE)
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    text = f'transform_param {{ mean_file: "{tmp_path}/mean.binaryproto" }}'
    (x, _) = open_source(data_layer(db, text), TEST, 0).next()
    np.testing.assert_allclose(x, pixels()[:4] - mean, rtol=1e-5, atol=1e-5)


def test_mean_files_that_are_none_are_refused_by_layer_and_name(db, tmp_path):
    path = tmp_path / "mean.binaryproto"
    text = data_layer(db, f'transform_param {{ mean_file: "{path}" }}')
    with pytest.raises(FileError, match=r"'d' \(Data\): mean_file .*cannot be read"):
        open_source(text, TEST, 0)
    path.write_bytes(b"\xff\xff no blob")
    with pytest.raises(FileError, match=r"'d' \(Data\): mean_file .*not a binary Blob"):
        open_source(text, TEST, 0)
    blob = BlobProto(num=1, channels=3, height=6, width=5, data=[0] * 89)
    path.write_bytes(blob.SerializeToString())
    with pytest.raises(FileError, match=r"89 values do not make an array of shape"):
        open_source(text, TEST, 0)


def test_encoded_gray_image_has_three_channels_where_colour_is_forced(tmp_path):
    file = io.BytesIO()
    Image.new("L", (5, 6), 90).save(file, "PNG")
    database(tmp_path / "png", [Datum(data=file.getvalue(), encoded=True)])
    plain = open_source(data_layer(tmp_path / "png", batch_size=1), TEST, 0)
    assert plain.shapes[0] == (1, 1, 6, 5)
    text = "transform_param { force_color: true }"
    forced = open_source(data_layer(tmp_path / "png", text, batch_size=1), TEST, 0)
    np.testing.assert_array_equal(forced.next()[0], np.full((1, 3, 6, 5), 90))


def test_colour_and_gray_cannot_both_be_forced(db):
    text = "transform_param { force_color: true force_gray: true }"
    with pytest.raises(SpecError, match="both force_color and force_gray"):
        open_source(data_layer(db, text), TEST, 0)


def test_value_that_is_no_datum_is_named_by_its_key(tmp_path):
    with lmdb.open(str(tmp_path / "db")) as env, env.begin(write=True) as txn:
        txn.put(b"photo", b"\xff\xff\xff")
    with pytest.raises(FileError, match=r"'d' \(Data\).*key 'photo': is no Datum"):
        open_source(data_layer(tmp_path / "db"), TEST, 0)


@pytest.mark.parametrize("missing", [1, 4096, 80_000])
def test_database_cut_short_is_refused_before_it_is_read(tmp_path, missing):
    database(tmp_path / "db", [datum(p) for p in pixels(900)])
    file = tmp_path / "db" / "data.mdb"
    size = file.stat().st_size
    with file.open("r+b") as handle:
        handle.truncate(size - missing)
    with pytest.raises(FileError, match=f"cut short: it has {size - missing} bytes of"):
        open_source(data_layer(tmp_path / "db"), TEST, 0)


def test_damaged_page_is_an_error_of_the_forward_pass(tmp_path):
    database(tmp_path / "db", [datum(p) for p in pixels(900)])
    file = tmp_path / "db" / "data.mdb"
    data = bytearray(file.read_bytes())
    page = 4096 * (data.index(b"00000450") // 4096)
    data[page : page + 4096] = b"\x55" * 4096
    file.write_bytes(data)
    source = open_source(data_layer(tmp_path / "db", batch_size=900), TEST, 0)
    with pytest.raises(FileError, match=r"'d' \(Data\).* is broken at item \d+: "):
        source.next()


def test_database_replaced_under_a_reader_is_read_anew(db, tmp_path):
    old = open_source(data_layer(db), TEST, 0)
    old.next()
    database(tmp_path / "new", [datum(p, 9) for p in pixels(4)])
    db.rename(tmp_path / "gone")
    (tmp_path / "new").rename(db)
    np.testing.assert_array_equal(
        open_source(data_layer(db), TEST, 0).next()[1], [9] * 4
    )
    np.testing.assert_array_equal(old.next()[1], [5, 6, 7, 1])


def test_images_of_different_sizes_may_be_cropped(tmp_path):
    sizes = [(6, 5), (4, 9), (7, 4)]
    pictures = [pixels(1, (3, *size))[0] for size in sizes]
    database(tmp_path / "db", [datum(picture) for picture in pictures])
    text = "transform_param { crop_size: 4 mean_value: 11 scale: 0.5 }"
    (x, _) = open_source(
        data_layer(tmp_path / "db", text, batch_size=3), TEST, 0
    ).next()
    for got, picture, (height, width) in zip(x, pictures, sizes, strict=True):
        top, left = (height - 4) // 2, (width - 4) // 2
        window = picture[:, top : top + 4, left : left + 4]
        np.testing.assert_array_equal(got, (window - np.float32(11)) * 0.5)


@pytest.mark.parametrize("shape", [(3, 3, 8), (1, 6, 5)])
def test_cropped_images_need_equal_channels_and_room_for_the_window(tmp_path, shape):
    database(tmp_path / "db", [datum(pixels()[0]), datum(pixels(1, shape)[0])])
    text = "transform_param { crop_size: 4 }"
    source = open_source(data_layer(tmp_path / "db", text), TEST, 0)
    with pytest.raises(SpecError, match=r"as many channels .* crop_size 4"):
        source.next()


def test_cropped_images_of_different_sizes_cannot_have_one_mean_image(tmp_path):
    database(tmp_path / "db", [datum(pixels()[0]), datum(pixels(1, (3, 7, 5))[0])])
    blob = BlobProto(num=1, channels=3, height=6, width=5, data=[1] * 90)
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    text = f'transform_param {{ crop_size: 4 mean_file: "{tmp_path}/mean" }}'
    source = open_source(data_layer(tmp_path / "db", text), TEST, 0)
    with pytest.raises(SpecError, match=r"\(3, 7, 5\), .* all must be equal"):
        source.next()


def test_negative_sizes_make_no_image(tmp_path):
    item = Datum(channels=3, height=-5, width=-6, data=bytes(90))
    database(tmp_path / "db", [item])
    with pytest.raises(FileError, match=r"90 values do not make .* \(3, -5, -6\)"):
        open_source(data_layer(tmp_path / "db"), TEST, 0)


def test_encoded_value_that_is_no_image_is_named_by_its_key(tmp_path):
    database(tmp_path / "db", [Datum(data=b"GIF?", encoded=True)])
    with pytest.raises(FileError, match=r"key '00000000': is no image of a known f"):
        open_source(data_layer(tmp_path / "db"), TEST, 0)


def test_three_tops_are_refused_by_the_layer_not_by_its_reader(db):
    text = data_layer(db, tops='top: "x" top: "t" top: "more"')
    with pytest.raises(SpecError, match=r"'d' \(Data\): makes 1 to 2 tops; got 3"):
        open_source(text, TEST, 0)
