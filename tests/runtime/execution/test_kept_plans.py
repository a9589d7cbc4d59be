"""Plans are kept by shape: a size seen before costs nothing and leaks nothing."""

from __future__ import annotations

import gc
import time
import tracemalloc

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError
from runtime import TEST, TRAIN
from runtime.execution import kept_plans
from tests.runtime.training.test_solver import solver_text

INPUT = (
    'layer { name: "x" type: "Input" top: "data" '
    "input_param { shape { dim: [1, 3, 9, 8] } } }"
)
CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1
                            weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn"
        scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
        convolution_param { num_output: 5 kernel_size: 4 stride: 2
                            weight_filler { type: "xavier" } } }
layer { name: "score" type: "Crop" bottom: "up" bottom: "data" top: "score"
        crop_param { axis: 2 offset: 0 } }
"""
DROP = """
layer { name: "drop" type: "Dropout" bottom: "score" top: "drop" }
layer { name: "loss" type: "Softmax" bottom: "drop" top: "p" }
layer { name: "sum" type: "Reduction" bottom: "p" top: "sum" loss_weight: 0.5
        reduction_param { operation: SUMSQ } }
"""
SIZES = [(9, 8), (12, 17), (7, 10), (12, 17), (9, 8), (20, 11), (7, 10), (9, 8)]
LARGE = (150, 140)  # more than a plan has of its own


def image(size, seed=0, batch=1):
    return np.random.default_rng(seed).normal(size=(batch, 3, *size))


def shaped(net, x):
    net.blobs["data"].reshape(*x.shape)
    return net.forward(data=x)


def fresh(text, size, other, phase=TEST, **options):
    """A net of one size with the parameters of another."""
    sized = text.replace("dim: [1, 3, 9, 8]", f"dim: [1, 3, {size[0]}, {size[1]}]")
    return runtime.Net(sized, phase, share_with=other, **options)


def poison(net):
    """Spoil the memory that plans share, and say so to no one."""
    if net.backend.on_host:
        arena = net.plan.arena
        arena.cut(0, (arena.nbytes // 4,), "float32").fill(np.nan)


def turns(net):
    """After how many turns through all sizes nothing is compiled any more.

    Where memory cannot grow in its place, plans are made once more in a larger one.
    """
    return 1 if net.plan.arena.growable else 2


# ------------------------------------------------------------ what is counted


def test_a_size_seen_before_compiles_and_builds_nothing(backend):
    net = runtime.Net(INPUT + CONV, backend=backend.name, seed=2)
    settled = 0
    for turn in range(4):
        for size in SIZES:
            shaped(net, image(size))
            assert net.plans.built <= 4
            if turn >= turns(net):
                assert net.plans.compiled == settled
        settled = net.plans.compiled
        assert settled <= 4 * turns(net)
    assert len(net.plans) == net.plans.built == 4


def test_a_size_seen_before_allocates_next_to_nothing():
    net = runtime.Net(INPUT + CONV)
    sizes = [LARGE, (90, 200), (60, 60)]
    inputs = [image(size).astype("float32") for size in sizes]
    for _ in range(2):
        for x in inputs:
            shaped(net, x)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for x in inputs:
        net.blobs["data"].reshape(*x.shape)
        net.reshape()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    # The staged input of each size, which a caller may write to ahead of `reshape`.
    assert peak < max(x.nbytes for x in inputs) + 100_000


def test_to_go_back_to_a_size_takes_microseconds():
    text = INPUT + CONV
    for number in range(40):
        name = "score" if number == 0 else f"r{number - 1}"
        text += (
            f'layer {{ name: "r{number}" type: "Power" bottom: "{name}" '
            f'top: "r{number}" power_param {{ scale: 0.5 }} }}'
        )
    net = runtime.Net(text)
    x = [image((9, 8)), image((7, 10))]
    for one in x:
        shaped(net, one)
    taken = []
    for turn in range(20):
        net.blobs["data"].reshape(*x[turn % 2].shape)
        before = time.perf_counter()
        net.reshape()
        taken.append(time.perf_counter() - before)
    assert min(taken) < 1e-3


def test_memory_is_that_of_the_largest_plan(backend):
    net = runtime.Net(INPUT + CONV, backend=backend.name)
    largest = 0
    for size in [(30, 30), LARGE, (40, 20), (100, 100), LARGE, (30, 30)]:
        shaped(net, image(size))
        gc.collect()
        largest = max(largest, net.plan.memory["arena_bytes"])
        assert 0.8 * largest <= net.plans.shared.arenas.nbytes <= largest + 4096
    assert len({id(p.arena) for kept in net.plans for p in kept.plans}) == 1


def test_states_that_hold_the_same_are_one_array_for_all_plans():
    net = runtime.Net(INPUT + CONV)
    for size in SIZES:
        shaped(net, image(size))
    held = net.plans.shared.states.values()
    conv = {
        id(kernel.work["weights"])
        for kept in net.plans
        for plan in kept.plans
        for kernel in plan.kernels
        if kernel.op.name == "conv"
    }
    assert conv <= {id(array) for array in held}
    assert len(conv) <= 2  # algorithms
    own = [plan.table_bytes for kept in net.plans for plan in kept.plans]
    assert all(0 < nbytes < 200_000 for nbytes in own)


# ------------------------------------------------------------ how many are kept


def test_the_least_recently_used_go_first():
    net = runtime.Net(INPUT + CONV, plans=2)
    a, b, c = (image(size) for size in [(9, 8), (12, 17), (7, 10)])
    for x, compiled in [(a, 1), (b, 2), (a, 2), (c, 3), (a, 3), (b, 4), (c, 5), (b, 5)]:
        shaped(net, x)
        assert net.plans.compiled == compiled
        assert len(net.plans) <= 2


def test_what_plans_have_to_themselves_is_bounded(monkeypatch):
    monkeypatch.setattr(kept_plans, "OWN_BYTES", 1)
    monkeypatch.setattr(kept_plans, "OWN_SHARE", 10**9)
    net = runtime.Net(INPUT + CONV)
    for size in SIZES:
        shaped(net, image(size))
        assert len(net.plans) == 1


def test_at_least_one_plan_is_kept():
    with pytest.raises(SpecError, match="plans is 0; give the number of shapes"):
        runtime.Net(INPUT + CONV, plans=0)


def test_a_solver_hands_the_number_of_plans_on(tmp_path):
    options = f'base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/n"'
    solver = runtime.get_solver(solver_text(INPUT + CONV + DROP, options), plans=3)
    assert solver.net.plans.limit == 3


# ------------------------------------------------------------ equal to fresh nets


@pytest.mark.parametrize("phase", [TEST, TRAIN])
@pytest.mark.parametrize("poisoned", [False, True])
def test_every_size_computes_what_a_fresh_net_does(backend, phase, poisoned):
    text = "force_backward: true " + INPUT + CONV + DROP
    how = {"backend": backend.name, "seed": 4}
    net = runtime.Net(text, phase, **how)
    for number, size in enumerate(2 * SIZES):
        if poisoned and number:
            poison(net)
        x = image(size, number)
        other = fresh(text, size, net, phase, **how)
        before = [one.data.copy() for p in net.params.values() for one in p]
        other.clock.value = net.clock.value
        shaped(net, x)
        net.clear_param_diffs()
        net.backward()
        mine = [one.data.copy() for p in net.params.values() for one in p]
        slopes = [one.diff.copy() for p in net.params.values() for one in p]
        for place, blobs in zip(
            before, [one for p in net.params.values() for one in p], strict=True
        ):
            blobs.data[...] = place
        flat = [one for p in other.params.values() for one in p]
        other.forward(data=x)
        other.clear_param_diffs()
        other.backward()
        for name in other.blobs:
            got, want = net.blobs[name], other.blobs[name]
            np.testing.assert_array_equal(got.data, want.data, name)
            np.testing.assert_array_equal(got.diff, want.diff, name)
        for value, slope, one in zip(mine, slopes, flat, strict=True):
            np.testing.assert_array_equal(value, one.data)
            np.testing.assert_array_equal(slope, one.diff)
            one.data[...] += 0.01


def test_training_with_kept_plans_is_training_with_new_ones(backend, tmp_path):
    text = INPUT + CONV + DROP
    options = (
        'type: "Adam" base_lr: 0.01 lr_policy: "fixed" iter_size: 3 '
        f'snapshot_prefix: "{tmp_path}/n"'
    )
    solvers = [
        runtime.get_solver(
            solver_text(text, options), backend=backend.name, seed=1, plans=plans
        )
        for plans in (64, 1)
    ]
    for iteration in range(6):
        size = SIZES[iteration % 3]
        for solver in solvers:
            x = image(size, iteration)
            solver.net.blobs["data"].reshape(*x.shape)
            solver.net.blobs["data"].data[...] = x
            solver.step(1)
    kept, new = (solver.net for solver in solvers)
    assert kept.plans.compiled <= 3 * turns(kept)
    assert new.plans.compiled == 6
    for name, blobs in kept.params.items():
        for one, other in zip(blobs, new.params[name], strict=True):
            np.testing.assert_array_equal(one.data, other.data)


def test_new_parameters_reach_every_plan(backend):
    net = runtime.Net(INPUT + CONV, backend=backend.name, seed=4)
    for number, size in enumerate(2 * SIZES):
        if number % 3 == 0:
            net.params["conv"][0].data[...] *= -1.25
            net.params["bn"][0].data[...] += 0.5
        other = fresh(INPUT + CONV, size, net, backend=backend.name)
        x = image(size, number)
        if number % 4 == 1:  # prepares the weights in its own way
            shaped(net, x)
            net.forward(end="conv")
        got = shaped(net, x)["score"].copy()
        np.testing.assert_array_equal(got, other.forward(data=x)["score"])


def test_a_test_net_shares_parameters_over_sizes(backend):
    text = "force_backward: true " + INPUT + CONV + DROP
    train = runtime.Net(text, TRAIN, backend=backend.name, seed=3)
    test = runtime.Net(INPUT + CONV, TEST, backend=backend.name, share_with=train)
    for number, size in enumerate(SIZES):
        shaped(train, image(size, number))
        train.clear_param_diffs()
        train.backward()
        for blobs in train.params.values():
            for blob in blobs:
                blob.data[...] -= 0.01 * blob.diff
        x = image(SIZES[-1 - number], number)
        want = fresh(INPUT + CONV, x.shape[2:], train, backend=backend.name)
        got = shaped(test, x)["score"].copy()
        np.testing.assert_array_equal(got, want.forward(data=x)["score"])


LSTM = """
layer { name: "x" type: "Input" top: "data" top: "cont"
        input_param { shape { dim: [4, 2, 3] } shape { dim: [4, 2] } } }
