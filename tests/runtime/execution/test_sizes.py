"""Images of different sizes: the net takes the shape of each batch."""

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError
from tests.runtime.data.test_lmdb_reader import database, datum
from tests.runtime.training.test_solver import assert_same, solver_text, values

pytest.importorskip("lmdb")
Image = pytest.importorskip("PIL.Image")

SIZES = [(6, 5), (8, 9), (6, 5), (7, 12), (5, 5)]
PICTURES = [
    np.random.default_rng(i).integers(0, 256, (3, *size), dtype=np.uint8)
    for i, size in enumerate(SIZES)
]
CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 2 kernel_size: 3 stride: 2
                            weight_filler { type: "xavier" } } }
"""
LEARNING = """
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "out" type: "InnerProduct" bottom: "pool" top: "out"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "out" bottom: "label" top: "loss" }
"""


@pytest.fixture(params=["ImageData", "Data"])
def data(request, tmp_path):
    """Return a function that writes a data layer for the images."""
    if request.param == "Data":
        items = [datum(picture, i) for i, picture in enumerate(PICTURES)]
        database(tmp_path / "db", items)
        param = f'data_param {{ source: "{tmp_path}/db" backend: LMDB batch_size: '
    else:
        for i, picture in enumerate(PICTURES):
            values = picture[::-1].transpose(1, 2, 0)
            Image.fromarray(values).save(tmp_path / f"{i}.png")
        lines = "".join(f"{tmp_path}/{i}.png {i}\n" for i in range(len(PICTURES)))
        (tmp_path / "list.txt").write_text(lines)
        param = f'image_data_param {{ source: "{tmp_path}/list.txt" batch_size: '

    def text(more="", batch_size=1):
        return (
            f'layer {{ name: "d" type: "{request.param}" top: "data" top: "label" '
            f"{param} {batch_size} }} {more} }}"
        )

    return text


def test_every_batch_has_the_size_of_its_image(data, backend):
    net = runtime.Net(data() + CONV, runtime.TEST, backend=backend.name, seed=3)
    alone = runtime.Net(
        'layer { name: "x" type: "Input" top: "data" '
        f"input_param {{ shape {{ dim: [1, 3, 6, 5] }} }} }} {CONV}",
        seed=3,
    )
    for number in range(2 * len(SIZES)):
        picture = PICTURES[number % len(SIZES)]
        got = net.forward()["conv"]
        np.testing.assert_array_equal(net.blobs["data"].data, picture[None])
        np.testing.assert_array_equal(net.blobs["label"].data, [number % len(SIZES)])
        alone.blobs["data"].reshape(1, *picture.shape)
        want = alone.forward(data=picture[None])["conv"]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
    net.close()


def test_a_run_over_images_of_different_sizes_resumes_bit_for_bit(
    data, backend, tmp_path
):
    text = data("transform_param { mirror: true scale: 0.01 mean_value: 100 }")

    def make():
        options = (
            'type: "Adam" momentum: 0.9 momentum2: 0.99 base_lr: 0.02 iter_size: 2 '
            'lr_policy: "fixed" test_iter: 3 test_interval: 2 '
            f'snapshot_prefix: "{tmp_path}/n"'
        )
        net = solver_text(text + CONV + LEARNING, options)
        return runtime.get_solver(net, backend=backend.name, seed=5)

    straight = make()
    straight.step(4)
    state = straight.snapshot().state
    straight.step(5)
    resumed = make()
    resumed.restore(state)
    resumed.step(5)
    assert_same(values(straight), values(resumed))
    losses = [record.loss for record in straight.history.train]
    assert losses[4:] == [record.loss for record in resumed.history.train]
    assert len(set(losses)) == 9
    tests = [r.scalars() for r in straight.history.tests if r.iteration >= 4]
    assert tests == [r.scalars() for r in resumed.history.tests]
    for solver in (straight, resumed):
        solver.close()


def test_images_of_one_batch_must_be_equal(data):
    net = runtime.Net(data(batch_size=2) + CONV)
    with pytest.raises(SpecError, match=r"item 1 .*\(3, 8, 9\).* or batch_size: 1"):
        net.forward()
    net.close()


def test_a_size_that_the_net_cannot_take_is_named_and_no_batch_is_lost(data):
    large = CONV.replace("kernel_size: 3", "kernel_size: 6 pad: 1")
    net = runtime.Net(data() + large)
    seen = []
    for _ in range(4):
        net.forward()
        seen.append(int(net.blobs["label"].data[0]))
    del seen[:]
    larger = CONV.replace("kernel_size: 3", "kernel_h: 6 kernel_w: 5")
    net = runtime.Net(data() + larger)
    for _ in range(4):
        net.forward()
        seen.append(int(net.blobs["label"].data[0]))
    assert seen == [0, 1, 2, 3]
    for _ in range(2):  # the last image is 5 by 5
        with pytest.raises(ShapeError, match=r"'conv' .*kernel"):
            net.forward()
        np.testing.assert_array_equal(net.blobs["data"].data, PICTURES[3][None])
    net.close()


def test_a_file_of_outputs_goes_on_when_sizes_change(data, tmp_path):
    h5py = pytest.importorskip("h5py")
    pool = LEARNING[LEARNING.index('layer { name: "pool"') :].split("layer {")[1]
    output = (
        'layer { name: "o" type: "HDF5Output" bottom: "pool" bottom: "label" '
        f'hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}'
    )
    net = runtime.Net(f"{data()} {CONV} layer {{ {pool} {output}")
    want = []
    for _ in range(len(SIZES)):
        net.forward()
        want.append(net.blobs["pool"].data.copy())
    net.close()
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["data"], np.concatenate(want))
        np.testing.assert_array_equal(file["label"][:].reshape(-1), range(len(SIZES)))


def test_a_file_of_outputs_has_items_of_one_shape(data, tmp_path):
    pytest.importorskip("h5py")
    output = (
        'layer { name: "o" type: "HDF5Output" bottom: "conv" bottom: "label" '
        f'hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}'
    )
    net = runtime.Net(data() + CONV + output)
    net.forward()
    with pytest.raises(OSError, match=r"\(2, 2, 2\) in 'data', this batch \(2, 3, 4\)"):
        net.forward()
    net.close()


def test_states_of_a_recurrent_layer_outlive_another_number_of_steps(backend):
    text = """
    layer { name: "x" type: "Input" top: "x" top: "cont"
            input_param { shape { dim: [4, 2, 3] } shape { dim: [4, 2] } } }
    layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h"
            recurrent_param { num_output: 5 weight_filler { type: "xavier" } } }
    """
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    cont = np.array([[0, 0], [1, 1], [1, 1], [1, 1]])
    whole = runtime.Net(text, backend=backend.name, seed=1)
    want = whole.forward(x=x, cont=cont)["h"].copy()
    parts = runtime.Net(text, backend=backend.name, seed=1)
    for first, last in ((0, 3), (3, 4)):
        parts.blobs["x"].reshape(last - first, 2, 3)
        parts.blobs["cont"].reshape(last - first, 2)
        got = parts.forward(x=x[first:last], cont=cont[first:last])["h"]
        np.testing.assert_allclose(got, want[first:last], rtol=1e-5, atol=1e-6)
