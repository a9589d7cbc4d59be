"""Training a step ahead of what the host knows: errors, records, snapshots, signals."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import NetspecError, SpecError
from netspec.schema import TEST, TRAIN
from runtime.training.divergence import (
    NonFiniteGradientError,
    NonFiniteLossError,
)
from tests.backends.cuda.test_iterations import (
    CLASSES,
    STEP,
    close,
    losses,
    parameters,
    same,
    small,
    solver_of,
)

BATCHES = 8
BATCH = 4
WAYS = [{}, {"graphs": False}]
FILLER = dict(weight_filler=dict(type="xavier"))


def arrays(bad: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    images = rng.normal(size=(BATCH * BATCHES, 2, 3, 5)).astype("float32")
    for batch, value in bad.items():
        images[BATCH * batch, 1, 2, 3] = value
    labels = rng.integers(CLASSES, size=len(images)).astype("float32")
    return images, labels


def reading(bad: dict[int, float] | None = None, **options) -> list[runtime.Solver]:
    """Solvers on the device and the processor; batch number k of data has bad[k]."""
    n = NetSpec("reading")
    n.data, n.label = L.MemoryData(
        batch_size=BATCH, channels=2, height=3, width=5, ntop=2
    )
    n.scores = L.InnerProduct(n.data, num_output=CLASSES, **FILLER)
    n.loss = L.SoftmaxWithLoss(n.scores, n.label)
    solvers = []
    text = STEP + options.pop("text", "max_iter: 7 snapshot_after_train: false")
    for name in ("host", "portable"):
        more = options if name == "host" else {}
        solver = solver_of(n, name, text, **more)
        solver.net.set_input_arrays(*arrays(bad or {}))
        solvers.append(solver)
    return solvers


# ---------------------------------------------------------------- not finite


@pytest.mark.parametrize("way", WAYS, ids=["graphs", "single calls"])
@pytest.mark.parametrize("batch", [0, 1, 4, 6])
def test_a_loss_that_is_none_ends_training_as_on_the_processor(host, way, batch):
    solvers = reading({batch: np.nan}, **way)
    caught = []
    for solver in solvers:
        with pytest.raises(NonFiniteLossError, match="loss of iteration") as error:
            solver.solve()
        caught.append(error.value)
    assert str(caught[0]) == str(caught[1])
    assert type(caught[0]) is type(caught[1])
    assert caught[0].iteration == batch == solvers[0].iter == solvers[1].iter
    assert len(losses(solvers[0])) == batch
    before, _ = reading(**way)
    before.step(batch)
    for name, values in parameters(before).items():
        np.testing.assert_array_equal(parameters(solvers[0])[name], values)
    close(solvers[0], solvers[1], 1e-5)


def test_training_goes_on_after_such_an_error(host):
    solver, _ = reading({2: np.nan})
    with pytest.raises(NonFiniteLossError):
        solver.solve()
    with pytest.warns(RuntimeWarning, match="the loss of iteration 2 is nan"):
        solver.step(1)  # not careful: it is taken, as in Caffe
    assert np.isnan(parameters(solver)["scores:0"]).any()
    assert solver.iter == 3


@pytest.mark.parametrize("way", WAYS, ids=["graphs", "single calls"])
def test_step_warns_once_and_solve_does_not_stop_at_what_is_past(host, tmp_path, way):
    text = f'max_iter: 7 snapshot_prefix: "{tmp_path}/n" snapshot_after_train: false'
    solver, plain = reading({3: np.nan}, text=text, **way)
    for one in (solver, plain):
        one.step(2)
        state = one.snapshot().state
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one.step(3)
        (said,) = [str(w.message) for w in caught]
        assert said.startswith("the loss of iteration 3 is nan")
        assert caught[0].filename == __file__
        one.restore(state)
        one.net.set_input_arrays(*arrays({}))
        one.solve()
    assert solver.iter == plain.iter == 7
    close(solver, plain, 1e-5)


ROOT = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 4 bias_term: false } }
layer { name: "root" type: "Power" bottom: "y" top: "r" power_param { power: 0.5 } }
layer { name: "sum" type: "Reduction" bottom: "r" top: "sum" loss_weight: 1 }
"""


def test_a_gradient_that_is_none_is_named_as_on_the_processor(host):
    said = []
    for name in ("host", "portable"):
        text = f"{STEP} max_iter: 4 snapshot_after_train: false net_param {{ {ROOT} }}"
        solver = runtime.get_solver(text, backend=name)
        solver.net.blobs["x"].data[...] = 1
        with pytest.raises(NonFiniteGradientError, match="parameter 0 of layer") as e:
            solver.solve()
        assert solver.iter == 0
        assert (solver.net.params["ip"][0].data == 0).all()
        said.append(str(e.value))
    assert said[0] == said[1]


def test_passes_by_hand_may_come_before_whole_iterations(host):
    solvers = [
        solver_of(small(), name, f"{STEP} clip_gradients: 0.5")
        for name in ("host", "portable")
    ]
    for solver in solvers:
        solver.net.forward_backward()
        solver.apply_update()
        solver.step(3)
        solver.net.forward_backward()
        solver.apply_update()
        solver.step(2)
    assert solvers[0].net.backend.device.counts["graphs"] > 0
    close(*solvers, 1e-4)


