"""Data sets become databases that data layers read, whole or not at all."""

import gzip
import struct
import sys
import tracemalloc

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, MachineError, SpecError
from runtime.data import convert
from runtime.data.__main__ import main
from runtime.data.convert import Images, ListedImages, pairs, read_idx, split, write
from runtime.data.images import resize

lmdb = pytest.importorskip("lmdb")
pytest.importorskip("h5py")
Image = pytest.importorskip("PIL.Image")


def some(count=6):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 2, 3, 4), dtype=np.uint8)
    return Images(pixels, rng.integers(0, 3, count))


def idx(path, values, magic, *, pack=False):
    data = struct.pack(f">I{values.ndim}I", magic, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(data) if pack else data)
    return path


def net(kind, source):
    param = {"Data": "data_param", "HDF5Data": "hdf5_data_param"}[kind]
    backend = "backend: LMDB" if kind == "Data" else ""
    return runtime.Net(
        f'layer {{ name: "d" type: "{kind}" top: "data" top: "label" {param} {{ '
        f'source: "{source}" batch_size: 6 {backend} }} }}'
    )


@pytest.mark.parametrize(("form", "kind"), [("lmdb", "Data"), ("hdf5", "HDF5Data")])
def test_what_is_written_is_what_a_data_layer_reads(tmp_path, form, kind):
    source = write(some(), tmp_path / "deep" / "set", form)
    blobs = net(kind, source).forward()
    np.testing.assert_array_equal(blobs["data"], some().pixels)
    np.testing.assert_array_equal(blobs["label"], some().labels)


def test_gzip_that_unpacks_to_more_than_it_says_is_not_unpacked_whole(tmp_path):
    start = struct.pack(">4I", 0x803, 2, 3, 4)
    images = tmp_path / "images.gz"
    images.write_bytes(gzip.compress(start + bytes(10**8)))
    labels = idx(tmp_path / "labels", np.zeros(2, np.uint8), 0x801)
    tracemalloc.start()
    with pytest.raises(FileError, match=r"images.gz: has more values, expected \(2, 3"):
        read_idx(images, labels)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    images.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2**31, 2**31, 2**31)))
    with pytest.raises(
        MachineError, match=r"its array of shape \(2147483648, .* needs"
    ):
        read_idx(images, labels)


@pytest.mark.parametrize("form", ["lmdb", "hdf5"])
def test_what_exists_is_replaced_only_by_force(tmp_path, form):
    source = write(some(), tmp_path / "set", form)
    with pytest.raises(FileError, match=r"exists already; .* --force"):
        write(some(3), tmp_path / "set", form)
    write(some(3), tmp_path / "set", form, force=True)
    reader = net("Data" if form == "lmdb" else "HDF5Data", source)
    labels = reader.forward()["label"]
    np.testing.assert_array_equal(labels, np.tile(some(3).labels, 2))
    assert not list(tmp_path.glob(".*"))  # nothing unfinished is left


def test_output_where_none_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be made"):
        write(some(), tmp_path / "file" / "set", "lmdb")


def test_enlarging_interpolates_between_pixel_centres():
    image = np.array([[[0.0, 100.0], [200.0, 60.0]]])
    big = resize(image, 4, 4)[0]
    assert [big[0, 0], big[0, 3], big[3, 0], big[3, 3]] == [0, 100, 200, 60]
    assert big[0, 1] == 25  # a quarter of the way
    assert big[1, 1] == round(0.5625 * 0 + 0.1875 * 100 + 0.1875 * 200 + 0.0625 * 60)


def test_pairs_say_whether_their_classes_are_equal():
    images = some(200)
    images.pixels[:, :, 0, 0] = images.labels[:, None]  # the class, readable
    both = pairs(images, 2)
    assert both.pixels.shape == (400, 4, 3, 4)
    first, second = both.pixels[:, 0, 0, 0], both.pixels[:, 2, 0, 0]
    np.testing.assert_array_equal(both.labels, first == second)
    assert 0.5 < both.labels.mean() < 0.85
    np.testing.assert_array_equal(pairs(images, 2).pixels, both.pixels)


