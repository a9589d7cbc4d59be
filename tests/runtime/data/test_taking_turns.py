"""Several takers of every so many batches see what one sees that takes them all."""

import numpy as np
import pytest

from netspec.schema import TRAIN
from runtime.data import open_source
from runtime.data.lmdb_file import LmdbFile
from runtime.data.source import ReadAhead
from tests.runtime.data.common import COUNT, layer, pixels
from tests.runtime.data.test_annotated_reader import (
    BOXES,
    SIZES,
    annotated,
    scene,
)
from tests.runtime.data.test_annotated_reader import data_layer as annotated_layer
from tests.runtime.data.test_hdf5_reader import hdf5_layer
from tests.runtime.data.test_image_reader import image_layer
from tests.runtime.data.test_label_image_reader import data_layer as dense_layer
from tests.runtime.data.test_label_image_reader import labels_of, picture
from tests.runtime.data.test_lmdb_reader import data_layer as lmdb_layer
from tests.runtime.data.test_lmdb_reader import database, datum
from tests.runtime.data.test_memory import MEMORY
from tests.runtime.data.test_window_reader import WINDOWS
from tests.runtime.data.test_window_reader import data_layer as window_layer

Image = pytest.importorskip("PIL.Image")
h5py = pytest.importorskip("h5py")

SEED, BATCHES = 5, 13  # more than one epoch of every source
TAKERS = [2, 3, 4]


def lmdb_source(folder):
    database(folder / "db", [datum(p, i) for i, p in enumerate(pixels())])
    crop = "transform_param { crop_size: 4 mirror: true }"
    noise = "saltpepper: true saltpepper_param { fraction: 0.3 value: 255 }"
    more = f"transform_param {{ noise_param {{ {noise} }} crop_size: 4 }}"
    return [
        lmdb_layer(folder / "db", crop),
        lmdb_layer(folder / "db", more, batch_size=3),
    ]


def images(folder):
    text = image_layer(folder, "shuffle: true new_height: 6 new_width: 5 rand_skip: 3")
    text.transform_param.crop_size = 3
    text.transform_param.mirror = True
    return [text]


def sized_images(folder):
    text = image_layer(folder, "shuffle: true")
    text.image_data_param.batch_size = 1  # so that every batch has its own shape
    return [text]


def hdf5(folder):
    rows, mixed = folder / "rows", folder / "mixed"
    rows.mkdir()
    mixed.mkdir()
    return [
        hdf5_layer(rows, [5, 4, 2]),
        hdf5_layer(mixed, [5, 4, 3], "shuffle: true", batch_size=5),
    ]


def annotated_source(folder):
    items = [
        annotated(scene(size, boxes, n), boxes, [n + 1] * len(boxes))
        for n, (size, boxes) in enumerate(zip(SIZES, BOXES, strict=True))
    ]
    database(folder / "db", items)
    resized = (
        "mirror: true expand_param { prob: 0.5 max_expand_ratio: 2 } "
        "distort_param { brightness_prob: 0.5 brightness_delta: 30 } "
        "resize_param { height: 20 width: 30 }"
    )
    return [annotated_layer(folder / "db", resized, batch_size=3)]


def dense(folder):
    lines = []
    for number in range(3):
        rgb = np.ascontiguousarray(picture(number)[::-1].transpose(1, 2, 0))
        Image.fromarray(rgb).save(folder / f"{number}.png")
        Image.fromarray(labels_of(number)).save(folder / f"{number}_l.png")
        lines.append(f"{number}.png {number}_l.png")
    (folder / "list").write_text("\n".join(lines))
    more = "batch_size: 2 shuffle: true"
    cut = "crop_size: 5 mirror: true"
    return [dense_layer(folder, "DenseImageData", more, cut)]


