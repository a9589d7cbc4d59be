"""Whole nets on compiled kernels: joined steps, prepared weights, threads, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import netspec
import runtime
from netspec.commands.model_files import load_model
from netspec.errors import SpecError
from netspec.nets.upgrade import upgrade_net
from netspec.schema import LayerParameter
from runtime.backends.cpu import CpuBackend
from tests.allocation import allocated_bytes
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
INPUT = """
    layer { name: "x" type: "Input" top: "x"
            input_param { shape { dim: 4 dim: 3 dim: 24 dim: 24 } } }
    layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 } } }
"""
NET = (
    INPUT
    + """
    layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
            convolution_param { num_output: 16 kernel_size: 3 pad: 1
                                weight_filler { type: "xavier" } } }
    layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
    layer { name: "scale" type: "Scale" bottom: "conv" top: "conv"
            scale_param { bias_term: true } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
            pooling_param { kernel_size: 3 stride: 2 } }
    layer { name: "conv2" type: "Convolution" bottom: "pool" top: "conv2"
            convolution_param { num_output: 16 kernel_size: 3 pad: 1
                                weight_filler { type: "xavier" } } }
    layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
    layer { name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3"
            convolution_param { num_output: 16 group: 16 kernel_size: 3 pad: 1
                                weight_filler { type: "xavier" } } }
    layer { name: "bn3" type: "BatchNorm" bottom: "conv3" top: "conv3" }
    layer { name: "scale3" type: "Scale" bottom: "conv3" top: "conv3"
            scale_param { bias_term: true } }
    layer { name: "relu5" type: "ReLU" bottom: "conv3" top: "conv3" }
    layer { name: "up" type: "Deconvolution" bottom: "conv3" top: "up"
            convolution_param { num_output: 16 kernel_size: 4 stride: 2 pad: 1
                                weight_filler { type: "xavier" } } }
    layer { name: "bn4" type: "BatchNorm" bottom: "up" top: "up" }
    layer { name: "scale4" type: "Scale" bottom: "up" top: "up"
            scale_param { bias_term: true } }
    layer { name: "relu6" type: "ReLU" bottom: "up" top: "up" }
    layer { name: "down" type: "Pooling" bottom: "up" top: "down"
            pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
    layer { name: "sum" type: "Eltwise" bottom: "down" bottom: "pool" top: "sum" }
    layer { name: "relu3" type: "ReLU" bottom: "sum" top: "sum" }
    layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip"
            inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
    layer { name: "relu4" type: "ReLU" bottom: "ip" top: "ip" }
"""
)
LOSS = """
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "loss" }
"""


def filled(text: str, phase: int, **options: object) -> runtime.Net:
    net = runtime.Net(text, phase, seed=3, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    net.blobs["t"].data[...] = rng.integers(10, size=4)
    for name in net.params:  # gammas that are not 1, biases that are not 0
        for blob in net.params[name]:
            if len(blob.shape) == 1:
                blob.data[...] = rng.uniform(0.5, 2, blob.shape)
    return net


def contents(net: runtime.Net) -> dict[str, np.ndarray]:
    values = {}
    for name, blob in net.blobs.items():
        values[f"{name}.data"] = blob.data.copy()
        values[f"{name}.diff"] = blob.diff.copy()
    for name, blobs in net.params.items():
        for slot, blob in enumerate(blobs):
            values[f"{name}[{slot}].data"] = blob.data.copy()
            values[f"{name}[{slot}].diff"] = blob.diff.copy()
    return values


def test_joined_layers_leave_what_single_ones_leave() -> None:
    joined, single = (filled(NET + LOSS, runtime.TRAIN) for _ in range(2))
    joined.forward_backward()
    for step in (*single.plan.forward, *single.plan.backward):
        step.run()
    got, want = contents(joined), contents(single)
    for name, value in want.items():
        np.testing.assert_allclose(
            got[name], value, atol=1e-5 * max(1, np.abs(value).max()), err_msg=name
        )
    calls = joined.plan.fusion.forward()  # type: ignore[union-attr]
    names = {joined.graph.nodes[index].name for index in calls}
    assert names == {
        *(
            "conv",
            "bn",
            "scale",
            "relu",
            "conv3",
            "up",
            "conv2",
            "relu2",
            "bn3",
            "scale3",
            "relu5",
        ),
        *("bn4", "scale4", "relu6", "sum", "relu3", "ip", "relu4"),
    }


def test_a_pass_can_follow_single_layers_and_the_other_way_round() -> None:
    joined, mixed = (filled(NET + LOSS, runtime.TRAIN) for _ in range(2))
    joined.forward_backward()
    mixed.forward(end="scale")
    before = mixed.blobs["conv"].data.copy()
    assert (before < 0).any()  # the ReLU has not run
    mixed.forward(start="relu")
    mixed.clear_param_diffs()
    mixed.backward(end="sum")
    mixed.backward(start="down")
    got, want = contents(mixed), contents(joined)
    for name, value in want.items():
        if name.startswith(("x", "t")):
            continue
        np.testing.assert_allclose(
            got[name], value, atol=1e-5 * max(1, np.abs(value).max()), err_msg=name
        )


def normalized(top: str, multiplier: int, remembered: str = "false") -> str:
    """Return a net whose BatchNorm writes `top`, a convolution below it."""
    return f"""{INPUT}
    layer {{ name: "conv" type: "Convolution" bottom: "x" top: "conv"
            param {{ lr_mult: {multiplier} }} param {{ lr_mult: {multiplier} }}
            convolution_param {{ num_output: 16 kernel_size: 3
                                weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "{top}"
            batch_norm_param {{ use_global_stats: {remembered} }} }}
    layer {{ name: "scale" type: "Scale" bottom: "{top}" top: "{top}"
            scale_param {{ bias_term: true }} }}
    layer {{ name: "relu" type: "ReLU" bottom: "{top}" top: "{top}" }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "{top}" top: "ip"
            inner_product_param {{ num_output: 10
                                  weight_filler {{ type: "xavier" }} }} }}
    {LOSS}"""


@pytest.mark.parametrize("keep", [None, ()])
@pytest.mark.parametrize("remembered", ["true", "false"])
def test_a_scale_learns_above_layers_that_do_not(
    remembered: str, keep: tuple[str, ...] | None
) -> None:
    text = normalized("conv", 0, remembered)
    fast = filled(text, runtime.TRAIN, keep=keep)
    slow = filled(text, runtime.TRAIN, keep=keep, backend="portable")
    for net in (fast, slow):
        net.forward_backward()
    for got, want in zip(fast.params["scale"], slow.params["scale"], strict=True):
        np.testing.assert_allclose(got.diff, want.diff, rtol=1e-4, atol=1e-5)


def test_joined_gradients_leave_the_one_of_a_blob_in_between() -> None:
    text = normalized("normal", 1)
    fast = filled(text, runtime.TRAIN)
    slow = filled(text, runtime.TRAIN, backend="portable")
    for net in (fast, slow):
        net.forward_backward()
    got, want = fast.blobs["normal"].diff, slow.blobs["normal"].diff
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_folded_weights_are_those_of_the_portable_net(tmp_path: Path) -> None:
    fast = filled(NET, runtime.TEST)
    slow = filled(NET, runtime.TEST, backend="portable")
    for _ in range(2):  # prepared, and from what was prepared
        got, want = fast.forward()["ip"], slow.forward()["ip"]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_prepared_weights_follow_the_parameters(tmp_path: Path) -> None:
    fast = filled(NET, runtime.TEST)
    slow = filled(NET, runtime.TEST, backend="portable")

    def same() -> None:
        got, want = fast.forward()["ip"].copy(), slow.forward()["ip"]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)

    same()
    for net in (fast, slow):
        net.params["conv2"][0].data[...] *= 2
    same()
    held = [net.params["conv2"][0].data[0] for net in (fast, slow)]  # views of views
    same()
    for view in held:
        view[...] += 1
    same()
    for view in held:
        view[...] -= 3
    same()
    del view, held
    slow.save(tmp_path / "other.caffemodel")
    slow.params["conv"][0].data[...] = 0.1
    slow.save(tmp_path / "new.caffemodel")
    fast.forward()
    fast.copy_from(tmp_path / "new.caffemodel")
    same()


@pytest.mark.parametrize("end", ["conv", "bn"])
def test_prepared_weights_are_made_anew_after_single_layers(end: str) -> None:
    net = filled(NET, runtime.TEST)
    want = net.forward()["ip"].copy()
    net.forward(end=end)
    np.testing.assert_array_equal(net.forward()["ip"], want)


def test_prepared_weights_of_a_test_net_follow_training() -> None:
    train = filled(NET + LOSS, runtime.TRAIN)
    test = runtime.Net(NET, runtime.TEST, share_with=train)
    test.blobs["x"].data[...] = train.blobs["x"].data
    test.forward()
    before = test.forward()["ip"].copy()
    train.forward()  # moves the statistics of BatchNorm
    assert not np.array_equal(test.forward()["ip"], before)
    before = test.forward()["ip"].copy()
    train.flat.data[...] *= 1.5
    assert not np.array_equal(test.forward()["ip"], before)


def test_training_allocates_nothing() -> None:
    net = filled(NET + LOSS, runtime.TRAIN, keep=())
    for _ in range(3):
        net.forward_backward()

    def steps() -> None:
        for _ in range(5):
            net.forward_backward()

    assert allocated_bytes(steps) < 4096  # a few Python objects, no array


def test_nets_in_several_threads_compute_the_same() -> None:
    nets = [filled(NET + LOSS, runtime.TRAIN) for _ in range(3)]
    threads = [threading.Thread(target=net.forward_backward) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
        assert not thread.is_alive()
    first, *others = [contents(net) for net in nets]
    for other in others:
        for name, value in first.items():
            np.testing.assert_array_equal(other[name], value, err_msg=name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    code = f"""
import os, sys
import runtime
text = {NET!r}
net = runtime.Net(text, runtime.TEST)
net.forward()
child = os.fork()
net.forward()
if child == 0:
    os._exit(7)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "NETSPEC_NUM_THREADS": "3"},
    )
    assert done.returncode == 7


