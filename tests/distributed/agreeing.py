"""What two ranks agree on, and what they refuse: a check after the other, in one job.

Every check is a function of the communicator that returns what it saw as JSON; each
rank writes what it saw of all of them.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import runtime
from netspec.errors import NetspecError
from runtime.training.ranks.data_parallel import DataParallel
from tests.distributed.spoiling import Spoiling
from tests.distributed.telling import tell

NET = """
    layer { name: "data" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: 4 dim: 6 } data_filler { type: "gaussian" }
            data_filler { type: "gaussian" std: 0.5 } } }
    layer { name: "factor" type: "Input" top: "factor"
        input_param { shape { dim: 4 dim: 6 } } }
    layer { name: "product" type: "Eltwise" bottom: "x" bottom: "factor" top: "y"
        eltwise_param { operation: PROD } }
    layer { name: "below" type: "InnerProduct" bottom: "y" top: "below"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
    layer { name: "above" type: "InnerProduct" bottom: "below" top: "above"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "above" bottom: "t" top: "loss" }
"""
CHECKS: dict[str, Callable[..., Any]] = {}


def check(call: Callable[..., Any]) -> Callable[..., Any]:
    CHECKS[call.__name__] = call
    return call


def make(world: Any, **given: Any) -> Any:
    fields = {"base_lr": 0.05, "momentum": 0.9, "max_iter": 12, "random_seed": 3}
    fields |= {"snapshot_after_train": False, "lr_policy": "fixed"} | given
    net = fields.pop("net", NET)
    solver = runtime.Solver(net, communicator=world, display=0, **fields)
    solver.net.blobs["factor"].data[...] = 1
    return solver


def refused(call: Callable[[], Any]) -> list[str]:
    """Return the type and the message of what a call raises."""
    try:
        call()
    except (NetspecError, KeyboardInterrupt) as error:
        return [type(error).__name__, str(error)]
    return ["nothing", ""]


def at(solver: Any, iteration: int, call: Callable[[], Any]) -> None:
    """Call something ahead of an iteration."""

    def before() -> None:
        if solver.iter == iteration:
            call()

    solver.add_callback(before, lambda: None)


def spoil(solver: Any) -> None:
    solver.net.blobs["factor"].data[...] = np.inf


@check
def loss_that_is_not_finite(world: Any) -> Any:
    solver = make(world)
    if world.rank == 1:
        at(solver, 3, lambda: spoil(solver))
    said = refused(solver.solve)
    finite = bool(np.isfinite(solver.net.flat.data).all())
    return [*said, solver.iter, finite, len(solver.history.train)]


@check
def warning_of_a_loss(world: Any) -> Any:
    solver = make(world)
    if world.rank == 1:
        at(solver, 1, lambda: spoil(solver))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        solver.step(3)
    return [str(one.message) for one in said]


@check
def gradient_that_is_not_finite(world: Any) -> Any:
    solver = make(world)

    def spoil_gradient() -> None:
        if solver.iter == 2:
            solver.net.params["below"][0].diff[0, 0] = np.nan

    solver.add_callback(lambda: None, spoil_gradient)
    return [*refused(solver.solve), solver.iter]


SPOILED = NET.replace(
    'name: "above" type: "InnerProduct" bottom: "below"',
    """name: "through" type: "Python" bottom: "below" top: "through" python_param {
        module: "tests.distributed.spoiling" layer: "Spoiling" } }
    layer { name: "above" type: "InnerProduct" bottom: "through"
        """,
)


def spoiled(world: Any, places: tuple[int, ...], **given: Any) -> Any:
    Spoiling.places, Spoiling.passes = places, 0
    allowed = ["tests.distributed.spoiling"]
    return make(world, net=SPOILED, allow_python=allowed, **given)


@check
def gradient_of_one_rank(world: Any) -> Any:
    found = []
    for iter_size in (1, 2):
        for bucket_bytes in (DataParallel.bucket_bytes, 64):
            DataParallel.bucket_bytes, kept = bucket_bytes, DataParallel.bucket_bytes
            places = (2 * iter_size,) if world.rank == 1 else ()
            solver = spoiled(world, places, iter_size=iter_size)
            DataParallel.bucket_bytes = kept
            try:
                solver.solve()
            except runtime.NonFiniteLossError as error:
                found.append([str(error), error.rank, error.iteration])
    return found


@check
def warning_of_a_gradient(world: Any) -> Any:
    solver = spoiled(world, (1,) if world.rank == 1 else ())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        solver.step(3)
    return [str(one.message) for one in said if "gradient" in str(one.message)]


@check
def stop_of_one_rank_behind_an_iteration(world: Any) -> Any:
    solver = make(world)
    if world.rank == 1:
        solver.on_step(lambda record: record.iteration == 4 and solver.stop())
    solver.solve()
    return [solver.iter, solver.stopping]


@check
def stop_of_one_rank_ahead_of_an_iteration(world: Any) -> Any:
    solver = make(world)
    if world.rank == 0:
        at(solver, 6, solver.stop)
    solver.step(12)
    solver.step(1)  # the wish is over
    return solver.iter


@check
def early_stopping(world: Any) -> Any:
    solver = make(world, base_lr=0.3)
    solver.epoch_size = 1
    stopping = runtime.callbacks.EarlyStopping("loss", patience=2)
    solver.callbacks.add(stopping)
    solver.solve()
    losses = [record.loss for record in solver.history.train]
    return [solver.iter, losses]


@check
def interrupt_of_one_rank(world: Any) -> Any:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    solver = make(world)
    if world.rank == 1:
        at(solver, 5, lambda: os.kill(os.getpid(), signal.SIGINT))
    said = refused(solver.solve)[0]
    return [said, solver.iter]


@check
def other_seed(world: Any) -> Any:
    return refused(lambda: make(world, random_seed=3 + world.rank).step(1))


@check
def other_rate(world: Any) -> Any:
    return refused(lambda: make(world, base_lr=0.05 + 0.25 * world.rank).step(1))


@check
def other_net(world: Any) -> Any:
    net = NET.replace("num_output: 5", f"num_output: {5 + world.rank}")
    return refused(lambda: make(world, net=net).step(1))


@check
def other_weights(world: Any) -> Any:
    solver = make(world)
    if world.rank == 1:
        solver.net.params["above"][0].data[2, 3] += 1e-6
    return refused(lambda: solver.step(1))


@check
def other_files_later(world: Any) -> Any:
    solver = make(world)
    solver.step(2)
    path = f"{sys.argv[1]}/{world.rank}.caffemodel"
    if world.rank == 1:
        solver.net.params["below"][1].data[1] = 7
    solver.net.save(path)
    solver.copy_from(path)
    return refused(lambda: solver.step(1))


@check
def other_history_restored(world: Any) -> Any:
    solver = make(world, snapshot_prefix=f"{sys.argv[1]}/of{world.rank}")
    solver.step(1)
    if world.rank == 1:
        solver._iteration = 2  # as of a state that is of another time
        solver._note_files()
    return refused(lambda: solver.step(3))


@check
def other_end(world: Any) -> Any:
    solver = make(world)
    return refused(lambda: solver.step(2 + world.rank))


@check
def other_rate_on_the_way(world: Any) -> Any:
    solver = make(world)

    def change() -> None:
        solver.lr = 0.5

    if world.rank == 1:
        at(solver, 4, change)
    return [*refused(solver.solve), solver.iter]


def disturb(solver: Any, iteration: int) -> None:
    if iteration == 2:
        solver.net.params["below"][1].data[3] += 1e-6


@check
def replicas_that_differ(world: Any) -> Any:
    solver = make(world, check_replicas=2)
    if world.rank == 1:
        at(solver, 2, lambda: disturb(solver, 2))
    return [*refused(solver.solve), solver.iter]


@check
def histories_that_differ(world: Any) -> Any:
    solver = make(world, check_replicas=1)
    if world.rank == 1:
        solver.add_callback(
            lambda: None,
            lambda: solver.iter == 4 and solver.update.history[0].__setitem__(0, 1e-9),
        )
    return [*refused(solver.solve), solver.iter]


@check
def replicas_that_nobody_compares(world: Any) -> Any:
    solver = make(world)
    if world.rank == 1:
        at(solver, 2, lambda: disturb(solver, 2))
    return refused(solver.solve)


def main() -> None:
    """Make all checks."""
    world = runtime.distributed.world()
    found = {name: call(world) for name, call in CHECKS.items()}
    tell(world, found)


if __name__ == "__main__":
    main()
