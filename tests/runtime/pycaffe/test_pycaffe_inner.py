"""Names of pycaffe behind the documented ones: parts of passes, calls, timers."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

import runtime.pycaffe as caffe
from netspec.errors import ShapeError, SpecError, SpecWarning, UnsupportedError
from tests.patience import PATIENCE_S
from tests.runtime.pycaffe.test_pycaffe import NET, TRAINED, solver_text


@pytest.fixture
def net():
    net = caffe.Net(NET, caffe.TEST)
    net.blobs["data"].data[...] = np.random.default_rng(3).normal(size=(4, 3, 5, 6))
    return net


def test_the_compiled_module_has_the_types_of_a_net(net):
    compiled = caffe._caffe
    assert type(net.params["conv"]) is compiled.BlobVec
    assert type(net.params["conv"][0]) is compiled.Blob
    assert type(net) is compiled.Net is caffe.Net
    assert compiled.SGDSolver is caffe.SGDSolver
    assert issubclass(compiled.SGDSolver, compiled.Solver)
    assert compiled.layer_type_list() == caffe.layer_type_list()


def test_passes_by_number_are_those_by_name(net):
    wanted = net.forward(end="ip")["ip"].copy()
    net.blobs["ip"].data[...] = 0
    assert net._forward(0, 1) == 0
    assert (net.blobs["ip"].data == 0).all()
    assert net._forward(2, 3) == 0
    np.testing.assert_array_equal(net.blobs["ip"].data, wanted)
    net.blobs["ip"].diff[...] = 2
    wanted = net.backward(start="ip")["data"].copy()
    net.blobs["data"].diff[...] = 0
    net._backward(3, 3)
    assert (net.blobs["data"].diff == 0).all()
    net._backward(2, 0)
    np.testing.assert_array_equal(net.blobs["data"].diff, wanted)
    assert np.abs(wanted).max() > 0


def test_a_number_of_no_layer_is_refused(net):
    with pytest.raises(SpecError, match="no layer has the number 5; the net has 5 lay"):
        net._forward(0, 5)
    with pytest.raises(SpecError, match="no layer has the number -1"):
        net._backward(3, -1)


def test_a_forward_pass_by_number_returns_its_part_of_the_loss():
    net = caffe.Net(TRAINED, caffe.TRAIN)
    loss = net._forward(0, 2)
    assert loss == pytest.approx(float(net.blobs["loss"].data))
    assert loss > 0
    assert net._forward(0, 1) == 0
    assert net._blob_loss_weights == [0, 0, 0, 1]


def test_batches_are_filled_with_zeros(net):
    batches = list(net._batch({"data": np.ones((6, 3, 5, 6))}))
    assert [batch["data"].shape[0] for batch in batches] == [4, 4]
    assert [batch["data"].sum() for batch in batches] == [4 * 90, 2 * 90]


def test_arrays_of_memory_data_are_set_by_the_inner_name():
    net = caffe.Net(
        'layer { name: "m" type: "MemoryData" top: "x" top: "y" memory_data_param '
        "{ batch_size: 2 channels: 1 height: 1 width: 3 } }",
        caffe.TEST,
    )
    x = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3)
    net._set_input_arrays(x, np.arange(4, dtype=np.float32))
    net.forward()
    np.testing.assert_array_equal(net.forward(blobs=["x"])["x"], x[2:])


def test_functions_are_called_around_layers(net):
    seen = []
    for way in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, way)(lambda layer, way=way: seen.append((way, layer)))
    net.forward(end="relu")
    names = [(way.partition("_")[0], layer) for way, layer in seen]
    assert names == [(w, i) for i in range(3) for w in ("before", "after")]
    assert all(way.endswith("_forward") for way, _ in seen)
    seen.clear()
    net.backward()
    assert [layer for _, layer in seen] == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert all(way.endswith("_backward") for way, _ in seen)
    with pytest.raises(SpecError, match="after_forward takes a function .*; got 3"):
        net.after_forward(3)


def test_a_function_between_layers_sees_and_changes_blobs(net):
    plain = net.forward(blobs=["conv"])
    conv = plain["conv"].copy()
    caught = []

    def double(layer):
        if net._layer_names[layer] == "conv":
            caught.append(net.blobs["conv"].data.copy())
            net.blobs["conv"].data[...] *= 2

    net.after_forward(double)
    np.testing.assert_allclose(net.forward(blobs=["conv"])["conv"], 2 * conv, rtol=1e-6)
    np.testing.assert_allclose(np.maximum(caught[0], 0), conv, rtol=1e-6)


def test_training_with_functions_around_layers_is_the_same_training(tmp_path):
    losses = []
    for hooked in (False, True):
        solver = caffe.SGDSolver(solver_text(tmp_path, test_interval=1000))
        if hooked:
            counts = []
            solver.net.after_backward(counts.append)
            nccl = caffe.NCCL(solver, caffe.NCCL.new_uid())
            nccl.bcast()
            solver.add_callback(nccl)
            solver.net.after_backward(nccl)
        solver.step(3)
        losses.append([record.loss for record in solver.history.train])
    assert counts == [2, 1, 0] * 3
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_callbacks_of_a_solver_are_two_functions(tmp_path):
    solver = caffe.SGDSolver(solver_text(tmp_path))
    with pytest.raises(
        SpecError, match="add_callback takes two functions .*; got 1 and"
    ):
        solver.add_callback(1, 2)
    with pytest.raises(SpecError, match="or an NCCL; got .* and None"):
        solver.add_callback(len)


def test_more_than_one_process_is_refused(tmp_path):
    solver = caffe.SGDSolver(solver_text(tmp_path))
    uid = caffe.NCCL.new_uid()
    assert isinstance(uid, bytes)
    assert uid != caffe.NCCL.new_uid()
    caffe.set_solver_count(3)
    try:
        with pytest.raises(UnsupportedError, match=r"set_solver_count\(3\) asks for 3"):
            caffe.NCCL(solver, uid)
    finally:
        caffe.set_solver_count(1)


def test_a_timer_measures_milliseconds():
    timer = caffe.Timer()
    timer.stop()
    assert timer.ms == 0
    timer.start()
    time.sleep(0.02)
    assert timer.ms >= 20
    timer.stop()
    first = timer.ms
    assert first >= 20
    time.sleep(0.01)
    assert timer.ms == first


def test_log_lines_have_the_head_of_caffes(capsys, monkeypatch):
    caffe.log("Using devices [0]")
    said = capsys.readouterr().err
    head = r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \S+\.cpp:\d+\] "
    assert re.fullmatch(head + r"Using devices \[0\]\n", said)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    caffe.log("not this")
    assert capsys.readouterr().err == ""


# --- gradients that are given


def test_a_gradient_broadcasts_behind_the_batch(net):
    net.forward()
    full = np.broadcast_to(np.arange(1, 5, dtype=np.float32).reshape(4, 1), (4, 7))
    wanted = net.backward(prob=full + np.eye(4, 7))["data"].copy()
    assert np.abs(wanted).max() > 0
    net.backward(prob=np.arange(1, 5, dtype=np.float32).reshape(4, 1))
    np.testing.assert_array_equal(net.blobs["prob"].diff, full)
    with pytest.raises(
        ShapeError, match=r"'prob' has shape \(3, 7\); .* as many items"
    ):
        net.backward(prob=np.ones((3, 7)))
    with pytest.raises(ShapeError, match=r"\(4, 5\), which does not broadcast to"):
        net.backward(prob=np.ones((4, 5)))


def test_a_gradient_that_the_pass_computes_is_refused(net):
    net.forward()
    said = (
        r"blob 'ip' is no output of this pass, .* of layer 'prob' \(Softmax\); the "
        r"outputs are \['prob'\]. To begin at 'ip', call backward\(start='ip', ip=...\)"
    )
    with pytest.raises(SpecError, match=said):
        net.backward(ip=np.ones((4, 7)))
    given = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    got = net.backward(start="ip", ip=given)["data"].copy()
    net.blobs["ip"].diff[...] = given
    np.testing.assert_array_equal(net.backward(start="ip")["data"], got)
    assert np.abs(got).max() > 0


def test_a_gradient_in_a_net_that_computes_none_is_told():
    net = caffe.Net(NET.replace("force_backward: true", ""), caffe.TEST)
    net.forward()
    said = "blob 'prob' is given, but no layer of this pass computes .* force_backward"
    with pytest.warns(SpecWarning, match=said):
        net.backward(prob=np.ones((4, 7)))


def test_a_script_of_several_devices_says_why_it_cannot(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import caffe\ncaffe.set_solver_count(2)\ncaffe.NCCL(None, b'uid')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "runtime.pycaffe", str(script)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert "one process trains here; run it with one device" in done.stderr
