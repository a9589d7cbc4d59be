import numpy as np
import pytest

from netspec.errors import FileError, ShapeError, SpecError
from netspec.schema import Datum
from runtime.data.dataset import open_dataset, split_dataset
from tests.runtime.data.given.common import (
    COUNT,
    INPUTS,
    arrays,
    check_epoch,
    read,
    write_images,
)

h5py, lmdb = pytest.importorskip("h5py"), pytest.importorskip("lmdb")
pytest.importorskip("PIL")

X, Y = arrays()
COLOR = {"data": (4, 3, 6, 5), "label": (4,)}


def check_shuffled(path, x=X, inputs=INPUTS):
    """Check that shuffled batches have the items with their labels."""
    data = open_dataset(path, inputs, shuffle=True, seed=1)
    seen = []
    for images, labels in read(data, 6):
        np.testing.assert_array_equal(images, x[labels.astype(int)])
        seen.extend(labels)
    assert sorted(seen[:COUNT]) == sorted(seen[COUNT:]) == list(range(COUNT))
    assert seen[:COUNT] != seen[COUNT:]
    data.close()


def write_database(path, items, *, key=lambda number: f"{number:08}"):
    with lmdb.open(str(path), map_size=2**24) as env, env.begin(write=True) as txn:
        for number, datum in enumerate(items):
            txn.put(key(number).encode(), datum.SerializeToString())


def datum(image, label):
    channels, height, width = image.shape
    return Datum(
        channels=channels,
        height=height,
        width=width,
        data=image.tobytes(),
        label=label,
    )


@pytest.mark.parametrize(
    "names", [("data", "label"), ("x", "y"), ("x_train", "y_train")]
)
def test_npz_files_by_the_names_of_their_arrays(tmp_path, names):
    path = tmp_path / "a.npz"
    np.savez(path, **dict(zip(names, (X, Y), strict=True)), more=Y)
    check_epoch(open_dataset(path, INPUTS), X, Y)
    check_shuffled(str(path))


def test_npy_files_fill_one_input_and_stay_on_the_disk(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, X)
    data = open_dataset(path, {"data": (4, 1, 6, 5)})
    np.testing.assert_array_equal(data.batch(1)[0], X[4:8])
    with pytest.raises(SpecError, match=r"is one array, .* np.savez\(path, data="):
        open_dataset(path, INPUTS)
    np.save(path, X * np.nan)
    data = open_dataset(path, {"data": (4, 1, 6, 5)})
    with pytest.raises(SpecError, match="'data' has NaN in item 4"):
        data.batch(1)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_hdf5_files(tmp_path, compression):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=X, compression=compression)
        file.create_dataset("label", data=Y[:, None])
    check_epoch(open_dataset(path, INPUTS), X, Y)
    check_shuffled(path)
    with pytest.raises(ShapeError, match=r"an item has shape \(1, 6, 5\)"):
        open_dataset(path, {"data": (4, 2, 6, 5), "label": (4,)})
    with h5py.File(path, "w") as file:
        file["picture"] = X
        file["class"] = Y
    with pytest.raises(SpecError, match="has the arrays class, picture; expected"):
        open_dataset(path, INPUTS)


