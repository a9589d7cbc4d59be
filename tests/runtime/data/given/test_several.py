"""Lists of files of arrays: their items follow each other."""

import numpy as np
import pytest

from netspec.errors import FileError, ShapeError, SpecError
from runtime.data.dataset import open_dataset, split_dataset

h5py = pytest.importorskip("h5py")

INPUTS = {"image": (4, 2, 3), "label": (4,)}


@pytest.fixture
def files(tmp_path):
    """Three files of 5, 1 and 7 items, and all these items."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(13, 2, 3)).astype(np.float32)
    y = np.arange(13, dtype=np.float32)
    paths = []
    for name, (first, last) in {
        "a.h5": (0, 5),
        "b.npz": (5, 6),
        "c.h5": (6, 13),
    }.items():
        path = tmp_path / name
        part = {"image": x[first:last], "label": y[first:last]}
        if path.suffix == ".npz":
            np.savez(path, **part)
        else:
            with h5py.File(path, "w") as file:
                for key, values in part.items():
                    file[key] = values
        paths.append(str(path))
    return paths, x, y


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_those_of_all_items(files, shuffle):
    paths, x, y = files
    found = open_dataset(paths, INPUTS, shuffle=shuffle, seed=3)
    want = open_dataset((x, y), INPUTS, shuffle=shuffle, seed=3)
    assert found.items == 13
    for number in (3, 0, 1, 2, 4, 5, 9):
        for got, there in zip(found.batch(number), want.batch(number), strict=True):
            np.testing.assert_array_equal(got, there)
    found.close()


def test_transforms_and_parts_take_items_of_any_file(files):
    paths, x, y = files

    def twice(arrays, rng):
        return arrays[0] * 2, arrays[1]

    train, test = split_dataset(paths, INPUTS, 0.4, transform=twice)
    assert (train.items, test.items) == (8, 5)
    np.testing.assert_array_equal(train.batch(1)[0], 2 * x[4:8])
    np.testing.assert_array_equal(test.batch(0)[1], y[8:12])


def test_one_file_in_a_tuple_is_a_list_too(files):
    assert open_dataset((files[0][2],), INPUTS).items == 7


def test_a_mistake_names_its_file(files, tmp_path):
    paths, *_ = files
    with pytest.raises(FileError, match=r"missing\.h5: there is no such file"):
        open_dataset([*paths, str(tmp_path / "missing.h5")], INPUTS)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image"], file["label"] = np.zeros((2, 2, 4)), np.zeros(2)
    with pytest.raises(ShapeError, match=r"other\.h5"):
        open_dataset([*paths, tmp_path / "other.h5"], INPUTS)
    with pytest.raises(SpecError):
        open_dataset([*paths, "notes.txt"], INPUTS)
