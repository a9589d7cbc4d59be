"""What is too large is refused by layer and size, before it takes any memory."""

import sys

import numpy as np
import pytest

import runtime
from netspec import room
from netspec.errors import MachineError, ShapeError, SpecError
from netspec.schema import TEST, TRAIN
from runtime.data import open_source
from runtime.execution import fitting, parameters
from tests.runtime.data.common import layer

MIB = 2**20
TOWER = """
name: "tower"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [5, 1000] } } }
layer { name: "small" type: "ReLU" bottom: "x" top: "a" }
layer { name: "wide" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 20000 } }
layer { name: "sum" type: "Reduction" bottom: "b" top: "s" loss_weight: 1 }
"""
NEEDED = 2 * 4 * (20000 * 1000 + 20000)  # weights and gradients; blobs come on top


@pytest.fixture
def have(monkeypatch):
    """Return what sets how many bytes can be had."""

    def set_room(nbytes):
        monkeypatch.setattr(room, "room_bytes", lambda: nbytes)

    return set_room


def test_a_net_beyond_memory_is_refused_by_its_largest_layer(have):
    have(100 * MIB)
    said = (
        r"^net 'tower' needs 15\d\.\d MiB of memory, of which 100.0 MiB can be had "
        r"here; most of it takes layer 'wide' \(InnerProduct\), 15\d\.\d MiB for its "
        r"blobs and parameters\. Use a smaller batch"
    )
    with pytest.raises(MachineError, match=said):
        runtime.Net(TOWER, TRAIN)


def test_nothing_is_taken_before_a_net_is_refused(have, monkeypatch):
    have(100 * MIB)
    monkeypatch.setattr(parameters, "flat_buffers", None)
    with pytest.raises(MachineError, match="'wide'"):
        runtime.Net(TOWER, TRAIN)


def test_a_net_that_just_fits_is_built(have):
    have(NEEDED + 2 * MIB)
    assert runtime.Net(TOWER, TRAIN).params["wide"][0].shape == (20000, 1000)
    have(NEEDED)
    with pytest.raises(MachineError, match="'wide'"):
        runtime.Net(TOWER, TRAIN)
    have(None)
    runtime.Net(TOWER, TRAIN)


def test_parameters_of_another_net_are_not_counted_again(have):
    one = runtime.Net(TOWER, TRAIN)
    have(NEEDED // 2)
    other = runtime.Net(TOWER, TEST, share_with=one)
    assert np.shares_memory(other.params["wide"][0].data, one.params["wide"][0].data)


def test_inputs_that_grow_beyond_memory_leave_the_net_as_it_was(have):
    net = runtime.Net(TOWER, TEST)
    have(300 * MIB)
    net.blobs["x"].reshape(5000, 1000)
    with pytest.raises(MachineError, match=r"net 'tower' needs [4-9]\d\d.*'wide'"):
        net.forward()
    assert net.forward(x=np.ones((5, 1000)))["s"].shape == ()


def test_memory_that_ends_while_a_net_is_built_is_an_error_of_ours(monkeypatch):
    def ended(*_):
        raise MemoryError

    monkeypatch.setattr(parameters, "flat_buffers", ended)
    said = r"'tower' needs 15\d.* of memory, which is not there; most .*'wide'"
    with pytest.raises(MachineError, match=said):
        runtime.Net(TOWER, TRAIN)


def test_small_nets_do_not_ask_the_system(monkeypatch):
    monkeypatch.setattr(room, "room_bytes", None)
    runtime.Net(TOWER.replace("20000", "20"), TRAIN)
    assert fitting.room is room


SOURCES = {
    "Input": "input_param { shape { dim: [65536, 40000] } }",
    "DummyData": "dummy_data_param { shape { dim: [65536, 40000] } }",
    "MemoryData": "memory_data_param { batch_size: 4294967295 channels: 3 height: 2 "
    "width: 2 }",
    "Data": 'data_param { source: "%s/db" backend: LMDB batch_size: 4294967295 }',
    "HDF5Data": 'hdf5_data_param { source: "%s/list.txt" batch_size: 4294967295 }',
    "ImageData": 'image_data_param { source: "%s/images.txt" batch_size: 4294967295 }',
}


@pytest.fixture
def files(tmp_path):
    """A folder with a database, an HDF5 file and an image, of one item each."""
    lmdb, h5py = pytest.importorskip("lmdb"), pytest.importorskip("h5py")
    image = pytest.importorskip("PIL.Image")
    from netspec.schema import Datum

    item = Datum(channels=1, height=2, width=3, data=bytes(6)).SerializeToString()
    with lmdb.open(str(tmp_path / "db")) as env, env.begin(write=True) as txn:
        txn.put(b"0", item)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros((1, 2, 3))
        file["t"] = np.zeros(1)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.h5")
    image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    (tmp_path / "images.txt").write_text(f"{tmp_path}/a.png 0")
    return tmp_path


@pytest.mark.parametrize("kind", SOURCES)
def test_batches_of_more_values_than_caffe_counts_are_refused(files, kind):
    param = SOURCES[kind].replace("%s", str(files))
    tops = 'top: "x"' if kind in ("Input", "DummyData") else 'top: "x" top: "t"'
    text = f'layer {{ name: "d" type: "{kind}" {tops} {param} }}'
    with pytest.raises(ShapeError, match=rf"'d' \({kind}\): top 0 would have shape"):
        runtime.Net(text)


def test_images_made_too_large_are_refused_before_one_is_read(files):
    text = layer(
        'type: "ImageData" top: "x" top: "t" image_data_param { batch_size: 1 '
        f'new_height: 60000 new_width: 60000 source: "{files}/images.txt" }}'
    )
    with pytest.raises(ShapeError, match=r"'d' .*shape \(1, 3, 60000, 60000\)"):
        open_source(text, TEST, 0)


def test_batches_and_resizing_beyond_memory_are_refused_by_layer(files, have):
    have(10 * MIB)
    text = layer(
        'type: "ImageData" top: "x" top: "t" image_data_param { batch_size: 1 '
        f'new_height: 3000 new_width: 4000 source: "{files}/images.txt" }}'
    )
    said = r"'d' \(ImageData\): image .*a.png: resizing it to \(3000, 4000\) needs 549"
    with pytest.raises(MachineError, match=said):
        open_source(text, TEST, 0)
    text = layer(
        'type: "Data" top: "x" data_param { backend: LMDB batch_size: 2000000 '
        f'source: "{files}/db" }}'
    )
    said = r"'d' \(Data\): reading batches of shape \(2000000, 1, 2, 3\) needs 91.6 MiB"
    with pytest.raises(MachineError, match=said):
        open_source(text, TEST, 0)


def test_memory_that_ends_while_a_batch_is_read_is_an_error_of_ours(files, monkeypatch):
    text = layer(
        f'type: "Data" top: "x" data_param {{ backend: LMDB batch_size: 1 '
        f'source: "{files}/db" }}'
    )
    source = open_source(text, TEST, 0)

    def ended(*_):
        raise MemoryError("Unable to allocate 8.00 GiB")

    monkeypatch.setattr(source._reader, "read_sized", ended)
    said = r"'d' \(Data\): reading batches .* can be had here \(Unable to allocate 8.00"
    with pytest.raises(MachineError, match=said):
        source.next()
    source.close()


def test_shapes_that_are_given_are_looked_at_too():
    import netspec

    text = TOWER.replace("dim: [5, 1000]", "dim: [5, 7]")
    with pytest.raises(SpecError, match=r"'in' \(Input\): top 0 would have shape"):
        netspec.summarize(text, shapes={"x": (sys.maxsize, 3)})