def test_idx_files_are_read_plain_and_packed(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    labels = np.array([7, 1], np.uint8)
    for pack in (False, True):
        read = read_idx(
            idx(tmp_path / "i", pixels, 0x803, pack=pack),
            idx(tmp_path / "l", labels, 0x801, pack=pack),
        )
        np.testing.assert_array_equal(read.pixels[:, 0], pixels)
        assert read.labels.tolist() == [7, 1]


def test_broken_idx_files_are_refused_by_name(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    images = idx(tmp_path / "images", pixels, 0x803)
    labels = idx(tmp_path / "labels", np.zeros(3, np.uint8), 0x801)
    with pytest.raises(FileError, match=r"2 images, .* 3 labels"):
        read_idx(images, labels)
    with pytest.raises(FileError, match="labels: is no idx file of images"):
        read_idx(labels, labels)
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(FileError, match=r"has 23 values, expected \(2, 3, 4\)"):
        read_idx(images, labels)
    idx(images, pixels, 0x803, pack=True)
    images.write_bytes(images.read_bytes()[:-9])
    with pytest.raises(FileError, match="no complete gzip file"):
        read_idx(images, labels)


def test_split_needs_both_parts():
    first, rest = split(some(6), 4)
    assert (len(first), len(rest)) == (4, 2)
    with pytest.raises(
        SpecError, match="cannot split 6 images after 6; expected 1 to 5"
    ):
        split(some(6), 6)


def test_digits_command_writes_both_parts(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    assert main(["digits", "-o", "a/d"]) == 0
    assert "a/d_train_lmdb: 1437 items, 1 x 28 x 28" in capsys.readouterr().out
    blobs = net("Data", "a/d_test_lmdb").forward()
    assert blobs["data"].shape == (6, 1, 28, 28)
    assert blobs["data"].max() > 200
    assert main(["digits", "-o", "a/d"]) == 1
    assert "error: a/d_train_lmdb: exists already" in capsys.readouterr().err


def test_images_command_reads_a_list(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        Image.new("RGB", (4, 3 + number), (9, 8, 7)).save(f"{number}.png")
    lines = [f"{number}.png {number}" for number in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert main(["images", "list.txt", "-o", "some"]) == 1
    assert "give --size to make them equal" in capsys.readouterr().err
    assert main(["images", "list.txt", "--size", "5", "6", "-o", "some"]) == 0
    blobs = net("Data", "some_lmdb").forward()
    np.testing.assert_array_equal(blobs["label"], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(blobs["data"][0, :, 0, 0], [7, 8, 9])


def test_force_replaces_databases_only(tmp_path):
    (tmp_path / "set_lmdb").mkdir()
    (tmp_path / "set_lmdb" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match=r"set_lmdb: is no LMDB database, so --force"):
        write(some(), tmp_path / "set", "lmdb", force=True)
    assert (tmp_path / "set_lmdb" / "thesis.tex").read_text() == "years of work"


def test_hdf5_file_without_its_list_is_not_replaced_either(tmp_path):
    (tmp_path / "set.h5").write_text("mine")
    with pytest.raises(FileError, match=r"set.h5: exists already"):
        write(some(), tmp_path / "set", "hdf5")
    assert (tmp_path / "set.h5").read_text() == "mine"


def test_keys_are_numbers_of_eight_digits(tmp_path):
    folder = write(some(1203), tmp_path / "set", "lmdb")
    with lmdb.open(str(folder), readonly=True) as env, env.begin() as txn:
        keys = [key for key, _ in txn.cursor()]
    assert keys == [f"{index:08d}".encode() for index in range(1203)]


def photos(folder, sizes):
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (number, 8, 7)).save(folder / f"{number}.png")
    return [(f"{number}.png", number * 10) for number in range(len(sizes))]


@pytest.mark.parametrize("form", ["lmdb", "hdf5"])
def test_images_that_cannot_be_converted_leave_nothing_behind(tmp_path, form):
    lines = photos(tmp_path, [(4, 3), (4, 3), (4, 5)])
    images = ListedImages(lines, f"{tmp_path}/")
    with pytest.raises(FileError, match=r"2.png: has shape \(3, 5, 4\), the first"):
        write(images, tmp_path / "out" / "set", form)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("form", ["lmdb", "hdf5"])
def test_images_are_opened_one_by_one(tmp_path, form, monkeypatch):
    images = ListedImages(photos(tmp_path, [(4, 3)] * 5), f"{tmp_path}/")
    monkeypatch.setattr(convert, "COMMIT_ITEMS", 2)
    source = write(images, tmp_path / "set", form)
    blobs = net("Data" if form == "lmdb" else "HDF5Data", source).forward()
    np.testing.assert_array_equal(blobs["label"], [0, 10, 20, 30, 40, 0])
    np.testing.assert_array_equal(blobs["data"][:, 2, 0, 0], [0, 1, 2, 3, 4, 0])


def test_images_command_shuffles_and_pairs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = photos(tmp_path, [(4, 3)] * 6)
    (tmp_path / "list.txt").write_text("\n".join(f"{p} {n}" for p, n in lines))
    assert main(["images", "list.txt", "-o", "a", "--shuffle"]) == 0
    blobs = net("Data", "a_lmdb").forward()
    assert sorted(blobs["label"]) == [0, 10, 20, 30, 40, 50]
    assert blobs["label"].tolist() != [0, 10, 20, 30, 40, 50]
    np.testing.assert_array_equal(blobs["data"][:, 2, 0, 0] * 10, blobs["label"])
    assert main(["images", "list.txt", "-o", "b", "--pairs", "3", "--gray"]) == 0
    assert "b_lmdb: 18 items, 2 x 3 x 4" in capsys.readouterr().out


def test_mnist_command_splits_and_writes_pairs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 4), dtype=np.uint8)
    idx(tmp_path / "i.gz", pixels, 0x803, pack=True)
    idx(tmp_path / "l", np.arange(9, dtype=np.uint8), 0x801)
    command = ["mnist", "--images", "i.gz", "--labels", "l", "-o", "m"]
    assert main([*command, "--split", "7", "--format", "hdf5"]) == 0
    assert capsys.readouterr().out == (
        "m_train.txt: 7 items, 1 x 3 x 4\nm_test.txt: 2 items, 1 x 3 x 4\n"
    )
    assert main([*command, "--split", "9"]) == 1
    assert "error: cannot split 9 images after 9" in capsys.readouterr().err
    assert main(["mnist", "--images", "gone", "--labels", "l"]) == 1
    assert "error: gone: cannot be read: No such file" in capsys.readouterr().err


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MachineError, match=r"scikit-learn; .* netspec\[demo\]"):
        convert.digits()


@pytest.mark.parametrize(("form", "package"), [("lmdb", "lmdb"), ("hdf5", "h5py")])
def test_writing_without_the_package_names_the_extra(
    tmp_path, monkeypatch, form, package
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MachineError, match=rf"needs {package}; .*netspec\[data\]"):
        write(some(), tmp_path / "set", form)
    assert not list(tmp_path.iterdir())


def test_damaged_gzip_is_refused_by_name(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 4), dtype=np.uint8)
    images = idx(tmp_path / "images.gz", pixels, 0x803, pack=True)
    data = bytearray(images.read_bytes())
    data[10:30] = b"\x99" * 20
    images.write_bytes(data)
    labels = idx(tmp_path / "labels", np.zeros(9, np.uint8), 0x801)
    with pytest.raises(FileError, match=r"images.gz: is no complete gzip file"):
        read_idx(images, labels)


@pytest.mark.parametrize("form", ["lmdb", "hdf5"])
def test_no_images_are_not_written(tmp_path, form):
    with pytest.raises(SpecError, match=r"set: there are no images to write"):
        write(some()[:0], tmp_path / "set", form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["lmdb", "hdf5"])
def test_writing_tells_how_far_it_is(tmp_path, form, monkeypatch):
    monkeypatch.setattr(convert, "COMMIT_ITEMS", 3)
    told = []
    write(some(7), tmp_path / "set", form, advance=told.append)
    assert sum(told) == 7


def test_conversion_shows_a_bar_on_a_terminal_only(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.chdir(tmp_path)
    lines = photos(tmp_path, [(4, 3)] * 6)
    (tmp_path / "list.txt").write_text("\n".join(f"{p} {n}" for p, n in lines))
    assert main(["images", "list.txt", "-o", "a"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["images", "list.txt", "-o", "b"]) == 0
    assert "/6" in capsys.readouterr().err


def test_conversion_needs_no_tqdm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    ((path, number),) = photos(tmp_path, [(4, 3)])
    (tmp_path / "list.txt").write_text(f"{path} {number}")
    assert main(["images", "list.txt", "-o", "a"]) == 0


def test_digits_are_those_of_scikit_learn():
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    train, held_out = convert.digits()
    pixels = np.concatenate([train.pixels, held_out.pixels])[:, 0]
    labels = np.concatenate([train.labels, held_out.labels])
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(bunch.target))
    assert pixels.shape == (1797, 28, 28)
    assert pixels.max() == 255
    for number in range(10):
        mean = bunch.images[bunch.target == number].mean(0) * (255 / 16)
        enlarged = resize(mean, 28, 28).astype(float)
        np.testing.assert_allclose(
            pixels[labels == number].mean(0), enlarged, atol=0.75
        )
    assert set(held_out.labels) == set(range(10))
    first = [6, 6, 6, 2, 5]  # the order is part of what results are compared by
    assert train.labels[:5].tolist() == first


@pytest.mark.parametrize("length", [0, 3, 4, 8, 15])
def test_idx_file_cut_in_its_header_is_refused(tmp_path, length):
    whole = idx(tmp_path / "i", np.zeros((2, 3, 4), np.uint8), 0x803).read_bytes()
    (tmp_path / "i").write_bytes(whole[:length])
    with pytest.raises(FileError, match="i: is no idx file of images"):
        read_idx(tmp_path / "i", tmp_path / "l")


def test_split_after_the_first_leaves_the_rest():
    assert [len(part) for part in split(some(6), 1)] == [1, 5]
    with pytest.raises(SpecError, match="cannot split 6 images after 0"):
        split(some(6), 0)


@pytest.mark.parametrize(
    "command",
    [["mnist", "--images", "i"], ["mnist", "--labels", "l"], ["images"], []],
)
def test_incomplete_commands_are_refused_in_one_line(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(command)
    error = capsys.readouterr().err
    assert "required" in error
    assert error.count("\n") == 1
