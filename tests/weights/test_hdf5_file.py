"""HDF5 files: whatever is wrong in one is an error of ours that names it."""

import numpy as np
import pytest

import runtime
from netspec import room
from netspec.errors import FileError, MachineError, NetspecError
from netspec.schema import TRAIN
from netspec.weights import read_weights
from runtime import allow_links
from runtime.data import hdf5_reader, open_source
from runtime.training.snapshot import read_state
from tests.runtime.data.common import batches, layer

h5py = pytest.importorskip("h5py")

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 4 } }
"""
HUGE = (10**6, 10**6, 1000)  # 4e15 bytes
DAMAGES = 1500


def data_layer(folder, more=""):
    (folder / "list.txt").write_text(f"{folder}/a.h5\n")
    return layer(
        f'type: "HDF5Data" top: "x" hdf5_data_param {{ batch_size: 3 '
        f'source: "{folder}/list.txt" {more} }}'
    )


def weight_file(path):
    with h5py.File(path, "w") as file:
        file["data/fc/0"] = np.ones((4, 3), np.float32)
        file["data/fc/1"] = np.ones(4, np.float32)
    return path


# ---------------------------------------------------------------- links out


def secret(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.full((5, 2), 7.0)
    return folder / "other.h5"


def by_link(file, other):
    file["x"] = h5py.ExternalLink(str(other), "/x")


def by_link_to_link(file, other):
    file["far"] = h5py.ExternalLink(str(other), "/")
    file["x"] = h5py.SoftLink("/far/x")


def by_virtual_values(file, other):
    layout = h5py.VirtualLayout((5, 2), "f8")
    layout[:] = h5py.VirtualSource(str(other), "x", (5, 2))
    file.create_virtual_dataset("x", layout)


def by_storage(file, other):
    file.create_dataset("x", (5, 2), "f8", external=[(str(other), 0, 80)])


@pytest.mark.parametrize("way", [by_link, by_link_to_link, by_virtual_values])
def test_other_files_are_read_only_where_that_is_allowed(tmp_path, way):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        way(file, secret(tmp_path))
    text = data_layer(tmp_path)
    refused = r"'d' \(HDF5Data\): .*a.h5: '.*x' leads to .*other.h5.*allow_links\(\):"
    with pytest.raises(FileError, match=refused):
        open_source(text, TRAIN, 0)
    with allow_links():
        source = open_source(text, TRAIN, 0)
    np.testing.assert_array_equal(source.next()[0], np.full((3, 2), 7))
    with pytest.raises(FileError, match="other files are not read"):
        open_source(text, TRAIN, 0)


def test_values_in_any_other_file_are_refused_too(tmp_path):
    (tmp_path / "bytes").write_bytes(bytes(80))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        by_storage(file, tmp_path / "bytes")
    with pytest.raises(FileError, match=r"'x' leads to values in '.*bytes'; other"):
        open_source(data_layer(tmp_path), TRAIN, 0)
    with allow_links():
        (x,) = open_source(data_layer(tmp_path), TRAIN, 0).next()
    np.testing.assert_array_equal(x, np.zeros((3, 2)))


def test_weights_behind_a_link_are_refused(tmp_path):
    other = weight_file(tmp_path / "other.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/fc"] = h5py.ExternalLink(str(other), "/data/fc")
    net = runtime.Net(NET)
    with pytest.raises(FileError, match=r"w.h5: 'fc' leads to '/data/fc' in '.*other"):
        net.copy_from(tmp_path / "w.h5")
    with allow_links():
        assert net.copy_from(tmp_path / "w.h5").copied == ("fc",)


def test_links_within_a_file_are_followed_to_an_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/values"] = np.arange(8.0).reshape(4, 2)
        file["deep/near"] = h5py.SoftLink("values")
        file["x"] = h5py.SoftLink("/deep/near")
    (x,) = open_source(data_layer(tmp_path), TRAIN, 0).next()
    np.testing.assert_array_equal(x, np.arange(6.0).reshape(3, 2))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["deep/near"]
        file["deep/near"] = h5py.SoftLink("/x")
    with pytest.raises(FileError, match="is a link without an end"):
        open_source(data_layer(tmp_path), TRAIN, 0)


# ---------------------------------------------------------------- sizes


def test_rows_of_a_file_beyond_memory_are_read_as_they_are_needed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        rows = file.create_dataset("x", (10**12, 5, 7), "f4", chunks=(4, 5, 7))
        rows[3 * 10**9 + 1, 2, 3] = 5
    source = open_source(data_layer(tmp_path), TRAIN, 0)
    assert source.shapes == ((3, 5, 7),)
    source.seek(10**9)
    (x,) = source.next()
    assert (x[1, 2, 3], x.sum()) == (5, 5)
    source.close()


@pytest.mark.parametrize("more", ["", "shuffle: true"])
def test_rows_read_as_needed_are_those_of_the_whole_file(tmp_path, monkeypatch, more):
    values = np.random.default_rng(0).random((11, 2, 3), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
    text = data_layer(tmp_path, more)
    whole = batches(open_source(text, TRAIN, 4), 9)
    monkeypatch.setattr(hdf5_reader, "WHOLE_FILE_BYTES", 0)
    monkeypatch.setattr(room, "room_bytes", lambda: 0)
    source = open_source(text, TRAIN, 4)
    for got, want in zip(batches(source, 9), whole, strict=True):
        np.testing.assert_array_equal(got[0], want[0])
    source.close()


@pytest.mark.parametrize(
    ("more", "options", "kept"),
    [
        ("", {}, False),
        ("shuffle: true", {}, True),
        ("", {"compression": "gzip"}, True),
    ],
)
def test_large_files_that_are_slow_row_by_row_are_kept(
    tmp_path, monkeypatch, more, options, kept
):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.ones((11, 2)), **options)
    monkeypatch.setattr(hdf5_reader, "WHOLE_FILE_BYTES", 10)
    for there, whole in ((4 * 11 * 2 * 4, kept), (4 * 11 * 2 * 4 - 1, False)):
        monkeypatch.setattr(room, "room_bytes", lambda there=there: there)
        source = open_source(data_layer(tmp_path, more), TRAIN, 0)
        source.next()
        assert isinstance(source._reader._loaded._sets["x"], np.ndarray) == whole
        source.close()


def test_values_that_do_not_fit_into_memory_are_refused_by_name_and_size(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("data/fc/0", HUGE, "f4", chunks=(1, 100, 100))
    said = r"w.h5: what it holds, .* 'fc', of shape \(10.*needs 3.6 PiB of memory, "
    with pytest.raises(MachineError, match=said):
        read_weights(tmp_path / "w.h5")


def test_what_a_net_does_not_use_is_not_read(tmp_path):
    path = weight_file(tmp_path / "w.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("data/gone/0", HUGE, "f4", chunks=(1, 100, 100))
    report = runtime.Net(NET).copy_from(path)
    assert (report.copied, report.unused) == (("fc",), ("gone",))


def test_order_of_more_rows_than_memory_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (10**15,), "u1", chunks=(100,))
    source = open_source(data_layer(tmp_path, "shuffle: true"), TRAIN, 0)
    with pytest.raises(MachineError, match=r"'d' .*the order of 1000000000000000 rows"):
        source.next()
    (x,) = open_source(data_layer(tmp_path), TRAIN, 0).next()
    np.testing.assert_array_equal(x, [0, 0, 0])


def test_arrays_with_numbers_beyond_reason_are_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/fc/99999999999"] = 1.0
    with pytest.raises(FileError, match=r"w.h5: /data/fc has an array number 99999999"):
        runtime.Net(NET).copy_from(tmp_path / "w.h5")


# ---------------------------------------------------------------- damage


def damaged(data, rng):
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(0, len(out)))
        out[place : place + 4] = rng.bytes(int(rng.integers(1, 5)))
    if rng.random() < 0.1:
        del out[int(rng.integers(1, len(out))) :]
    return bytes(out)


def state_file(path):
    with h5py.File(path, "w") as file:
        file["iter"] = np.array([3])
        file["current_step"] = np.array([1])
        file["learned_net"] = np.bytes_("gone.caffemodel.h5")
        file["history/0"] = np.ones((4, 3), np.float32)
    return path


def data_file(path):
    with h5py.File(path, "w") as file:
        values = np.arange(60.0).reshape(5, 12)
        file.create_dataset("x", data=values, chunks=(2, 12), compression="gzip")
    return path


@pytest.mark.parametrize("kind", ["weights", "state", "data"])
def test_any_damage_is_an_error_of_ours_that_names_the_file(tmp_path, kind):
    make = {"weights": weight_file, "state": state_file, "data": data_file}[kind]
    path = tmp_path / "a.h5"
    whole = make(path).read_bytes()
    net, text = runtime.Net(NET), data_layer(tmp_path)

    def read():
        if kind == "weights":
            net.copy_from(path)
        elif kind == "state":
            read_state(path)
        else:
            source = open_source(text, TRAIN, 0)
            try:
                source.next()
            finally:
                source.close()

    rng = np.random.default_rng(8)
    told = []
    for _ in range(DAMAGES):
        path.write_bytes(damaged(whole, rng))
        try:
            read()
        except NetspecError as error:
            told.append(str(error))
    assert len(told) > DAMAGES / 20
    assert [message for message in told if "a.h5" not in message] == []


def test_broken_data_sets_of_a_state_are_named(tmp_path):
    path = state_file(tmp_path / "s.solverstate.h5")
    with h5py.File(path, "a") as file:
        del file["iter"]
    with pytest.raises(FileError, match=r"is not a solver state: it has no 'iter'"):
        read_state(path)
    with h5py.File(path, "a") as file:
        file["iter"] = np.array([], np.int32)
    with pytest.raises(FileError, match=r"is not a solver state: index 0 is out of"):
        read_state(path)
    with h5py.File(path, "a") as file:
        file["history/2"] = 1.0  # and no 1
    with pytest.raises(FileError, match=r"is not a solver state: it has no '1'"):
        read_state(path)
