"""What `netspec.to_onnx` writes comes back with its names and numbers."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
import runtime
from netspec import L, NetSpec
from netspec.errors import UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import by_us, onnx, values

assert onnx  # or these tests are skipped


def images():
    """A net with most kinds of layers of classifiers."""
    n = NetSpec("images")
    n.data = L.Input(shape=[2, 3, 17, 17])
    n.conv1 = L.Convolution(n.data, num_output=8, kernel_size=3, stride=2, pad=1)
    n["bn1"] = L.BatchNorm(n.conv1, in_place=True)
    n["scale1"] = L.Scale(n["bn1"], bias_term=True, in_place=True)
    n["relu1"] = L.ReLU(n["scale1"], in_place=True)
    n.pool1 = L.Pooling(n["relu1"], pool="MAX", kernel_size=3, stride=2)
    n.norm1 = L.LRN(n.pool1, local_size=3, alpha=0.3, beta=0.6, k=2.0)
    n.conv2 = L.Convolution(n.norm1, num_output=8, kernel_size=3, pad=2, dilation=2)
    n.slope = L.PReLU(n.conv2)
    n.sum = L.Eltwise(n.slope, n.pool1, operation="SUM", coeff=[1, -0.5])
    n.first, n.second = L.Slice(n.sum, axis=1, slice_point=3, ntop=2)
    n.elu = L.ELU(n.second, alpha=0.4)
    n.both = L.Concat(n.elu, n.first, axis=1)
    n.up = L.Deconvolution(n.both, num_output=4, kernel_size=4, stride=2, pad=1)
    n.power = L.Power(n.up, scale=0.5, shift=1.0, power=2.0)
    n.global_pool = L.Pooling(n.power, pool="AVE", global_pooling=True)
    n.fc = L.InnerProduct(n.global_pool, num_output=5)
    n.prob = L.Softmax(n.fc)
    return n


def with_values(n):
    net = runtime.Net(n, phase="TEST", seed=1, backend="portable")
    for seed, name in enumerate(net.params):
        for place, parameter in enumerate(net.params[name]):
            shape = parameter.data.shape
            parameter.data[...] = np.abs(values(10 * seed + place, *shape)) * 0.2 + 0.1
    held = {
        name: [np.array(each.data) for each in arrays]
        for name, arrays in net.params.items()
    }
    return net, held


def test_a_net_comes_back(tmp_path):
    n = images()
    net, held = with_values(n)
    netspec.to_onnx(n, held, path=tmp_path / "net.onnx")
    read = from_onnx(tmp_path / "net.onnx")
    data = {"data": values(3, 2, 3, 17, 17)}
    wanted = np.array(net.forward(**data)["prob"])
    np.testing.assert_allclose(by_us(read, data)["prob"], wanted, atol=1e-6)
    names = {each.name for each in read.net.layer}
    assert names >= {"data", "conv1", "bn1", "relu1", "pool1", "up", "fc", "prob"}


def test_a_table_comes_back(tmp_path):
    n = NetSpec()
    n.words = L.Input(shape=[2, 4])
    n.rows = L.Embed(n.words, input_dim=7, num_output=3, bias_term=False)
    net, held = with_values(n)
    netspec.to_onnx(n, held, path=tmp_path / "net.onnx")
    with pytest.warns(netspec.SpecWarning, match="count from 0"):
        read = from_onnx(tmp_path / "net.onnx")
    data = {"words": np.float32([[0, 6, 2, 1], [5, 5, 3, 0]])}
    wanted = np.array(net.forward(**data)["rows"])
    np.testing.assert_array_equal(by_us(read, data)["rows"], wanted)


@pytest.mark.filterwarnings("ignore:layer 'h'")
def test_a_recurrent_net_is_refused_by_the_names_of_its_nodes(tmp_path):
    n = NetSpec()
    n.x = L.Input(shape=[4, 2, 3])
    n.cont = L.Input(shape=[4, 2])
    n.h = L.LSTM(n.x, n.cont, num_output=5)
    _, held = with_values(n)
    netspec.to_onnx(n, held, path=tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match=r"node 'h.*"):
        from_onnx(tmp_path / "net.onnx")
