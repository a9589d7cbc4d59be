"""The plan: nothing is allocated once a net runs, and memory is shared by lifetime."""

import numpy as np
import pytest

import runtime
from runtime.arena import ALIGNMENT_BYTES, Arena, flat_buffers
from tests.allocation import allocated_bytes
from tests.layers.harness import SMALLEST_BUFFER

# Every family of arithmetic that has a steady state, with sizes whose smallest blob
# is larger than what the test tolerates.
MIXED = """
layer { name: "x" type: "Input" top: "x" top: "t"
        input_param { shape { dim: 4 dim: 6 dim: 20 dim: 22 } shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param {
        num_output: 8 kernel_size: 3 pad: 1 group: 2 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn"
        scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "lrn" type: "LRN" bottom: "bn" top: "lrn" lrn_param { local_size: 3 } }
layer { name: "one" type: "Convolution" bottom: "lrn" top: "one" convolution_param {
        num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "max" type: "Pooling" bottom: "lrn" top: "max" pooling_param {
        pool: MAX kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "ave" type: "Pooling" bottom: "lrn" top: "ave" pooling_param {
        pool: AVE kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "concat" type: "Concat" bottom: "one" bottom: "max" bottom: "ave"
        top: "concat" }
layer { name: "slice" type: "Slice" bottom: "concat" top: "s0" top: "s1"
        slice_param { slice_point: 10 } }
layer { name: "sig" type: "Sigmoid" bottom: "s0" top: "sig" }
layer { name: "tanh" type: "TanH" bottom: "s1" top: "tanh" }
layer { name: "up" type: "Deconvolution" bottom: "tanh" top: "up" convolution_param {
        num_output: 10 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "sig" bottom: "up" top: "sum" }
layer { name: "drop" type: "Dropout" bottom: "sum" top: "drop" }
layer { name: "power" type: "Power" bottom: "drop" top: "power"
        power_param { power: 2 scale: 0.5 shift: 0.25 } }
layer { name: "bias" type: "Bias" bottom: "power" top: "bias" }
layer { name: "flat" type: "Flatten" bottom: "bias" top: "flat" }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip" inner_product_param {
        num_output: 300 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "t" top: "accuracy" }
layer { name: "sce" type: "SigmoidCrossEntropyLoss" bottom: "power" bottom: "sig"
        top: "sce" loss_weight: 0.01 propagate_down: true propagate_down: false }
layer { name: "l2" type: "EuclideanLoss" bottom: "s0" bottom: "up" top: "l2"
        loss_weight: 0.01 }
"""
TOLERATED_BYTES = 4096  # boxed scalars and views, far below any blob of the net


def test_steady_state_allocates_no_array():
    net = runtime.Net(MIXED, runtime.TRAIN)
    rng = np.random.default_rng(0)
    net.blobs["x"].data[...] = rng.normal(size=net.blobs["x"].shape)
    steps = [*net.plan.forward, *net.plan.backward, *net.plan.accumulate]
    for _ in range(2):  # warm: lazily made interpreter and library state
        net.forward_backward()
        net.forward_backward(accumulate=True)
    guilty = []
    # NumPy walks strided operands through buffers of a fixed size; small ones leave
    # only arrays to be seen.
    usual = np.setbufsize(SMALLEST_BUFFER)
    try:
        for step in steps:
            peak = allocated_bytes(step.run)
            if peak > TOLERATED_BYTES:
                guilty.append((step.name, peak))
    finally:
        np.setbufsize(usual)
    assert not guilty
    assert np.isfinite(net.loss())


def test_reusing_memory_by_lifetime_gives_the_same_gradients():
    nets = [runtime.Net(MIXED, runtime.TRAIN, keep=keep) for keep in (None, ())]
    rng = np.random.default_rng(0)
    x = rng.normal(size=nets[0].blobs["x"].shape)
    for net in nets:
        net.forward(x=x, t=np.array([1, 0, 7, 299]))
        net.forward_backward()
        net.forward_backward()
    full, few = nets
    assert few.plan.memory["arena_bytes"] < 0.8 * full.plan.memory["arena_bytes"]
    assert full.loss() == few.loss()
    np.testing.assert_array_equal(full.flat.diff, few.flat.diff)


def test_layers_that_only_rename_memory_have_no_forward_step():
    net = runtime.Net(MIXED, runtime.TRAIN)
    types = {layer.name: layer.type for layer in net.layers}
    done = {types[step.name] for step in net.plan.forward}
    assert not done & {"Split", "Flatten"}


def test_arena_cuts_aligned_arrays_of_any_type():
    arena = Arena(runtime.get_backend("numpy"), 1024)
    floats, bytes_ = arena.cut(0, (3, 5), "float32"), arena.cut(64, (7,), "bool")
    assert floats.ctypes.data % ALIGNMENT_BYTES == 0
    floats[...] = 1
    assert not bytes_.any()


def test_flat_buffer_leaves_zero_gaps_between_aligned_parameters():
    net = runtime.Net(MIXED, runtime.TRAIN)
    flat = flat_buffers(net.backend, net.graph.parameters, "float32")
    starts = [place.start * 4 % ALIGNMENT_BYTES for place in flat.slices.values()]
    assert set(starts) == {0}
    used = np.zeros(net.flat.data.size, bool)
    for place in net.flat.slices.values():
        used[place] = True
    assert not net.flat.data[~used].any()


def test_float64_nets_compute_in_float64():
    net = runtime.Net(MIXED, runtime.TRAIN, dtype="float64")
    net.forward(x=np.ones(net.blobs["x"].shape), t=np.zeros(4))
    assert {array.dtype for array in net.plan.data} == {np.dtype("float64")}


@pytest.mark.parametrize("shape", [(2, 6, 20, 22), (9, 6, 20, 22), (4, 6, 31, 22)])
def test_reshaped_net_computes_what_a_new_one_does(shape):
    text = MIXED[: MIXED.index('layer { name: "bias"')]
    fresh = text.replace(
        "dim: 4 dim: 6 dim: 20 dim: 22", " ".join(f"dim: {size}" for size in shape)
    )
    reshaped, new = runtime.Net(text), runtime.Net(fresh)
    x = np.random.default_rng(1).normal(size=shape)
    reshaped.blobs["x"].reshape(*shape)
    got, want = reshaped.forward(x=x), new.forward(x=x)
    np.testing.assert_array_equal(got["power"], want["power"])