def windows(folder):
    lines = []
    for number, (height, width) in enumerate([(30, 40), (24, 36)]):
        pixels = np.random.default_rng(number).integers(1, 255, (height, width, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        ours = WINDOWS[number]
        lines += [f"# {number}", f"{number}.png", "3", f"{height}", f"{width}"]
        lines += [f"{len(ours)}", *(" ".join(map(str, one)) for one in ours)]
    (folder / "windows").write_text("\n".join(lines) + "\n")
    return [window_layer(folder / "windows", transform="mirror: true")]


def video(folder):
    frames = pixels(5, (9, 12, 3))
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return [
        layer(
            'type: "VideoData" top: "x" data_param { batch_size: 2 } '
            f'video_data_param {{ video_type: VIDEO video_file: "{folder}" }} '
            "transform_param { crop_size: 7 }"
        )
    ]


def memory(folder):
    return [layer(MEMORY)]


SOURCES = [
    lmdb_source,
    images,
    sized_images,
    hdf5,
    annotated_source,
    dense,
    windows,
    video,
    memory,
]


def opened(text):
    source = open_source(text, TRAIN, SEED)
    if text.type == "MemoryData":
        source.set_arrays(pixels(10), np.arange(10))
    return source


def taken(source, count):
    """Return batches, with the shapes that a source announces ahead of each."""
    found = []
    for _ in range(count):
        if isinstance(source, ReadAhead):
            source.next_shapes()
        found.append([array.copy() for array in source.next()])
    return found


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.__name__)
def test_takers_of_every_so_many_batches_see_those_of_one(kind, tmp_path):
    for text in kind(tmp_path):
        one = opened(text)
        expected = taken(one, BATCHES)
        one.close()
        assert any(not np.array_equal(a, b) for a, b in zip(*expected[:2], strict=True))
        for takers in TAKERS:
            for first in range(takers):
                source = opened(text)
                source.take_every(takers, first)
                mine = range(first, BATCHES, takers)
                assert_same(taken(source, len(mine)), expected[first::takers])
                source.seek(1 + first)  # a run that goes on, among as many
                assert_same(taken(source, 2), expected[1 + first :: takers][:2])
                source.take_every(3, 2)  # and among others
                assert_same(taken(source, 3), expected[2::3][:3])
                source.close()


def test_arrays_that_are_given_later_begin_with_the_first_of_a_taker():
    source = opened(layer(MEMORY))
    source.take_every(2, 1)
    taken(source, 3)
    source.set_arrays(pixels(10), np.arange(10))
    assert [t.ravel().tolist() for _, t in taken(source, 3)] == [[2, 3], [6, 7], [0, 1]]


def test_a_batch_stays_while_the_one_an_even_number_later_is_read(tmp_path):
    (text, _) = lmdb_source(tmp_path)
    source = opened(text)
    source.take_every(2, 0)
    first, _ = source.next()
    before = first.copy()
    source._ahead.result()  # batch 2 has been read
    np.testing.assert_array_equal(first, before)
    source.close()


# What is read of records, and not only what comes of it.


def records(monkeypatch, kind, name):
    """Return the list to which the first arguments of a method are added."""
    seen, real = [], getattr(kind, name)

    def noting(self, number, *rest):
        seen.append(number)
        return real(self, number, *rest)

    monkeypatch.setattr(kind, name, noting)
    return seen


@pytest.mark.parametrize("takers", TAKERS)
def test_nobody_reads_records_of_a_database_that_others_take(
    tmp_path, monkeypatch, takers
):
    database(tmp_path / "db", [datum(p, i) for i, p in enumerate(pixels())])
    text = lmdb_layer(tmp_path / "db", batch_size=3)
    for first in range(takers):
        source = opened(text)
        source.take_every(takers, first)
        seen = records(monkeypatch, LmdbFile, "item")
        taken(source, 4)
        source.close()
        wanted = [first + takers * turn for turn in range(5)]  # one is read ahead
        places = [(3 * batch + n) % COUNT for batch in wanted for n in range(3)]
        assert seen == places
        monkeypatch.undo()


@pytest.mark.parametrize("takers", TAKERS)
def test_nobody_decodes_images_that_others_take(tmp_path, monkeypatch, takers):
    from runtime.data import image_reader

    text = image_layer(tmp_path, "new_height: 6 new_width: 5")
    text.image_data_param.batch_size = 1
    source = opened(text)
    source.take_every(takers, 1)
    seen, decode = [], image_reader.decode

    def noting(path, *rest, **how):
        seen.append(path.name)
        return decode(path, *rest, **how)

    monkeypatch.setattr(image_reader, "decode", noting)
    taken(source, 3)
    source.close()
    assert seen == [f"{(1 + takers * turn) % 3}.png" for turn in range(4)]


@pytest.mark.parametrize("more", ["", "shuffle: true"])
def test_nobody_reads_rows_of_hdf5_files_that_others_take(tmp_path, monkeypatch, more):
    from netspec.weights.hdf5_file import Hdf5File

    text = hdf5_layer(tmp_path, [12, 8], more)
    rows, read = [], Hdf5File.read

    def noting(self, dataset, name, chosen=()):
        found = read(self, dataset, name, chosen)
        if name == "t":
            rows.extend(found.tolist())
        return found

    monkeypatch.setattr(Hdf5File, "read", noting)
    everything = []
    for first in range(2):
        source = opened(text)
        source.take_every(2, first)
        labels = [t.tolist() for _, t in taken(source, 2)]
        source.close()
        assert len(rows) == 3 * 4  # and one batch that is read ahead
        assert sorted(rows[:8]) == sorted(labels[0] + labels[1])
        everything += labels[0] + labels[1]
        rows.clear()
    assert len({*everything}) == 16


def test_what_is_compressed_is_read_whole_by_each(tmp_path, monkeypatch):
    text = hdf5_layer(tmp_path, [8])
    with h5py.File(tmp_path / "part0.h5", "w") as file:
        file.create_dataset("x", data=np.ones((8, 2, 3)), compression="gzip")
        file["t"] = np.arange(8.0)
    source = opened(text)
    source.take_every(2, 1)
    assert [t.tolist() for _, t in taken(source, 2)] == [[4, 5, 6, 7]] * 2
    assert source._reader._loaded._file is None
    source.close()
