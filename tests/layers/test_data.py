"""Layers that bring data in, take it out, or hold it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from netspec.errors import FileError, MachineError
from netspec.ops.data import source_op
from runtime.backends.base import Backend
from runtime.layers.base import Bound, Context
from tests.layers.harness import LoneLayer, check_layer, lone_node, parse_layer


def test_input_leaves_its_blobs_alone(backend: Backend) -> None:
    text = 'type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 } }'
    layer = LoneLayer(text, [], backend=backend)
    layer.bound.tops[0][...] = 7
    layer.kernel.forward()
    assert (layer.bound.tops[0] == 7).all()


DUMMY = """
    name: "noise" type: "DummyData" top: "a" top: "b" top: "c"
    dummy_data_param {
      shape { dim: 20 dim: 30 } shape { dim: 4 dim: 5 } shape { dim: 20 dim: 30 }
      data_filler { type: "uniform" min: 2 max: 3 }
      data_filler { type: "constant" value: -1.5 }
      data_filler { type: "uniform" min: 2 max: 3 }
    }
"""


def dummy(backend: Backend, seed: int = 7) -> LoneLayer:
    return LoneLayer(DUMMY, [], backend=backend, seed=seed)


def drawn(layer: LoneLayer, clock: int) -> list[np.ndarray]:
    layer.clock.value = clock
    layer.kernel.forward()
    tops = [np.empty(top.shape) for top in layer.bound.tops]
    for top, host in zip(layer.bound.tops, tops, strict=True):
        layer.backend.download(top, host)
    return tops


def test_dummy_data_draws_anew_in_every_pass(backend: Backend) -> None:
    layer = dummy(backend)
    first, again, later = drawn(layer, 0), drawn(layer, 0), drawn(layer, 1)
    for values in (first, later):
        assert 2 <= values[0].min() < 2.1
        assert 2.9 < values[0].max() <= 3
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], first[2])
    assert not np.array_equal(first[0], later[0])
    assert not np.array_equal(first[0], drawn(dummy(backend, seed=8), 0)[0])


def test_constant_dummy_data_is_filled_once_and_may_be_overwritten(
    backend: Backend,
) -> None:
    layer = dummy(backend)
    np.testing.assert_array_equal(drawn(layer, 0)[1], np.full((4, 5), -1.5))
    layer.bound.tops[1][...] = 9
    np.testing.assert_array_equal(drawn(layer, 1)[1], np.full((4, 5), 9))


class Batches:
    """A source that counts."""

    def __init__(self) -> None:
        self.count = 0

    def next(self) -> tuple[np.ndarray, ...]:
        self.count += 1
        data = np.arange(24, dtype=np.float32).reshape(2, 3, 4) + 100 * self.count
        return data, np.array([self.count, -self.count], np.float32)


@pytest.mark.parametrize("kind", ["Data", "HDF5Data", "MemoryData"])
@pytest.mark.parametrize("labels", [(2,), (2, 1, 1, 1)])
def test_a_file_source_delivers_its_next_batch(
    backend: Backend, kind: str, labels: tuple[int, ...]
) -> None:
    layer = parse_layer(f'name: "in" type: "{kind}" top: "data" top: "label"', 0)
    op = source_op(layer, [(2, 3, 4), labels])
    context = Context(backend, "float64", sources={"in": Batches()})
    node = lone_node(op, layer.phase, (), ())
    kernel = backend.kernel(node, "float64")(node, context)  # type: ignore[arg-type]
    tops = tuple(backend.zeros(shape, "float64") for shape in op.tops)
    kernel.bind(Bound((), tops, (), (None, None), (), (), {}))
    for count in (1, 2):
        kernel.forward()
        hosts = [np.empty(top.shape) for top in tops]
        for top, host in zip(tops, hosts, strict=True):
            backend.download(top, host)
        expected = np.arange(24).reshape(2, 3, 4) + 100 * count
        np.testing.assert_array_equal(hosts[0], expected)
        np.testing.assert_array_equal(hosts[1].reshape(-1), [count, -count])


def test_a_parameter_becomes_a_blob_and_gets_its_gradient(backend: Backend) -> None:
    text = 'type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }'
    check_layer(text, [], lambda op, w: w, backend=backend)


def output(path: Path) -> str:
    param = f'hdf5_output_param {{ file_name: "{path}" }}'
    return f'name: "out" type: "HDF5Output" {param}'


def test_hdf5_output_adds_every_batch_with_four_axes(
    backend: Backend, tmp_path: Path
) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "out.h5"
    path.write_text("what was here before is replaced")
    layer = LoneLayer(output(path), [(3, 2, 4), (3,)], backend=backend)
    data = np.random.default_rng(0).normal(size=(2, 3, 2, 4)).astype(np.float32)
    for batch in range(2):
        layer.forward([data[batch], [batch, 1.0, 2.0]])
    with h5py.File(path) as file:
        assert file["data"].dtype == np.float32
        np.testing.assert_array_equal(file["data"], data.reshape(6, 2, 4, 1))
        expected = np.array([0, 1, 2, 1, 1, 2]).reshape(6, 1, 1, 1)
        np.testing.assert_array_equal(file["label"], expected)


def test_hdf5_output_to_a_place_that_is_not_there_is_an_error(
    backend: Backend, tmp_path: Path
) -> None:
    pytest.importorskip("h5py")
    layer = LoneLayer(
        output(tmp_path / "no" / "out.h5"), [(3, 2), (3,)], backend=backend
    )
    with pytest.raises(
        FileError, match=r"'out' \(HDF5Output\): cannot write .*out\.h5"
    ):
        layer.forward([np.ones((3, 2)), np.ones(3)])


def test_hdf5_output_without_h5py_is_an_error(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MachineError, match="needs the package h5py"):
        LoneLayer(output(tmp_path / "out.h5"), [(3, 2), (3,)], backend=backend)
