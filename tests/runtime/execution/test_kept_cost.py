"""What host arrays that a script keeps across passes cost: copies, by shape."""

from __future__ import annotations

import gc

import pytest

import runtime
from runtime import TEST, TRAIN
from runtime.execution.mirror import ANY
from tests.runtime.execution.kept import (
    DOUBLE,
    HEAD,
    LOSS,
    SCALED,
    SUMS,
    TIED,
    solver_of,
)


def copies_of(device, run):
    """What `run` copies, as a set of numbers by kind and shape."""
    device.copies.clear()
    run()
    return {one: device.copies.count(one) for one in device.copies}


def test_a_pass_copies_nothing_that_nobody_has(stand_in):
    net = runtime.Net(HEAD + DOUBLE + SCALED, TRAIN, backend="stand-in")
    for blob in net.blobs.values():
        blob.data.sum(), blob.diff.sum()
    net.params["s"][0].data.sum(), net.params["s"][0].diff.sum()
    net.forward_backward()
    assert copies_of(stand_in, net.forward_backward) == {}


def test_what_was_read_and_dropped_is_brought_back_once_where_it_counts(stand_in):
    net = runtime.Net(TIED + LOSS, TRAIN, backend="stand-in")
    net.blobs["x"].data.sum()
    net.blobs["b"].data.sum()  # the pass computes it
    net.params["a"][0].data.sum()
    net.params["a"][0].diff.sum()  # so it does with these
    net.blobs["b"].diff.sum()
    once = {("upload", (2, 3)): 1, ("upload", (9,)): 1}
    assert copies_of(stand_in, net.forward_backward) == once
    assert copies_of(stand_in, net.forward_backward) == {}
    net.params["a"][0].diff.sum()
    accumulate = copies_of(stand_in, lambda: net.forward_backward(accumulate=True))
    assert accumulate == {("upload", (9,)): 1}


def test_a_held_array_costs_a_copy_where_a_pass_reads_or_changes_it(stand_in):
    net = runtime.Net(HEAD + SUMS, TEST, backend="stand-in")
    x = net.blobs["x"].data
    net.forward_steps()
    # It is changed by no layer, so it need not come back.
    assert copies_of(stand_in, net.forward_steps) == {("upload", (2, 3)): 1}
    del x
    y = net.blobs["y"].data
    net.forward_steps()
    assert copies_of(stand_in, net.forward_steps) == {("download", (2,)): 1}
    assert copies_of(stand_in, lambda: net.forward(start="z")) == {
        ("upload", (2,)): 1,
        ("download", (2,)): 1,
        ("download", ()): 1,  # the output, which is asked for
    }
    del y
    net.forward_steps()
    assert copies_of(stand_in, net.forward_steps) == {}


def test_a_training_pass_takes_what_is_held_to_the_device_once(stand_in, tmp_path):
    solver = solver_of(TIED + LOSS, tmp_path, "stand-in")
    x, w = solver.net.blobs["x"].data, solver.net.params["a"][0].data
    solver.step(1)
    assert copies_of(stand_in, solver.net.forward_backward) == {
        ("upload", (2, 3)): 1,
        ("upload", (9,)): 1,
        ("download", (9,)): 1,  # in TRAIN, layers may keep running values there
    }
    x[...], w[...] = 1, 2
    found = []
    solver.add_callback(before=lambda: None, after=lambda: found.append(w.copy()))
    solver.step(1)
    assert (found[0] == 2).all()
    assert (solver.net.blobs["b"].data == 36).all()
    assert copies_of(stand_in, lambda: solver.step(1))["upload", (9,)] == 2


def test_other_nets_do_not_copy_the_blobs_of_this_one(stand_in):
    train = runtime.Net(TIED + LOSS, TRAIN, backend="stand-in")
    test = runtime.Net(TIED, TEST, backend="stand-in", share_with=train)
    kept = [train.blobs[name].data for name in ("x", "b", "loss")]
    assert copies_of(stand_in, test.forward_steps) == {}
    kept[0][...] = 1
    assert train.forward()["loss"] == pytest.approx(6 * 81)


def test_the_host_arrays_of_an_old_plan_are_dropped(stand_in):
    net = runtime.Net(HEAD + DOUBLE, backend="stand-in")
    old = net.blobs["x"].data
    net.blobs["x"].reshape(4, 3)
    net.reshape()
    gc.collect()
    net.mirror.before_steps(ANY)
    net.mirror.after_steps()
    assert copies_of(stand_in, lambda: net.mirror.before_steps(ANY)) == {}
    old[...] = 1
    assert not net.blobs["x"].data.any()
