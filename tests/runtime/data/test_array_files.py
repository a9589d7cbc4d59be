"""`python -m runtime.data arrays`: arrays as what data layers read."""

import warnings

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecWarning
from netspec.schema import TRAIN
from runtime.data.__main__ import main

RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def arrays(*words):
    return main(["arrays", *words])


def read(source, items, tops=2, hdf5=False):
    """All items of a source, as a data layer brings them."""
    n = NetSpec()
    if hdf5:
        n.data, n.label = L.HDF5Data(source=source, batch_size=items, ntop=2)
    else:
        n.data, n.label = L.Data(
            source=source, batch_size=items, backend="LMDB", ntop=tops
        )
    n.end = L.Silence(n.data, n.label)
    net = runtime.Net(n, TRAIN)
    net.forward()
    return net.blobs["data"].data.copy(), net.blobs["label"].data.copy()


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (RNG.integers(0, 256, (7, 3, 4, 5)), (7, 3, 4, 5)),
        (RNG.integers(0, 256, (7, 4, 5), dtype=np.uint8), (7, 1, 4, 5)),
        (RNG.normal(size=(7, 6)), (7, 6, 1, 1)),
        (RNG.normal(size=(7, 3, 4, 5)).astype(np.float32), (7, 3, 4, 5)),
        (RNG.integers(-5, 300, (7, 2, 4, 5)), (7, 2, 4, 5)),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_a_database_holds_the_values(x, shape, together, capsys):
    y = RNG.integers(0, 9, 7)
    if together:
        np.savez("a.npz", x=x, y=y)
    else:
        np.save("a.npy", x)
        np.save("b.npy", y)
    files = ["a.npz"] if together else ["a.npy", "b.npy"]
    assert arrays(*files, "-o", "db") == 0
    assert capsys.readouterr().out == (
        f"db_lmdb: 7 items, data {x.shape[1:]}, label ()\n"
    )
    data, label = read("db_lmdb", 7)
    np.testing.assert_array_equal(data, x.reshape(shape).astype(np.float32))
    np.testing.assert_array_equal(label.reshape(-1), y)


def test_bytes_take_a_byte(tmp_path):
    np.save("x.npy", np.full((50, 1, 60, 60), 200))
    np.save("f.npy", np.full((50, 1, 60, 60), 200.5))
    assert arrays("x.npy", "-o", "b") == arrays("f.npy", "-o", "f") == 0
    sizes = [(tmp_path / f"{n}_lmdb" / "data.mdb").stat().st_size for n in "bf"]
    assert sizes[0] < 0.5 * sizes[1]


def test_hdf5_holds_any_targets(capsys):
    x, y = RNG.normal(size=(7, 3, 4)), RNG.normal(size=(7, 2))
    np.savez("a.npz", data=x, label=y)
    assert arrays("a.npz", "--format", "hdf5", "-o", "set") == 0
    assert capsys.readouterr().out.startswith("set.txt: 7 items, data (3, 4)")
    data, label = read("set.txt", 7, hdf5=True)
    np.testing.assert_array_equal(data, x.astype(np.float32))
    np.testing.assert_array_equal(label, y.astype(np.float32))


def test_names_parts_and_order():
    x, y = np.arange(10)[:, None], np.arange(10)
    np.savez("a.npz", images=x, classes=y, more=y)
    words = ["--split", "6", "--shuffle", "--format", "hdf5"]
    assert arrays("a.npz", "--names", "classes,images", *words) == 0
    np.save("x.npy", x)
    np.save("y.npy", y)
    assert arrays("x.npy", "y.npy", "--split", "6", "--shuffle", "-o", "db") == 0
    parts = [
        read(f"db_{part}_lmdb", count) for part, count in (("train", 6), ("test", 4))
    ]
    held = np.concatenate([data.reshape(-1) for data, _ in parts])
    assert sorted(held) == [*range(10)] != [*held]
    for data, label in parts:
        np.testing.assert_array_equal(data.reshape(-1), label.reshape(-1))


def test_channels_can_be_moved_to_the_front(capsys):
    x = RNG.integers(0, 256, (5, 6, 7, 3))
    np.save("x.npy", x)
    for form in ("lmdb", "hdf5"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert arrays("x.npy", "--channels-last", "--format", form) == 0
    data, _ = read("arrays_lmdb", 5)
    np.testing.assert_array_equal(data, x.transpose(0, 3, 1, 2))
    with pytest.warns(SpecWarning, match="as if channels came last"):
        arrays("x.npy", "-o", "other")


def test_one_array_has_labels_of_0():
    np.save("x.npy", np.ones((3, 2)))
    assert arrays("x.npy") == 0
    assert (read("arrays_lmdb", 3)[1] == 0).all()


@pytest.mark.parametrize(
    ("made", "words", "text"),
    [
        ({"x": np.ones((3, 2)), "y": np.ones(2)}, [], "different numbers of items"),
        ({"x": np.ones((3, 2)), "y": np.ones((3, 2))}, [], "one label an item"),
        ({"x": np.ones((3, 2)), "y": np.full(3, 0.5)}, [], "has 0.5 in item 0"),
        ({"x": np.ones((3, 2)), "y": np.array(["a"] * 3)}, [], "not real numbers"),
        ({"x": np.ones((3, 2, 2, 2, 2))}, [], "up to three axes"),
        ({"x": np.ones((0, 2))}, [], "have no items"),
        ({"a": np.ones((3, 2))}, [], "a database holds data and label"),
        ({"x": np.ones((3, 2))}, ["--names", "dat"], "no array 'dat'"),
        ({"x": np.ones((3, 2))}, ["--split", "3"], "cannot split 3 items after 3"),
        ({"x": np.array(5)}, [], "is one number; its first axis are items"),
    ],
)
def test_what_cannot_be_written_is_told(made, words, text, capsys):
    np.savez("a.npz", **made)
    assert arrays("a.npz", *words) == 1
    assert text in capsys.readouterr().err


def test_files_that_cannot_be_read_are_told(capsys, tmp_path):
    (tmp_path / "bad.npz").write_text("no")
    for words, text in (
        (["gone.npy"], "gone.npy"),
        (["bad.npz"], "bad.npz"),
        (["a.txt"], "expected .npy files, or one .npz file"),
    ):
        assert arrays(*words) == 1
        assert text in capsys.readouterr().err
    np.save("x.npy", np.ones((3, 2)))
    assert arrays("x.npy") == 0
    assert arrays("x.npy") == 1
    assert "exists already; remove it, or write with --force" in (
        capsys.readouterr().err
    )
    assert arrays("x.npy", "--force") == 0