# ---------------------------------------------------------------- records


def test_every_record_is_told_in_order(host):
    told: list[tuple[str, int, float, int]] = []
    solver, plain = reading(text="max_iter: 7 snapshot_after_train: false")
    for name, one in (("host", solver), ("portable", plain)):

        @one.on_step
        def note(record, name=name, one=one):
            told.append((name, record.iteration, record.lr, one.iter))

        one.step(3)
        one.solve()
    half = len(told) // 2
    assert [one[1:] for one in told[:half]] == [one[1:] for one in told[half:]]
    assert [one[1] for one in told[:half]] == list(range(7))


def test_times_of_iterations_are_no_more_than_there_was(host, monkeypatch):
    clock = iter(range(100, 200))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    solver, _ = reading()
    started = float(next(clock))
    solver.step(5)
    seconds = [record.seconds for record in solver.history.train]
    assert min(seconds) > 0
    assert sum(seconds) <= float(next(clock)) - started


def test_an_iteration_is_recorded_though_the_next_one_fails(host, monkeypatch):
    for solver in reading():
        source = solver.net.sources["data"]
        read = type(source).next

        def broken(self, *args, solver=solver, read=read):
            if solver.iter == 3:
                raise SpecError("no more data")
            return read(self, *args)

        monkeypatch.setattr(type(source), "next", broken)
        with pytest.raises(NetspecError, match="no more data"):
            solver.step(5)
        monkeypatch.undo()
        assert solver.iter == 3
        assert [record.iteration for record in solver.history.train] == [0, 1, 2]
        solver.step(1)
        assert solver.iter == 4


def test_a_bad_loss_counts_more_than_what_failed_after_it(host, monkeypatch):
    solver, plain = reading({2: np.nan})
    for one in (solver, plain):
        source = one.net.sources["data"]
        read = type(source).next

        def broken(self, *args, one=one, read=read):
            if one.iter == 3:
                raise SpecError("no more data")
            return read(self, *args)

        monkeypatch.setattr(type(source), "next", broken)
        with pytest.raises(NonFiniteLossError, match="loss of iteration 2 is nan"):
            one.solve()
        monkeypatch.undo()
        assert one.iter == 2


# ---------------------------------------------------------------- snapshots, tests


@pytest.mark.parametrize("rule", ["momentum: 0.9", "type: 'Adam' momentum: 0.9"])
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(
    host, tmp_path: Path, rule, precision
):
    text = f'{STEP} {rule} snapshot: 3 snapshot_prefix: "{tmp_path}/n" max_iter: 7'
    straight = solver_of(small(), "host", text, precision=precision)
    straight.solve()
    assert [one.iteration for one in straight.history.snapshots] == [3, 6, 7]
    other = solver_of(small(), "host", text, precision=precision)
    other.solve(resume=straight.history.snapshots[0].state)
    assert losses(other) == losses(straight)[3:]
    for name, values in parameters(straight).items():
        np.testing.assert_array_equal(values, parameters(other)[name])


def both_phases() -> NetSpec:
    n = NetSpec("tested")
    for phase, size in ((TRAIN, 4), (TEST, 3)):
        n.data, n.label = L.DummyData(
            name="data",
            shape=[dict(dim=[size, 6]), dict(dim=[size])],
            data_filler=[dict(type="gaussian"), dict(type="constant", value=2)],
            include=phase,
            ntop=2,
        )
    n.scores = L.InnerProduct(n.data, num_output=CLASSES, **FILLER)
    n.loss = L.SoftmaxWithLoss(n.scores, n.label)
    return n


def test_test_nets_see_what_was_trained(host):
    options = f"{STEP} momentum: 0.9 test_iter: 2 test_interval: 2 max_iter: 5"
    text = f"{options} snapshot_after_train: false"
    solvers = [solver_of(both_phases(), name, text) for name in ("host", "portable")]
    records = []
    for solver in solvers:
        solver.solve()
        records.append([(r.iteration, r.outputs["loss"]) for r in solver.history.tests])
    assert [iteration for iteration, _ in records[0]] == [0, 2, 4]
    np.testing.assert_allclose(records[0], records[1], rtol=1e-5)
    close(*solvers, 1e-5)


# ---------------------------------------------------------------- signals


@pytest.fixture
def ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("where", ["launch", "loss"])
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_whole_iterations_and_all_their_records(host, monkeypatch, where):
    straight, broken = (solver_of(small(), "host", STEP) for _ in range(2))
    straight.step(6)
    original = getattr(broken._ahead, where)
    calls = iter(range(100))

    def interrupted(*arguments, **options):
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **options)

    monkeypatch.setattr(broken._ahead, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.step(6)
    done = broken.iter
    assert 2 < done < 6
    assert [record.iteration for record in broken.history.train] == list(range(done))
    monkeypatch.undo()
    broken.step(6 - done)
    same(straight, broken)
