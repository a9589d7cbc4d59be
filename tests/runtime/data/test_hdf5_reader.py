"""HDF5Data layers read rows of files in a list."""

import sys

import numpy as np
import pytest

from netspec.errors import FileError, MachineError, SpecError
from netspec.schema import TRAIN
from runtime.data import open_source
from tests.runtime.data.common import batches, layer

h5py = pytest.importorskip("h5py")


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


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("t", np.float32(3), "have different numbers of rows"),
        ("t", np.arange(4), "have different numbers of rows"),
        ("t", np.array([b"a", b"b", b"c"]), r"'t' of .* holds \|S1; expected real"),
        ("t", np.ones(3, complex), "holds complex128; expected real numbers"),
        ("x", np.ones((3, 2, 4)), r"rows of .*part1.h5 have shapes \[\(2, 4\), \(\)\]"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(tmp_path, name, values, message):
    text = hdf5_layer(tmp_path, [5, 3])
    with h5py.File(tmp_path / "part1.h5", "a") as file:
        del file[name]
        file[name] = values
    with pytest.raises(FileError, match=rf"'d' \(HDF5Data\): .*{message}"):
        open_source(text, TRAIN, 0)


def test_group_in_the_place_of_a_dataset_is_refused(tmp_path):
    text = hdf5_layer(tmp_path, [3])
    with h5py.File(tmp_path / "part0.h5", "a") as file:
        del file["t"]
        file.create_group("t")
    with pytest.raises(FileError, match="has no dataset 't'; it has x"):
        open_source(text, TRAIN, 0)


def test_hdf5_file_in_the_place_of_the_list_is_refused(tmp_path):
    text = hdf5_layer(tmp_path, [3])
    text.hdf5_data_param.source = str(tmp_path / "part0.h5")
    with pytest.raises(FileError, match=r"part0.h5 is no text; expected a list"):
        open_source(text, TRAIN, 0)
    text.hdf5_data_param.source = str(tmp_path / "gone.txt")
    with pytest.raises(FileError, match=r"'d' \(HDF5Data\): .*gone.txt: cannot be"):
        open_source(text, TRAIN, 0)


def test_damaged_dataset_is_an_error_of_the_forward_pass(tmp_path):
    text = hdf5_layer(tmp_path, [3])
    path = tmp_path / "part0.h5"
    with h5py.File(path, "w") as file:
        noise = np.random.default_rng(0).random((300, 7))
        file.create_dataset("x", data=noise, compression="gzip", chunks=(300, 7))
        file["t"] = np.arange(300)
        start = file["x"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[start + 50 : start + 900] = bytes(850)
    path.write_bytes(data)
    source = open_source(text, TRAIN, 0)
    with pytest.raises(FileError, match=r"'d' .*dataset 'x' of .* is broken"):
        source.next()


def test_transform_of_hdf5_data_is_refused(tmp_path):
    text = hdf5_layer(tmp_path, [3])
    text.transform_param.scale = 0.5
    with pytest.raises(SpecError, match="transform_param does nothing to HDF5 data"):
        open_source(text, TRAIN, 0)


def test_missing_batch_size_is_refused(tmp_path):
    with pytest.raises(SpecError, match="batch_size must be given"):
        open_source(hdf5_layer(tmp_path, [3], batch_size=0), TRAIN, 0)


def test_integers_become_numbers_and_relative_names_are_the_current_folders(
    tmp_path, monkeypatch
):
    text = hdf5_layer(tmp_path, [3], batch_size=2)
    with h5py.File(tmp_path / "part0.h5", "w") as file:
        file["x"] = np.arange(30, dtype=np.uint8).reshape(5, 6)
        file["t"] = np.arange(5, dtype=np.int64) - 2
    (tmp_path / "list.txt").write_text("part0.h5\n\n")
    monkeypatch.chdir(tmp_path)
    x, t = open_source(text, TRAIN, 0).next()
    assert x.dtype == t.dtype == np.float32
    np.testing.assert_array_equal(x, np.arange(12).reshape(2, 6))
    np.testing.assert_array_equal(t, [-2, -1])


def test_missing_h5py_names_the_extra(tmp_path, monkeypatch):
    text = hdf5_layer(tmp_path, [3])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MachineError, match=r"need h5py.*extra netspec\[data\]"):
        open_source(text, TRAIN, 0)


def test_batches_of_one_row_and_files_without_rows(tmp_path):
    source = open_source(hdf5_layer(tmp_path, [0, 1, 0, 2], batch_size=1), TRAIN, 0)
    assert [float(t[0]) for _, t in batches(source, 5)] == [0, 10, 20, 0, 10]
    with pytest.raises(FileError, match=r"'d' \(HDF5Data\): the files have no rows"):
        open_source(hdf5_layer(tmp_path, [0, 0]), TRAIN, 0)
    single = open_source(hdf5_layer(tmp_path, [1], batch_size=3), TRAIN, 0)
    np.testing.assert_array_equal(single.next()[1], [0, 0, 0])