layer { name: "lstm" type: "LSTM" bottom: "data" bottom: "cont" top: "h"
        recurrent_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


def test_states_go_from_plan_to_plan_and_are_not_left_behind(backend):
    kept, new = (
        runtime.Net(LSTM, backend=backend.name, seed=1, plans=plans)
        for plans in (64, 1)
    )
    shapes = [(4, 2), (2, 2), (4, 2), (4, 3), (4, 2), (2, 2), (4, 3)]
    for number, (steps, streams) in enumerate(shapes):
        x = np.random.default_rng(number).normal(size=(steps, streams, 3))
        outs = []
        for net in (kept, new):
            net.blobs["data"].reshape(steps, streams, 3)
            net.blobs["cont"].reshape(steps, streams)
            out = net.forward(data=x, cont=np.ones((steps, streams)))
            outs.append(out["h"].copy())
        np.testing.assert_array_equal(*outs)
    assert (kept.plans.built, new.plans.built) == (3, 7)


def test_constants_are_there_in_every_plan(backend):
    text = INPUT + (
        'layer { name: "one" type: "DummyData" top: "one" dummy_data_param '
        "{ shape { dim: [200, 200] } data_filler { value: 3 } } }"
        'layer { name: "y" type: "Power" bottom: "one" top: "y" }'
        'layer { name: "z" type: "Power" bottom: "data" top: "z" '
        "power_param { shift: 1 } }"
    )
    net = runtime.Net(text, backend=backend.name)
    for size in (*SIZES[1:], LARGE, *SIZES):
        poison(net)
        assert (shaped(net, image(size))["y"] == 3).all()


def test_gradients_that_nobody_writes_start_anew(backend):
    text = "force_backward: true " + INPUT + CONV
    net = runtime.Net(text, TRAIN, backend=backend.name)
    for size in (LARGE, (9, 8), LARGE, (9, 8)):
        poison(net)
        shaped(net, image(size))
        net.backward()
        assert not net.blobs["data"].diff.any()
        net.blobs["score"].diff[...] = 1
        net.backward()
        assert net.blobs["data"].diff.any()


# ------------------------------------------------------------ arrays that callers have


def test_an_array_of_another_size_stays_as_it_was(backend):
    net = runtime.Net(INPUT + CONV, backend=backend.name)
    x = image(LARGE)
    score = shaped(net, x)["score"]
    middle = net.blobs["pool"].data[0, 1]
    want, seen = score.copy(), middle.copy()
    other = image((80, 170), 1)
    got = shaped(net, other)["score"].copy()
    np.testing.assert_array_equal(score, want)
    np.testing.assert_array_equal(middle, seen)
    score[...] = np.nan  # no part of the net
    middle[...] = np.nan
    np.testing.assert_array_equal(net.forward(data=other)["score"], got)
    del score, middle
    np.testing.assert_array_equal(shaped(net, x)["score"], want)


def test_keeping_the_last_output_takes_a_second_arena_at_most():
    net = runtime.Net(INPUT + CONV)
    sizes = [LARGE, (80, 170), (120, 130)]
    out = None
    for turn in range(6):
        for number, size in enumerate(sizes):
            out = shaped(net, image(size, number))
            assert out["score"].shape[2:] == size
            assert len(net.plans.shared.arenas) <= 2
        if turn == 3:
            compiled = net.plans.compiled
    assert net.plans.compiled == compiled <= 7


# ------------------------------------------------------------ errors


def test_a_size_that_does_not_fit_leaves_the_net_as_it_was(backend):
    crop = CONV.index('layer { name: "score"')
    text = INPUT + CONV[:crop].replace("kernel_size: 2 s", "kernel_size: 6 s")
    text += 'layer { name: "score" type: "Power" bottom: "up" top: "score" }'
    net = runtime.Net(text, backend=backend.name, seed=1)
    x = image((12, 17))
    want = shaped(net, x)["score"].copy()
    shaped(net, image((9, 8)))
    for good, bad in [((12, 17), (3, 4)), ((9, 8), (2, 40))]:
        before = shaped(net, image(good))["score"].copy()
        net.blobs["data"].reshape(1, 3, *bad)
        with pytest.raises(ShapeError, match=r"'pool' \(Pooling\)"):
            net.forward()
        assert net.blobs["data"].shape == (1, 3, *good)
        np.testing.assert_array_equal(net.blobs["score"].data, before)
        np.testing.assert_array_equal(net.forward()["score"], before)
    np.testing.assert_array_equal(shaped(net, x)["score"], want)
    assert net.plans.compiled <= 2 * turns(net)


# ------------------------------------------------------------ sizes known amid a pass
