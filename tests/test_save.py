"""`netspec.save`: a net as a file."""

import numpy as np
import pytest

import netspec
from netspec import layers as L
from netspec.errors import FileError, SpecError


@pytest.fixture
def n():
    n = netspec.NetSpec("small")
    n.x = L.Input(shape=dict(dim=[2, 3]))
    n.y = L.InnerProduct(n.x, num_output=4)
    return n


def test_a_spec_comes_back_from_its_file(n, tmp_path):
    for name in ("net.prototxt", "net.caffemodel"):
        netspec.save(n, tmp_path / name)
        assert netspec.load(tmp_path / name).to_proto() == n.to_proto()
    assert (tmp_path / "net.prototxt").read_text() == str(n.to_proto())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "net.caffemodel",
        "net.prototxt",
    ]


def test_values_go_into_binary_files_only(n, tmp_path):
    net = n.to_proto()
    blob = net.layer[1].blobs.add()
    blob.data.extend(np.arange(12.0))
    blob.shape.dim.extend([4, 3])
    netspec.save(net, str(tmp_path / "net.caffemodel"))
    assert netspec.load(tmp_path / "net.caffemodel").to_proto().layer[1].blobs
    netspec.save(tmp_path / "net.caffemodel", tmp_path / "net.prototxt")
    assert "blobs" not in (tmp_path / "net.prototxt").read_text()
    assert net.layer[1].blobs  # what was given stays


def test_a_model_file_is_called(tmp_path):
    source = tmp_path / "model.py"
    source.write_text(
        "import netspec\n\n\ndef model():\n    n = netspec.NetSpec()\n"
        "    n.x = netspec.L.Input(shape=dict(dim=[2, 3]))\n    return n\n"
    )
    netspec.save(source, tmp_path / "net.prototxt")
    assert "dim: 3" in (tmp_path / "net.prototxt").read_text()


def test_other_files_have_other_functions(n, tmp_path):
    with pytest.raises(SpecError, match=r"for \.onnx there is netspec\.to_onnx"):
        netspec.save(n, tmp_path / "net.onnx")
    with pytest.raises(SpecError, match=r"for \.py there is NetSpec\.to_python"):
        netspec.save(n, tmp_path / "net.py")
    with pytest.raises(FileError):
        netspec.save(n, tmp_path / "missing" / "net.prototxt")
