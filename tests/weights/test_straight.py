"""Values go from the file into the parameters, with no copy of them in between."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import runtime
from netspec.errors import FileError
from netspec.schema import TEST, NetParameter
from netspec.weights import as_model, read_weights, save_weights, stored
from runtime.execution import weights

ROWS, COLUMNS = 1500, 1000  # 6 MB
NET = f"""
layer {{ name: "in" type: "Input" top: "x"
        input_param {{ shape {{ dim: [1, {COLUMNS}] }} }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {{
  num_output: {ROWS} weight_filler {{ type: "xavier" }} }} }}
"""
SMALL = NET.replace(str(COLUMNS), "5").replace(str(ROWS), "3")


def peak_of(run):
    tracemalloc.start()
    held = run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held, peak


@pytest.mark.parametrize("suffix", ["caffemodel", "h5", "safetensors"])
def test_reading_and_writing_take_no_memory_beside_the_arrays(tmp_path, suffix):
    if suffix == "h5":
        pytest.importorskip("h5py")
    one, other = (runtime.Net(NET, TEST, seed=seed) for seed in (1, 2))
    path = tmp_path / f"w.{suffix}"
    _, peak = peak_of(lambda: one.save(path))
    assert peak < 500_000
    _, peak = peak_of(lambda: other.copy_from(path))
    assert peak < 500_000
    np.testing.assert_array_equal(one.params["fc"][0].data, other.params["fc"][0].data)
    held, peak = peak_of(lambda: read_weights(path))
    assert held["fc"][0].nbytes == 4 * ROWS * COLUMNS
    assert peak < 1.1 * held["fc"][0].nbytes
    _, peak = peak_of(lambda: as_model(NET, path).save(path))
    assert peak < 1.1 * held["fc"][0].nbytes


def test_a_parameter_that_starts_with_zeros_is_not_filled(monkeypatch):
    filled = []

    def counting(shape, filler, rng, what):
        filled.append(what)
        return np.full(shape, 2, np.float32)

    monkeypatch.setattr("runtime.execution.parameters.fill", counting)
    net = runtime.Net(SMALL, TEST)
    assert filled == ["layer 'fc' (InnerProduct), parameter 0"]
    assert net.params["fc"][0].data.tolist() == [[2] * 5] * 3
    assert net.params["fc"][1].data.tolist() == [0] * 3


def test_nets_of_double_precision_get_all_of_it(tmp_path):
    h5py = pytest.importorskip("h5py")
    matrix, bias = np.random.default_rng(0).normal(size=(3, 5)), np.arange(3) / 3
    message = NetParameter()
    layer = message.layer.add(name="fc")
    for values in (matrix, bias):
        layer.blobs.add(shape={"dim": values.shape}, double_data=values.ravel())
    (tmp_path / "w.caffemodel").write_bytes(message.SerializeToString())
    np.savez(tmp_path / "w.npz", **{"fc/0": matrix, "fc/1": bias})
    for name, options in (("w.h5", {}), ("packed.h5", {"compression": "gzip"})):
        with h5py.File(tmp_path / name, "w") as file:
            for slot, values in enumerate((matrix, bias)):
                file.create_dataset(f"data/fc/{slot}", data=values, **options)
    for name in ("w.caffemodel", "w.npz", "w.h5", "packed.h5"):
        net = runtime.Net(SMALL, TEST, tmp_path / name, dtype="float64")
        np.testing.assert_array_equal(net.params["fc"][0].data, matrix)
        np.testing.assert_array_equal(net.params["fc"][1].data, bias)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["float", "double", "half"])
def test_values_are_read_in_pieces_of_any_form(tmp_path, monkeypatch, packed, kind):
    """Also where they have a key each, and lie in several pieces."""
    monkeypatch.setattr(stored, "CHUNK_VALUES", 7)
    dtype, number, wire = {
        "float": ("<f4", 5, 5),
        "double": ("<f8", 8, 1),
        "half": ("<f2", 12, 2),
    }[kind]
    values = np.arange(40).reshape(4, 10).astype(dtype) / 4

    def field(number, data):
        size = bytes([len(data) & 127 | 128, len(data) >> 7])
        return bytes([number << 3 | 2]) + size + data

    parts = [values] if kind == "half" else [values[:1], values[1:]]
    if packed or kind == "half":
        data = b"".join(field(number, part.tobytes()) for part in parts)
    else:
        key = bytes([number << 3 | wire])
        data = b"".join(key + each.tobytes() for each in values.reshape(-1))
    blob = b"\x3a\x04\x0a\x02\x04\x0a" + b"\x50\x02" + data
    layer = field(1, b"fc") + field(7, blob)
    size = bytes([len(layer) & 127 | 128, len(layer) >> 7])
    (tmp_path / "w").write_bytes(b"\xa2\x06" + size + layer)
    (found,) = read_weights(tmp_path / "w")["fc"]
    np.testing.assert_array_equal(found, values)


def test_packed_values_that_are_broken_leave_the_net_as_it_was(tmp_path):
    h5py = pytest.importorskip("h5py")
    net = runtime.Net(SMALL, TEST)
    before = net.params["fc"][0].data.copy()
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/fc/0"] = np.ones((3, 5), np.float32)
        bias = np.arange(3, dtype=np.float32) + 77
        file.create_dataset("data/fc/1", data=bias, chunks=(3,), fletcher32=True)
    content = (tmp_path / "w.h5").read_bytes()
    place = content.index(bias.tobytes())
    broken = content[:place] + b"\xff" + content[place + 1 :]
    (tmp_path / "w.h5").write_bytes(broken)
    with pytest.raises(FileError, match=r"'/data/fc/1' of .*w.h5 is broken"):
        net.copy_from(tmp_path / "w.h5")
    np.testing.assert_array_equal(net.params["fc"][0].data, before)


def test_what_several_nets_share_is_read_once(tmp_path, monkeypatch):
    net = runtime.Net(SMALL, TEST)
    other = runtime.Net(SMALL, TEST, share_with=net)
    save_weights(tmp_path / "w.npz", {"fc": [np.ones((3, 5)), np.ones(3)]})
    read = []
    prepared = stored.StoredBlob.prepared

    def counting(blob, what, dtype):
        read.append(what)
        return prepared(blob, what, dtype)

    monkeypatch.setattr(stored.StoredBlob, "prepared", counting)
    report = weights.copy_into([net, other], tmp_path / "w.npz")
    assert report.copied == ("fc",)
    assert len(read) == 2
    assert other.params["fc"][0].data.sum() == 15
