"""Batches in equal parts: the same training, and what refuses it."""

from __future__ import annotations

import warnings

import h5py
import lmdb
import numpy as np
import pytest

import runtime
from netspec.errors import SpecError, SpecWarning, UnsupportedError
from netspec.schema import Datum
from runtime.__main__ import main

SOFTMAX = """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
        %s }
"""
LOSSES = {
    "softmax": SOFTMAX % "",
    "weighted": SOFTMAX % "loss_weight: 0.5",
    "batch": SOFTMAX % "loss_param { ignore_label: 1 normalization: BATCH_SIZE }",
    "none": SOFTMAX % "loss_weight: 0.1 loss_param { normalization: NONE }",
    "unnamed": SOFTMAX.replace('top: "loss"', "")
    % "loss_param { normalization: NONE }",
    "hinge": SOFTMAX.replace("SoftmaxWithLoss", "HingeLoss") % "",
    "power": """
layer { name: "energy" type: "Power" bottom: "ip" top: "energy" loss_weight: 0.01
        power_param { power: 2 } }
layer { name: "quiet" type: "Silence" bottom: "energy" }
layer { name: "soft" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "l" }
""",
}
DATA = """
layer { name: "data" type: "Data" top: "data" top: "label"
        transform_param { scale: 0.01 } data_param { source: "%s" batch_size: 8
                                                     backend: LMDB } }
"""
GLOBAL = "pooling_param { pool: AVE global_pooling: true }"
SOLVER = {"base_lr": 0.05, "lr_policy": "fixed", "momentum": 0.9, "max_iter": 6}


def net_text(source, middle="", loss=LOSSES["softmax"]):
    return f"""
layer {{ name: "data" type: "HDF5Data" top: "data" top: "label"
        hdf5_data_param {{ source: "{source}" batch_size: 8 }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param {{ num_output: 6 kernel_size: 3 pad: 1
                            weight_filler {{ type: "msra" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param {{ kernel_size: 2 stride: 2 }} }}
{middle}
layer {{ name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
{loss}
"""


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(2)
    with h5py.File(tmp_path / "items.h5", "w") as file:
        file["data"] = rng.normal(size=(44, 3, 12, 12)).astype("float32")
        file["label"] = rng.integers(4, size=44).astype("float32")
    path = tmp_path / "list.txt"
    path.write_text(f"{tmp_path / 'items.h5'}\n")
    return path


def solver_of(text, **more):
    fields = {**SOLVER, **more}
    return runtime.get_solver({"net_param": text}, seed=3, **fields)