@pytest.mark.parametrize("count", [COUNT, 500])
def test_databases_in_any_order(tmp_path, count):
    x, y = arrays(count)
    write_database(tmp_path / "db", [datum(*pair) for pair in zip(x, y, strict=True)])
    check_epoch(open_dataset(tmp_path / "db", INPUTS), x, y, -(-count // 4))
    data = open_dataset(tmp_path / "db" / "data.mdb", INPUTS, shuffle=True)
    labels = [data.batch(number) for number in range(data.batches)]
    assert sorted(np.concatenate([b[1] for b in labels])) == list(range(count))
    for images, numbers in labels:
        np.testing.assert_array_equal(images, x[numbers.astype(int)])


def test_large_items_of_a_database_lie_in_pages_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (COUNT, 3, 60, 50), dtype=np.uint8)
    write_database(tmp_path / "db", [datum(*pair) for pair in zip(x, Y, strict=True)])
    check_shuffled(tmp_path / "db", x, {"data": (4, 3, 60, 50), "label": (4,)})
    only = open_dataset(tmp_path / "db", {"data": (4, 3, 60, 50)})
    np.testing.assert_array_equal(only.batch(1)[0], x[4:8])


def test_items_of_a_database_that_differ_are_refused(tmp_path):
    items = [datum(X[0], 0), datum(X[1, :, :5], 1)]
    write_database(tmp_path / "db", items)
    data = open_dataset(tmp_path / "db", INPUTS)
    with pytest.raises(ShapeError, match=r"item 1 of the data: .* \(1, 5, 5\)"):
        data.batch(0)


def test_a_folder_with_a_folder_for_each_class(tmp_path):
    write_images(tmp_path)
    (tmp_path / ".hidden").mkdir()
    data = open_dataset(tmp_path, COLOR)
    assert (data.items, data.batches) == (9, 3)
    assert data.classes == ("ant", "bee", "cat")
    images = np.concatenate([data.batch(n)[0] for n in range(3)])
    labels = np.concatenate([data.batch(n)[1] for n in range(3)])
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    blue, green, red = images[4, :, 2, 2]  # as everywhere here, blue comes first
    assert (blue, green, red) == (200, 121, 21)


def test_images_take_the_size_and_colours_of_the_input(tmp_path):
    write_images(tmp_path, sizes=[(12, 10), (30, 40)])
    grey = {"data": (4, 1, 6, 5), "label": (4,)}
    assert open_dataset(tmp_path, grey).batch(0)[0].shape == (4, 1, 6, 5)
    assert open_dataset(tmp_path, COLOR).batch(2)[0].shape == (1, 3, 6, 5)
    cropped = open_dataset(tmp_path, COLOR, transform={"crop_h": 6, "crop_w": 5})
    assert cropped.batch(0)[0].shape == (4, 3, 6, 5)


def test_a_list_of_images_beside_them(tmp_path):
    write_images(tmp_path)
    path = tmp_path / "list.txt"
    path.write_text("cat/1.png 7\nant/0.png 3\n")
    data = open_dataset(path, COLOR)
    images, labels = data.batch(0)
    assert labels.tolist() == [7, 3]
    assert images[0, :, 0, 0].tolist() == [200, 141, 41]


def test_parts_of_a_folder_have_all_classes_and_no_image_twice(tmp_path):
    write_images(tmp_path)
    train, test = split_dataset(tmp_path, COLOR, 1 / 3, seed=2)
    assert (train.items, test.items) == (6, 3)
    images = [data.batch(n)[0] for data in (train, test) for n in range(data.batches)]
    reds = np.concatenate(images)[:, 2, 0, 0]
    assert sorted(reds) == [0, 1, 2, 20, 21, 22, 40, 41, 42]


def test_parts_of_a_database_may_be_read_by_two_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    x, y = arrays(300)
    write_database(tmp_path / "db", [datum(*pair) for pair in zip(x, y, strict=True)])
    train, test = split_dataset(tmp_path / "db", INPUTS, 0.5, shuffle=True)
    with ThreadPoolExecutor(2) as threads:
        jobs = [
            threads.submit(lambda data: read(data, 2 * data.batches), data)
            for data in (train, test)
        ]
        for job, first in zip(jobs, (0, 150), strict=True):
            labels = []
            for images, numbers in job.result():
                np.testing.assert_array_equal(images, x[numbers.astype(int)])
                labels.extend(numbers)
            assert sorted(set(labels)) == list(range(first, first + 150))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda path: path / "nowhere", FileError, "there is no such file or folder"),
        (lambda path: path, FileError, "neither an LMDB database .* nor a folder"),
        (lambda path: broken(path / "a.npz"), FileError, "cannot be read as NumPy"),
        (lambda path: broken(path / "a.npy"), FileError, "cannot be read as NumPy"),
        (lambda path: broken(path / "a.h5"), FileError, "is no HDF5 file"),
        (lambda path: broken(path / "a.txt"), FileError, "expected a path and a label"),
        (lambda path: empty_class(path), FileError, "empty has no images; expected"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, make, error, said):
    with pytest.raises(error, match=said):
        open_dataset(make(tmp_path), COLOR)


def broken(path):
    path.write_text("nothing of the kind")
    return path


def empty_class(path):
    (path / "empty").mkdir()
    return path


def test_pictures_need_an_input_for_pictures(tmp_path):
    write_images(tmp_path)
    with pytest.raises(SpecError, match=r"takes items of shape \(36,\); expected \(3"):
        open_dataset(tmp_path, {"data": (4, 36), "label": (4,)})
    with pytest.raises(SpecError, match="the net has 3 inputs: data, label, more"):
        open_dataset(tmp_path, {**COLOR, "more": (4,)})


@pytest.mark.parametrize("fields", [{"scale": 0.5}, {"scale": 0.5, "mirror": True}])
def test_images_are_resized_where_a_transform_makes_no_size(tmp_path, fields):
    write_images(tmp_path, sizes=((6, 5), (12, 10)))
    data = open_dataset(tmp_path, COLOR, transform=fields)
    images, labels = data.batch(2)  # the last one, of one colour
    assert (images.shape, labels.tolist()) == ((1, 3, 6, 5), [2])
    plain = open_dataset(tmp_path, COLOR).batch(2)[0]
    np.testing.assert_allclose(images, plain / 2)


def test_a_part_of_images_is_resized_beside_a_function_that_cuts_the_others(tmp_path):
    write_images(tmp_path, sizes=((12, 10),))
    seen = []

    def cut(item, rng):
        seen.append(item[0].shape)
        return item[0][:, :6, :5]

    train, test = split_dataset(tmp_path, COLOR, 0.3, transform=cut)
    assert train.batch(0)[0].shape == (4, 3, 6, 5)
    assert set(seen) == {(3, 12, 10)}
    assert test.batch(0)[0].shape == (3, 3, 6, 5)


def test_images_of_another_size_are_told_what_cuts_them(tmp_path):
    write_images(tmp_path, sizes=((12, 10),))
    inputs = {"data": (4, 3, 8, 8), "label": (4,)}
    with pytest.raises(ShapeError, match=r"transform=dict\(crop_size=8\), which cuts"):
        open_dataset(tmp_path, inputs, transform=lambda item, rng: item).batch(0)
    inputs["data"] = (4, 3, 32, 32)  # larger than the images
    with pytest.raises(ShapeError, match="that size, or give the Input shape"):
        open_dataset(tmp_path, inputs, transform=lambda item, rng: item).batch(0)