def test_without_llvmlite_the_portable_kernels_do_the_work() -> None:
    code = f"""
import sys
sys.modules["llvmlite"] = None
import runtime
net = runtime.Net({NET!r}, runtime.TEST, seed=3)
print(type(net.plan.kernels[2]).__module__, net.forward()["ip"].shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.split()[0] == "runtime.layers.convolution"


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_a_bad_number_of_threads_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("NETSPEC_NUM_THREADS", text)
    with pytest.raises(SpecError, match="NETSPEC_NUM_THREADS is"):
        CpuBackend()


def test_the_variable_sets_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NETSPEC_NUM_THREADS", "3")
    assert CpuBackend().threads == 3


@pytest.mark.parametrize(("name", "batch"), [("googlenet", 16), ("resnet50", 8)])
def test_the_forecast_of_memory_is_near(name: str, batch: int) -> None:
    message = upgrade_net(load_model(str(ROOT / f"models/{name}.py"), batch_size=batch))
    source, shapes = message.layer[0], ([batch, 3, 224, 224], [batch])
    del message.layer[:2]  # the sources of both phases
    for top, shape in zip(source.top, shapes, strict=True):
        layer = LayerParameter(name=top, type="Input", top=[top])
        layer.input_param.shape.add(dim=shape)
        message.layer.insert(0, layer)
    said = netspec.summarize(message, phase=netspec.TRAIN).memory
    net = runtime.Net(message, runtime.TRAIN, keep=())
    parameters = net.flat.data.nbytes * 3  # with gradients and history
    used = parameters + net.plan.memory["arena_bytes"]
    assert said["total"] == pytest.approx(used, rel=0.05)