def assert_alike(one, other):
    np.testing.assert_allclose(
        one.net.flat.data, other.net.flat.data, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        [step.loss for step in one.history.train],
        [step.loss for step in other.history.train],
        rtol=1e-5,
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_train_as_the_whole_does(source, loss, parts):
    text = net_text(source, loss=LOSSES[loss])
    whole, divided = solver_of(text), solver_of(text, micro_batch=parts)
    assert divided.micro_batch == divided.param.iter_size == parts
    assert divided.net.blobs["data"].shape[0] == 8 // parts
    for solver in (whole, divided):
        solver.step(6)
    assert_alike(divided, whole)


def test_pictures_without_a_crop_may_change_their_size_by_batches(tmp_path):
    rng = np.random.default_rng(4)
    path = str(tmp_path / "db")
    with lmdb.open(path, map_size=2**24) as env, env.begin(write=True) as items:
        for number in range(24):
            size = 12 if number // 8 % 2 else 9
            pixels = rng.integers(256, size=(3, size, 10), dtype=np.uint8)
            datum = Datum(channels=3, height=size, width=10, label=number % 4)
            datum.data = pixels.tobytes()
            items.put(b"%08d" % number, datum.SerializeToString())
    text = net_text("").replace("pooling_param { kernel_size: 2 stride: 2 }", GLOBAL)
    start = text.index('layer { name: "conv"')
    text = DATA % path + text[start:]
    whole, divided = solver_of(text), solver_of(text, micro_batch=4)
    for solver in (whole, divided):
        solver.step(6)
    assert_alike(divided, whole)


@pytest.mark.parametrize(
    "more",
    [
        {"iter_size": 3},
        {"clip_gradients": 0.1},
        {"clip_gradients": 0.1, "iter_size": 2, "weight_decay": 0.01},
        {"type": "Adam", "base_lr": 0.001},
    ],
)
def test_what_follows_from_the_number_of_passes_stays(source, more):
    text = net_text(source)
    whole, divided = solver_of(text, **more), solver_of(text, micro_batch=4, **more)
    for solver in (whole, divided):
        solver.step(5)
    rtol = 1e-3 if more.get("type") else 1e-5  # Adam divides rounding by rounding
    np.testing.assert_allclose(
        divided.net.flat.data, whole.net.flat.data, rtol=rtol, atol=1e-6
    )


def test_snapshots_resume(source, tmp_path):
    text = net_text(source)
    how = {"micro_batch": 2, "snapshot_prefix": str(tmp_path / "run")}
    through, first, rest = (solver_of(text, **how) for _ in range(3))
    through.step(5)
    first.step(2)
    rest.restore(first.snapshot().state)
    rest.step(3)
    np.testing.assert_array_equal(rest.net.flat.data, through.net.flat.data)


def test_auto_takes_as_few_parts_as_will_do(source):
    text = net_text(source)

    def least(**more):
        with pytest.raises(SpecError, match="takes at least") as caught:
            solver_of(text, memory_limit=more.pop("limit", 1000), **more)
        return caught.value.least

    needs = {k: least(micro_batch=k) for k in (1, 2, 4, 8)}
    assert sorted(needs.values(), reverse=True) == list(needs.values())
    for parts, need in needs.items():
        solver = solver_of(text, memory_limit=need, micro_batch="auto")
        assert solver.micro_batch == parts
    whole = solver_of(text)
    for one in (solver, whole):
        one.step(4)
    assert_alike(solver, whole)
    with pytest.raises(SpecError, match="micro_batch up to 8") as caught:
        solver_of(text, memory_limit=needs[8] - 1, micro_batch="auto")
    assert caught.value.least == needs[8]


NORM = 'layer { name: "norm" type: "BatchNorm" bottom: "pool" top: "pool" %s }'
REFUSED = {
    "BatchNorm": (NORM % "", "'norm'.*statistics of the whole batch"),
    "Reshape": (
        (
            'layer { name: "r" type: "Reshape" bottom: "pool" top: "r" reshape_param '
            '{ shape { dim: 16 dim: -1 } } } layer { name: "s" type: "Silence" '
            'bottom: "r" }'
        ),
        "'r'.*number of items",
    ),
    "Concat": (
        (
            'layer { name: "c" type: "Concat" bottom: "pool" bottom: "pool" top: "c" '
            'concat_param { axis: 0 } } layer { name: "s" type: "Silence" bottom: "c" }'
        ),
        "'c'.*across axis 0",
    ),
    "Reduction": (
        (
            'layer { name: "sum" type: "Reduction" bottom: "pool" top: "sum" '
            "loss_weight: 1 }"
        ),
        "'sum'.*across axis 0",
    ),
    "Slice": (
        (
            'layer { name: "c" type: "Slice" bottom: "pool" top: "c" top: "d" '
            "slice_param "
            '{ axis: 0 } } layer { name: "s" type: "Silence" bottom: "c" bottom: "d" }'
        ),
        "'c'.*across axis 0",
    ),
    "Softmax": (
        (
            'layer { name: "c" type: "Softmax" bottom: "pool" top: "c" softmax_param '
            '{ axis: 0 } } layer { name: "s" type: "Silence" bottom: "c" }'
        ),
        "'c'.*across axis 0",
    ),
    "BatchReindex": (
        (
            'layer { name: "c" type: "BatchReindex" bottom: "pool" bottom: "label" '
            'top: "c" } layer { name: "s" type: "Silence" bottom: "c" }'
        ),
        "'c'.*not known",
    ),
    "DummyData": (
        (
            'layer { name: "c" type: "DummyData" top: "c" dummy_data_param { shape '
            '{ dim: 8 } data_filler { type: "uniform" } } } layer { name: "s" '
            'type: "Silence" bottom: "c" }'
        ),
        "'c'.*draws other values",
    ),
    "Input": (
        (
            'layer { name: "c" type: "Input" top: "c" input_param { shape { '
            "dim: 8 } } } "
            'layer { name: "s" type: "Silence" bottom: "c" }'
        ),
        "'c'.*iter_size",
    ),
    "Python": (
        (
            'layer { name: "c" type: "Python" bottom: "pool" top: "c" python_param '
            '{ module: "m" layer: "L" } }'
        ),
        "'c'.*anything",
    ),
    "Filter": (
        (
            'layer { name: "c" type: "Filter" bottom: "pool" bottom: "label" '
            'top: "c" } '
            'layer { name: "s" type: "Silence" bottom: "c" }'
        ),
        "'c'.*only the data tells",
    ),
    "Parameter": (
        (
            'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape '
            '{ dim: 8 dim: 6 dim: 6 dim: 6 } } } layer { name: "c" type: "Eltwise" '
            'bottom: "pool" bottom: "p" top: "c" } layer { name: "s" type: "Silence" '
            'bottom: "c" }'
        ),
        "'c'.*without the items",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_in_which_items_meet_are_named(source, name):
    middle, said = REFUSED[name]
    with pytest.raises(UnsupportedError, match=said):
        solver_of(net_text(source, middle), micro_batch=2)


@pytest.mark.parametrize(
    ("param", "said"),
    [
        ("ignore_label: 1", "VALID with"),
        ("weight_by_label_freqs: true", "weighs classes"),
    ],
)
def test_losses_of_a_whole_batch_are_named(source, param, said):
    loss = SOFTMAX % f"loss_param {{ {param} }}"
    with pytest.raises(UnsupportedError, match=f"'loss'.*{said}"):
        solver_of(net_text(source, loss=loss), micro_batch=2)


def test_a_sum_that_another_layer_reads_is_named(source):
    loss = SOFTMAX % "loss_param { normalization: NONE } loss_weight: 0.1"
    loss += 'layer { name: "quiet" type: "Silence" bottom: "loss" }'
    with pytest.raises(UnsupportedError, match="'loss'.*another layer reads"):
        solver_of(net_text(source, loss=loss), micro_batch=2)


def test_auto_says_why_it_must_divide_and_cannot(source):
    text = net_text(source, NORM % "")
    assert solver_of(text, memory_limit="1GB", micro_batch="auto").micro_batch == 1
    with pytest.raises(SpecError, match="smaller batch, or micro_batch='auto'"):
        solver_of(text, memory_limit="2kB")
    with pytest.raises(UnsupportedError, match="'norm'.*undivided memory_limit is"):
        solver_of(text, memory_limit="2kB", micro_batch="auto")


def test_stored_statistics_are_divided(source):
    text = net_text(source, NORM % "batch_norm_param { use_global_stats: true }")
    assert solver_of(text, micro_batch=2).micro_batch == 2


def test_numbers_of_parts_that_cannot_be(source):
    text = net_text(source)
    with pytest.raises(SpecError, match=r"'data'.*batch of 8.*1, 2, 4, 8"):
        solver_of(text, micro_batch=3)
    with pytest.raises(SpecError, match="needs a memory_limit"):
        solver_of(text, micro_batch="auto")
    for wrong in (0, -1, True, 1.5, "two"):
        with pytest.raises(SpecError, match="micro_batch is"):
            solver_of(text, micro_batch=wrong)


def test_other_masks_are_told(source):
    drop = 'layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }'
    text = net_text(source, drop)
    with pytest.warns(SpecWarning, match="'drop'.*draw other numbers"):
        solver_of(text, micro_batch=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solver_of(text, micro_batch=1)


def test_constant_dummy_data_and_test_nets_are_whole(source):
    ones = """
layer { name: "ones" type: "DummyData" top: "ones" include { phase: TRAIN }
        dummy_data_param { shape { dim: 8 dim: 6 dim: 6 dim: 6 }
                           data_filler { value: 2 } } }
layer { name: "sum" type: "Eltwise" bottom: "pool" bottom: "ones" top: "sum"
        include { phase: TRAIN } }
layer { name: "quiet" type: "Silence" bottom: "sum" include { phase: TRAIN } }
"""
    text = net_text(source, ones)
    solver = solver_of(text, micro_batch=4, test_iter=[1], test_interval=10)
    assert solver.net.blobs["ones"].shape == (2, 6, 6, 6)
    assert solver.test_nets[0].blobs["data"].shape[0] == 8


def test_the_command_divides(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(net_text(source))
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 2'
    )
    train = ["train", "solver.prototxt", "--no-progress", "--micro-batch"]
    assert main([*train, "2"]) == 0
    assert "micro_batch: 2 parts" in capsys.readouterr().out
    assert main([*train, "auto"]) == 1
    assert "needs a memory_limit" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*train, "0"])
