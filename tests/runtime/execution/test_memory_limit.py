"""Training within a limit of memory: blobs that are computed again in backward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
import runtime
from netspec.commands.model_files import load_model
from netspec.errors import SpecError, UnsupportedError
from netspec.nets.upgrade import upgrade_net
from netspec.room import bytes_of
from netspec.schema import LayerParameter
from runtime import TEST, TRAIN
from tests.runtime.execution.random_sized import text_of

ROOT = Path(__file__).resolve().parents[3]
SHARES = (0.95, 0.85, 0.75, 0.65, 0.55, 0.45)

DEEP = """
layer { name: "in" type: "Input" top: "data" top: "label"
        input_param { shape { dim: [6, 3, 19, 17] } shape { dim: 6 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 5 kernel_size: 3 pad: 1
                            weight_filler { type: "msra" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1"
        batch_norm_param { moving_average_fraction: 0.75 } }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1"
        scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" }
layer { name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 3 stride: 1 } }
layer { name: "left" type: "Convolution" bottom: "pool1" top: "left"
        convolution_param { num_output: 16 kernel_size: 1
                            weight_filler { type: "msra" } } }
layer { name: "right" type: "Convolution" bottom: "pool1" top: "right"
        convolution_param { num_output: 16 kernel_size: 3 pad: 1
                            weight_filler { type: "msra" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "right" top: "bn2"
        batch_norm_param { moving_average_fraction: 0.75 } }
layer { name: "relu2" type: "ReLU" bottom: "bn2" top: "relu2" }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "relu2" top: "sum" }
layer { name: "relu3" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "both" type: "Concat" bottom: "sum" bottom: "pool1" top: "both" }
layer { name: "drop" type: "Dropout" bottom: "both" top: "drop"
        dropout_param { dropout_ratio: 0.3 } }
layer { name: "some" type: "Pooling" bottom: "drop" top: "some"
        pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 } }
layer { name: "conv3" type: "Convolution" bottom: "some" top: "conv3"
        convolution_param { num_output: 20 kernel_size: 3 pad: 1
                            weight_filler { type: "msra" } } }
layer { name: "tanh" type: "TanH" bottom: "conv3" top: "tanh" }
layer { name: "ip" type: "InnerProduct" bottom: "tanh" top: "ip"
        inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


INPUTS = DEEP[: DEEP.index('layer { name: "conv1"')]
LOSS = DEEP[DEEP.index('layer { name: "ip"') :]


def block(number, bottom):
    """Return a residual block, whose sum is read twice."""
    name = f"b{number}"
    norm = "".join(
        f'''
layer {{ name: "{name}_{side}" type: "Convolution" bottom: "{bottom}"
        top: "{name}_{side}" convolution_param {{ num_output: 8 kernel_size: {size}
        pad: {size // 2} bias_term: false weight_filler {{ type: "msra" }} }} }}
layer {{ name: "{name}_{side}_bn" type: "BatchNorm" bottom: "{name}_{side}"
        top: "{name}_{side}" batch_norm_param {{ moving_average_fraction: 0.75 }} }}
layer {{ name: "{name}_{side}_scale" type: "Scale" bottom: "{name}_{side}"
        top: "{name}_{side}" scale_param {{ bias_term: true }} }}'''
        for side, size in (("way", 1), ("main", 3))[number % 2 :]
    )
    around = bottom if number % 2 else f"{name}_way"
    return f'''{norm}
layer {{ name: "{name}" type: "Eltwise" bottom: "{around}" bottom: "{name}_main"
        top: "{name}" }}
layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}'''


def residual(blocks=6):
    parts = [block(n, f"b{n - 1}" if n else "data") for n in range(blocks)]
    return INPUTS + "".join(parts) + LOSS.replace('"tanh"', f'"b{blocks - 1}"')


NETS = {"deep": DEEP, "residual": residual()}


def net_of(text, limit=None, **options):
    net = runtime.Net(text, TRAIN, seed=1, memory_limit=limit, keep=(), **options)
    rng = np.random.default_rng(3)
    for name in net.inputs:
        blob = net.blobs[name]
        if name == "label":
            blob.data[...] = rng.integers(7, size=blob.shape)
        else:
            blob.data[...] = rng.normal(size=blob.shape)
    return net


def trained(net, steps=3):
    """Return losses, parameters and gradients after some steps."""
    losses = []
    for _ in range(steps):
        net.forward_backward()
        net.forward_backward(accumulate=True)
        losses.append(net.loss())
        net.flat.data[...] -= 0.01 * net.flat.diff
    return losses, net.flat.data.copy(), net.flat.diff.copy()


def same(mine, theirs):
    assert mine[0] == theirs[0]
    np.testing.assert_array_equal(mine[1], theirs[1])
    np.testing.assert_array_equal(mine[2], theirs[2])


def within(text, limit, **options):
    """Return a net within a limit, or None where it cannot be met."""
    try:
        return net_of(text, limit, **options)
    except SpecError as error:
        if "takes at least" not in str(error):
            raise
        return None


def limits(net):
    """Return limits below what a net takes, of which the first can be met."""
    memory = net.plan.memory
    states = sum(
        int(np.prod(spec.shape)) * np.dtype(spec.dtype or net.context.dtype).itemsize
        for kernel in net.plan.kernels
        for spec in kernel.arrays().values()
        if spec.life == "state"
    )
    fixed = memory["scratch_bytes"] + 2 * net.flat.data.nbytes + states
    blobs = memory["arena_bytes"] - memory["scratch_bytes"]
    return [fixed + round(share * blobs) for share in SHARES]


@pytest.mark.parametrize("backend", ["numpy", "portable"])
@pytest.mark.parametrize("name", NETS)
def test_the_bits_are_the_same_for_every_limit(name, backend):
    free = net_of(NETS[name], backend=backend)
    expected = trained(free)
    again = []
    for limit in limits(free):
        net = within(NETS[name], limit, backend=backend)
        if net is None:
            break
        assert net.plan.memory["arena_bytes"] + 2 * net.flat.data.nbytes <= limit
        same(trained(net), expected)
        again.append(len(net.recomputation.again))
    assert len(again) > 1
    assert again[-1] > 5


@pytest.mark.parametrize("seed", range(24))
def test_random_nets_have_the_same_bits_within_a_limit(seed):
    rng = np.random.default_rng(seed)
    text = text_of(rng)
    free = net_of(text)
    if not any(node.backward for node in free.graph.nodes):
        return
    expected = trained(free)
    for limit in limits(free):
        net = within(text, limit)
        if net is None:
            break
        assert net.plan.memory["arena_bytes"] + 2 * net.flat.data.nbytes <= limit
        same(trained(net), expected)


def test_float64_and_other_sizes_keep_the_bits_too():
    free = net_of(DEEP, dtype="float64")
    limit = limits(free)[1]
    same(trained(net_of(DEEP, limit, dtype="float64")), trained(free))
    free, few = net_of(DEEP), net_of(DEEP, limits(net_of(DEEP))[0])
    for size in ((2, 3, 19, 17), (6, 3, 19, 17), (3, 3, 19, 17)):
        x = np.random.default_rng(size[0]).normal(size=size)
        for net in (free, few):
            net.blobs["data"].reshape(*size)
            net.blobs["label"].reshape(size[0])
            net.reshape()
            net.blobs["data"].data[...] = x
        same(trained(few, 1), trained(free, 1))


def test_statistics_are_counted_once():
    free = net_of(DEEP)
    net = net_of(DEEP, limits(free)[2])
    assert "bn1" in net.recomputation.layers
    for one in (free, net):
        one.forward_backward()
    for slot in range(3):
        np.testing.assert_array_equal(
            net.params["bn1"][slot].data, free.params["bn1"][slot].data
        )


def test_parts_of_a_pass_forward_draw_their_numbers_as_they_did():
    free = net_of(DEEP)
    net = net_of(DEEP, limits(free)[2])
    for one in (free, net):
        one.forward()
        one.forward()
        one.backward()
    np.testing.assert_array_equal(net.flat.diff, free.flat.diff)


def test_a_pass_backward_over_some_layers_is_refused():
    net = net_of(DEEP, limits(net_of(DEEP))[2])
    net.forward()
    with pytest.raises(UnsupportedError, match="from layer 'loss' to 'ip'"):
        net.backward(end="ip")


def test_blobs_that_are_kept_stay():
    free = net_of(DEEP)
    net = runtime.Net(DEEP, TRAIN, seed=1, memory_limit="2MiB", keep=["norm1"])
    for name in ("data", "label"):
        net.blobs[name].data[...] = free.blobs[name].data
    for one in (free, net):
        one.forward_backward()
    whole = runtime.Net(DEEP, TRAIN, seed=1)
    for name in ("data", "label"):
        whole.blobs[name].data[...] = free.blobs[name].data
    whole.forward_backward()
    for kind in ("data", "diff"):
        mine, theirs = (getattr(one.blobs["norm1"], kind) for one in (net, whole))
        np.testing.assert_array_equal(mine, theirs)


def test_a_limit_that_cannot_be_met_tells_the_least():
    with pytest.raises(SpecError, match=r"takes at least \d+ bytes .*with \d+ layers"):
        net_of(DEEP, "20kB")
    chain = DEEP.replace("conv1", "data", 0)
    assert net_of(chain, "1GB").recomputation.again == frozenset()
    assert "nothing is computed again" in repr(net_of(chain, "1GB"))


@pytest.mark.parametrize("limit", ["3 bananas", "", "GB", "-3GB", 0, True, "0MB"])
def test_what_is_no_size_is_refused(limit):
    with pytest.raises(SpecError, match=r"memory_limit is .*expected a number"):
        net_of(DEEP, limit)


def test_sizes_are_read_as_people_write_them():
    assert bytes_of("3GB") == 3 * 10**9
    assert bytes_of(" 1.5 GiB ") == 3 * 2**29
    assert bytes_of("800mib") == 800 * 2**20
    assert bytes_of(4096) == bytes_of("4096") == bytes_of("4.096kB") == 4096


SOLVER = {
    "base_lr": 0.01,
    "lr_policy": "fixed",
    "momentum": 0.9,
    "max_iter": 4,
    "iter_size": 2,
}


def solver_of(limit, **more):
    keep = more.pop("keep", None)
    param = {"net_param": DEEP, **SOLVER, **more}
    solver = runtime.Solver(param, memory_limit=limit, keep=keep)
    rng = np.random.default_rng(3)
    for net in (solver.net, *solver.test_nets):
        net.blobs["data"].data[...] = rng.normal(size=net.blobs["data"].shape)
        net.blobs["label"].data[...] = rng.integers(7, size=6)
    return solver


def test_a_solver_leaves_room_for_its_history_and_for_tests():
    free = solver_of(None)
    whole = limits(free.net)[1] + free.net.flat.data.nbytes
    tests = {"test_iter": [1], "test_interval": 2}
    one = solver_of(whole, type="Adam")
    others = solver_of(None, keep=(), **tests).test_nets[0].memory_bytes
    two = solver_of(whole + others, **tests)
    assert one.net.limit.history == 2
    assert two.net.limit.others == two.test_nets[0].memory_bytes > 0
    for solver, count in ((one, 4), (two, 3)):
        net = solver.net
        nbytes = net.plan.memory["arena_bytes"] + count * net.flat.data.nbytes
        assert nbytes + net.limit.others <= net.limit.nbytes
    same_as = solver_of(None, **tests)
    # Nothing runs backward in nets that test under a limit; without one it may.
    use = {"keep": (), "gradients": False, "share_with": same_as.net}
    tested = runtime.Net(DEEP, runtime.TEST, **use)
    for name in ("data", "label"):
        tested.blobs[name].data[...] = same_as.test_nets[0].blobs[name].data
    outputs = {name: value.item() for name, value in tested.forward().items()}
    for solver in (two, same_as):
        solver.step(3)
    np.testing.assert_array_equal(two.net.flat.data, same_as.net.flat.data)
    assert two.history.tests[0].outputs == outputs


def test_snapshots_are_equal(tmp_path):
    written = []
    for limit in (None, limits(net_of(DEEP))[1] + 40_000):
        folder = tmp_path / str(limit)
        folder.mkdir()
        solver = solver_of(limit, snapshot_prefix=str(folder / "run"))
        solver.step(3)
        solver.snapshot()
        written.append([p.read_bytes() for p in sorted(folder.glob("*.caffemodel"))])
    assert written[0] == written[1]


def test_fit_takes_a_limit():
    x = np.random.default_rng(0).normal(size=(12, 3, 19, 17)).astype("float32")
    y = np.arange(12) % 7
    found = [
        runtime.fit(
            DEEP, (x, y), epochs=2, memory_limit=limit, progress=False, seed=4
        ).net.flat.data.copy()
        for limit in (None, limits(net_of(DEEP))[1] + 60_000)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    history = runtime.fit(DEEP, (x, y), epochs=1, progress=False)
    with pytest.raises(SpecError, match="memory_limit cannot be given; give it to"):
        runtime.fit(history, (x, y), memory_limit="1GB")


def test_a_device_refuses_a_limit():
    with pytest.raises(UnsupportedError, match="memory_limit: backend 'host'"):
        runtime.execution.limits.limit_of("1GB", DeviceBackend())


class DeviceBackend:
    name = "host"
    on_host = False


@pytest.mark.parametrize(
    ("name", "batch", "share"),
    [("googlenet", 16, 0.6), ("resnet50", 8, 0.6), ("mobilenet_v2", 8, 0.4)],
)
def test_the_summary_forecasts_what_is_taken(name, batch, share):
    message = train_net(name, batch)
    limit = round(share * netspec.summarize(message, phase="TRAIN").memory["total"])
    said = netspec.summarize(message, phase="TRAIN", memory_limit=limit)
    solver = runtime.Solver({"net_param": message, **SOLVER}, memory_limit=limit)
    net = solver.net
    used = net.plan.memory["arena_bytes"] + 3 * net.flat.data.nbytes
    assert said.memory["total"] <= limit
    assert used <= limit
    assert said.memory["total"] == pytest.approx(used, rel=0.05)
    assert "memory_limit: " in str(said)
    assert net.recomputation.share == pytest.approx(0.1, abs=0.1)


def train_net(name, batch):
    message = upgrade_net(load_model(str(ROOT / f"models/{name}.py"), batch_size=batch))
    source, shapes = message.layer[0], ([batch, 3, 224, 224], [batch])
    del message.layer[:2]  # the sources of both phases
    for top, shape in zip(source.top, shapes, strict=True):
        layer = LayerParameter(name=top, type="Input", top=[top])
        layer.input_param.shape.add(dim=shape)
        message.layer.insert(0, layer)
    return message


def test_the_summary_takes_limits_of_training_only():
    with pytest.raises(SpecError, match="memory_limit is of training"):
        netspec.summarize(DEEP, phase=TEST, memory_limit="1GB")
    with pytest.raises(SpecError, match="takes at least"):
        netspec.summarize(DEEP, phase=TRAIN, memory_limit="1kB")
