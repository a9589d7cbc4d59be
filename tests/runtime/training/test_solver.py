"""`runtime.Solver`: nets, tests, callbacks and what a run leaves behind."""

import math
import warnings

import numpy as np
import pytest

import runtime
from runtime.training.divergence import NonFiniteLossError

REGRESSION = """
name: "regression"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""

NOISE = """
name: "noise"
layer { name: "data" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: 5 dim: 7 } shape { dim: 5 dim: 2 }
                           data_filler { type: "gaussian" std: 1.5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "h"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "h" top: "h"
        dropout_param { dropout_ratio: 0.3 } }
layer { name: "out" type: "InnerProduct" bottom: "h" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""

FIXED = 'base_lr: 0.02 lr_policy: "fixed" momentum: 0.8 '


def solver_text(net: str = NOISE, options: str = FIXED) -> str:
    return f"{options}\nnet_param {{ {net} }}"


def make(backend, net=NOISE, options=FIXED, **more):
    return runtime.get_solver(solver_text(net, options), backend=backend.name, **more)


def values(solver):
    return {
        f"{name}:{slot}": blob.data.copy()
        for name, blobs in solver.net.params.items()
        for slot, blob in enumerate(blobs)
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def feed(solver, seed=0, nets=()):
    rng = np.random.default_rng(seed)
    for net in (solver.net, *nets):
        net.blobs["x"].data[...] = rng.normal(size=(4, 3))
        net.blobs["t"].data[...] = rng.normal(size=(4, 2))


# ---------------------------------------------------------------- training


def test_step_descends_the_gradient(backend):
    solver = make(backend, REGRESSION, 'base_lr: 0.1 lr_policy: "fixed"')
    feed(solver)
    x, t = (solver.net.blobs[name].data.copy() for name in "xt")
    w, b = (blob.data.copy() for blob in solver.net.params["ip"])
    error = x @ w.T + b - t
    solver.step(1)
    assert solver.iter == 1
    np.testing.assert_allclose(
        solver.net.params["ip"][0].data, w - 0.1 * error.T @ x / 4, rtol=1e-5
    )
    record = solver.history.train[0]
    assert record.loss == pytest.approx(float((error**2).sum()) / 8, rel=1e-5)
    assert (record.iteration, record.lr) == (0, pytest.approx(0.1))


def test_iter_size_means_over_several_batches(backend):
    one = make(backend, options='base_lr: 0.1 lr_policy: "fixed" iter_size: 3')
    before = values(one)
    gradients, losses = [], []
    other = make(backend)
    for passes in range(3):
        other.net.clock.value = passes
        other.net.forward_backward()
        losses.append(other.net.loss())
        gradients.append(other.net.params["ip"][0].diff.copy())
    one.step(1)
    np.testing.assert_allclose(
        one.net.params["ip"][0].data,
        before["ip:0"] - 0.1 * np.mean(gradients, 0),
        rtol=1e-5,
        atol=1e-7,
    )
    assert one.history.train[0].loss == pytest.approx(np.mean(losses), rel=1e-6)


def test_iter_size_takes_new_batches_in_every_iteration(backend):
    frozen = 'base_lr: 0 lr_policy: "fixed" '
    one = make(backend, options=frozen)
    other = make(backend, options=frozen + "iter_size: 3")
    one.step(6)
    other.step(2)
    losses = [record.loss for record in one.history.train]
    expected = [np.mean(losses[:3]), np.mean(losses[3:])]
    np.testing.assert_allclose([r.loss for r in other.history.train], expected)


def test_same_seed_repeats_a_run_and_another_does_not(backend):
    runs = [make(backend, seed=seed) for seed in (3, 3, 4)]
    for solver in runs:
        solver.step(4)
    first, again, other = (values(solver) for solver in runs)
    assert_same(first, again)
    assert (first["ip:0"] != other["ip:0"]).all()


def test_seed_is_the_argument_or_random_seed_or_zero(backend):
    seeded = FIXED + "random_seed: 12"
    assert make(backend, options=seeded).seed == 12
    assert make(backend, options=seeded, seed=5).seed == 5
    assert make(backend).seed == 0


def test_forward_by_hand_does_not_change_what_is_trained_on(backend):
    plain, disturbed = make(backend), make(backend)
    plain.step(3)
    disturbed.step(2)
    disturbed.net.forward()
    disturbed.step(1)
    assert_same(values(plain), values(disturbed))


def test_smoothed_loss_is_the_mean_of_the_last_ones(backend):
    solver = make(backend, options=FIXED + "average_loss: 3")
    solver.step(5)
    losses = [record.loss for record in solver.history.train]
    smoothed = [record.smoothed_loss for record in solver.history.train]
    expected = [np.mean(losses[max(0, i - 2) : i + 1]) for i in range(5)]
    np.testing.assert_allclose(smoothed, expected)


def test_lr_is_that_of_the_next_iteration(backend):
    options = 'lr_policy: "multistep" base_lr: 0.1 gamma: 0.5 stepvalue: 2'
    solver = make(backend, options=options)
    seen = []
    for _ in range(4):
        seen.append(solver.lr)
        solver.step(1)
    assert seen == pytest.approx([0.1, 0.1, 0.05, 0.05])
    assert [record.lr for record in solver.history.train] == pytest.approx(seen)


# ---------------------------------------------------------------- tests

TESTED = (
    FIXED + "test_iter: 3 test_interval: 2 max_iter: 4 snapshot_after_train: false "
)


def test_test_passes_run_when_due_and_at_the_end_of_solve(backend):
    solver = make(backend, options=TESTED)
    solver.solve()
    assert [record.iteration for record in solver.history.tests] == [0, 2, 4]
    late = make(backend, options=TESTED + "test_initialization: false")
    late.solve()
    assert [record.iteration for record in late.history.tests] == [2, 4]


def test_test_outputs_are_means_over_test_iter_batches(backend):
    solver = make(backend, options=TESTED + "test_compute_loss: true")
    solver.step(1)
    net = runtime.Net(NOISE, runtime.TEST, backend=backend.name)
    expected = np.mean([net.forward()["loss"].item() for _ in range(3)])
    (record,) = solver.history.tests
    assert record.scalars()["loss"] == pytest.approx(expected, rel=1e-6)
    assert record.loss == pytest.approx(expected, rel=1e-6)
    assert dict(record.loss_weights) == {"loss": 1.0}


def test_test_nets_see_the_parameters_being_trained(backend):
    solver = make(backend, options=TESTED)
    solver.step(3)
    trained, tested = (
        net.params["ip"][0].data for net in (solver.net, solver.test_nets[0])
    )
    np.testing.assert_array_equal(trained, tested)


def test_batches_of_a_test_follow_from_the_iteration_only(backend):
    solver = make(backend, options=TESTED)
    solver.step(3)
    again = make(backend, options=TESTED)
    again.step(2)
    again.test_nets[0].forward()
    again.test()
    again.step(1)
    assert again.history.tests[1].scalars() == solver.history.tests[1].scalars()
    assert again.history.tests[2].scalars() == solver.history.tests[1].scalars()
    first, second = (record.scalars() for record in solver.history.tests[:2])
    assert first != second


@pytest.mark.parametrize("initial, passes", [("true", [1, 2, 3]), ("false", [0, 1, 2])])
def test_tests_take_up_where_the_last_one_left_off(backend, initial, passes):
    solver = make(backend, options=TESTED + f"test_initialization: {initial}")
    ends = []
    solver.step(1)
    ends.append(solver.test_nets[0].clock.value / 3)
    solver.step(2)
    ends.append(solver.test_nets[0].clock.value / 3)
    solver.test()
    ends.append(solver.test_nets[0].clock.value / 3)
    assert ends == passes


def test_test_state_chooses_layers_of_each_test_net(backend):
    net = NOISE.replace(
        'layer { name: "drop"',
        'layer { name: "half" type: "Power" bottom: "h" top: "h" '
        'power_param { scale: 0.5 } include { stage: "halved" } } '
        'layer { name: "drop"',
    )
    options = TESTED + 'test_iter: 2 test_state { } test_state { stage: "halved" }'
    solver = make(backend, net, options)
    names = [list(net.layer_dict) for net in solver.test_nets]
    assert ["half" in layers for layers in names] == [False, True]
    assert "half" not in solver.net.layer_dict


# ---------------------------------------------------------------- callbacks


def test_callbacks_come_before_the_pass_and_before_the_update(backend):
    solver = make(backend, REGRESSION, 'base_lr: 0.5 lr_policy: "fixed"')
    feed(solver)
    bias = solver.net.params["ip"][1]
    seen = []

    def after():
        seen.append(bias.data.copy())
        bias.diff[...] = 2

    solver.add_callback(lambda: seen.append("before"), after)
    solver.step(1)
    assert seen[0] == "before"
    np.testing.assert_allclose(bias.data, seen[1] - 0.5 * 2, rtol=1e-6)


def test_records_reach_those_who_asked(backend, tmp_path):
    options = TESTED + f'snapshot: 3 snapshot_prefix: "{tmp_path}/n"'
    solver = make(backend, options=options)
    steps, tests, files = [], [], []

    @solver.on_step
    def note(record):
        steps.append(record.iteration)

    solver.on_test(tests.append)
    solver.on_snapshot(files.append)
    solver.solve()
    assert steps == [0, 1, 2, 3]
    assert [record.iteration for record in tests] == [0, 2, 4]
    assert [one.iteration for one in files] == [3]
    assert note.__name__ == "note"


def test_stop_ends_after_the_iteration_with_a_snapshot(backend, tmp_path):
    options = TESTED + f'snapshot_prefix: "{tmp_path}/n"'
    solver = make(backend, options=options)
    solver.on_step(lambda record: solver.stop() if record.iteration == 1 else None)
    solver.solve()
    assert solver.iter == 2
    assert solver.last_snapshot.iteration == 2
    assert solver.last_snapshot.state.is_file()
    solver.step(1)  # and it can go on
    assert solver.iter == 3


def test_stop_in_the_middle_of_a_test_leaves_it_unrecorded(backend):
    solver = make(backend, options=TESTED)
    solver.test_nets[0].forward_real = solver.test_nets[0].forward
    calls = []

    def forward():
        calls.append(1)
        solver.stop()
        return solver.test_nets[0].forward_real()

    solver.test_nets[0].forward = forward
    solver.step(2)
    assert (solver.iter, len(calls), solver.history.tests) == (0, 1, [])


def test_interrupted_iteration_can_be_done_again(backend, monkeypatch):
    straight, broken = make(backend), make(backend)
    straight.step(4)
    broken.step(2)

    def interrupted(*_, **options):
        monkeypatch.undo()
        raise KeyboardInterrupt

    # One of them is called, as the backend has iterations in steps or as a whole.
    for name in ("loss", "iterate", "run_joined"):
        monkeypatch.setattr(runtime.Net, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.step(2)
    assert broken.iter == 2
    broken.step(2)
    assert_same(values(straight), values(broken))


class CountingSource:
    """A source that notes where it is sent."""

    def __init__(self):
        self.sought = []

    def seek(self, batch):
        self.sought.append(batch)


def test_sources_are_sent_to_their_place_only_when_they_are_not_there(backend):
    solver = make(backend, options=FIXED + "iter_size: 2 ")
    source = CountingSource()
    solver.net.sources["data"] = source
    solver.step(3)
    assert source.sought == []
    solver.net.forward()
    solver.step(1)
    assert source.sought == [6]
    solver._iteration = 20
    solver.step(1)
    assert source.sought == [6, 40]


# ---------------------------------------------------------------- divergence


def diverging(backend, tmp_path, **more):
    options = (
        'base_lr: 1e30 lr_policy: "fixed" max_iter: 20 snapshot: 1 '
        f'snapshot_prefix: "{tmp_path}/n"'
    )
    return make(backend, options=options, **more)


def test_solve_stops_at_a_loss_that_is_not_finite(backend, tmp_path):
    solver = diverging(backend, tmp_path)
    with pytest.raises(
        NonFiniteLossError, match=r"loss of iteration \d+ is (nan|inf).*Lower base_lr"
    ) as caught:
        solver.solve()
    assert not math.isfinite(caught.value.loss)
    assert caught.value.iteration == solver.iter
    assert caught.value.snapshot.iteration == solver.iter
    assert str(caught.value.snapshot.state) in str(caught.value)


def test_step_goes_on_but_warns_once(backend, tmp_path):
    solver = diverging(backend, tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver.step(6)
    assert solver.iter == 6
    assert [str(one.message)[:21] for one in caught] == ["the loss of iteration"]
    assert not math.isfinite(solver.history.train[-1].loss)
