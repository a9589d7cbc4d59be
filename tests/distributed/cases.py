"""Trainings that ranks and one process do alike: nets, solvers, and what came of them.

Run under `mpiexec`, this trains them with all ranks.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

import runtime
from netspec.errors import SpecError
from runtime.training.ranks.data_parallel import DataParallel
from tests.distributed.telling import tell

ITERATIONS = 10
SMALL_BYTES = 512  # of buckets, so that small nets have several

_DATA = """
    layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 6 dim: 3 dim: 7 dim: 5 } shape { dim: 6 }
            data_filler { type: "gaussian" std: 1 }
            data_filler { type: "constant" value: 3 } } }
"""
CONVOLUTIONS = (
    _DATA
    + """
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1
            weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
    layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
    layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool"
        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
    layer { name: "conv2" type: "Convolution" bottom: "pool" top: "conv2"
        convolution_param { num_output: 9 kernel_size: 2
            weight_filler { type: "xavier" } } }
    layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
    layer { name: "drop" type: "Dropout" bottom: "conv2" top: "conv2"
        dropout_param { dropout_ratio: 0.4 } }
    layer { name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label"
        top: "loss" }
"""
)
SHARED = (
    """
    layer { name: "data" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: 6 dim: 9 } data_filler { type: "gaussian" }
            data_filler { type: "gaussian" std: 0.5 } } }
"""
    + "".join(
        f"""
    layer {{ name: "ip{number}" type: "InnerProduct" bottom: "{bottom}" top: "h{number}"
        param {{ name: "{name}_w" }} param {{ name: "{name}_b" lr_mult: 2 }}
        inner_product_param {{ num_output: 9 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "tanh{number}" type: "TanH" bottom: "h{number}" top: "h{number}" }}
    """
        for number, (name, bottom) in enumerate(
            [("one", "x"), ("two", "h0"), ("three", "h1"), ("two", "h2"), ("one", "h3")]
        )
    )
    + """
    layer { name: "loss" type: "EuclideanLoss" bottom: "h4" bottom: "t" top: "loss" }
"""
)
# The statistics are of a rank's own batches: they are compared nowhere.
NORMALIZED = CONVOLUTIONS.replace(
    'layer { name: "relu1"',
    """layer { name: "norm" type: "BatchNorm" bottom: "conv1" top: "conv1" }
    layer { name: "scale" type: "Scale" bottom: "conv1" top: "conv1"
        scale_param { bias_term: true } }
    layer { name: "relu1\"""",
)


@dataclass(frozen=True)
class Case:
    """A net, the fields of a solver, and more arguments of it."""

    net: str
    fields: dict[str, Any]
    options: dict[str, Any]


def case(net: str, type: str = "SGD", base_lr: float = 0.05, **given: Any) -> Case:
    options = {
        name: given.pop(name)
        for name in ("memory_limit", "micro_batch")
        if name in given
    }
    fields = {"type": type, "base_lr": base_lr, "lr_policy": "fixed", "random_seed": 7}
    if type in ("SGD", "Nesterov", "Adam", "AdaDelta"):
        fields["momentum"] = 0.9
    return Case(net, {**fields, "display": 0, **given}, options)


CASES = {
    "SGD": case(CONVOLUTIONS, weight_decay=0.01),
    "Nesterov": case(CONVOLUTIONS, "Nesterov"),
    "AdaGrad": case(CONVOLUTIONS, "AdaGrad", 0.01),
    "RMSProp": case(CONVOLUTIONS, "RMSProp", 0.001, rms_decay=0.95),
    "AdaDelta": case(CONVOLUTIONS, "AdaDelta", 1.0, delta=1e-4),
    "Adam": case(CONVOLUTIONS, "Adam", 0.002, momentum2=0.99),
    "shared": case(SHARED, weight_decay=0.02, regularization_type="L1"),
    "normalized": case(NORMALIZED),
    "iter_size": case(CONVOLUTIONS, iter_size=2),
    "clipped": case(SHARED, clip_gradients=0.5),
    "plateau": case(
        SHARED, lr_policy="plateau", gamma=0.5, plateau_winsize=[2, 2, 2], base_lr=0.01
    ),
    "micro_batch": case(
        CONVOLUTIONS.replace("gaussian", "constant").replace("Dropout", "Power"),
        micro_batch=2,
    ),
    "memory_limit": case(NORMALIZED.replace("dim: 6", "dim: 48"), memory_limit="least"),
}


def learned(solver: Any) -> np.ndarray:
    """Return all learned parameters of a solver."""
    flat = solver.net.flat
    values: np.ndarray = flat.data[: flat.unlearned].copy()
    return values


def train(solver: Any, iterations: int = ITERATIONS) -> dict[str, Any]:
    """Train, and return losses, rates, hashes after every iteration, and parameters."""
    hashes, values = [], {}
    for number in range(1, iterations + 1):
        solver.step(1)
        now = learned(solver)
        hashes.append(hashlib.sha256(now.tobytes()).hexdigest())
        if number in (1, iterations):
            values[str(number)] = now.tolist()
    return {
        "losses": [record.loss for record in solver.history.train],
        "rates": [record.lr for record in solver.history.train],
        "hashes": hashes,
        "values": values,
    }


def solver_of(one: Case, *, ranks: int = 1, **options: Any) -> Any:
    """Return the solver of a case, with `iter_size` times `ranks`."""
    fields = {**one.fields, "iter_size": one.fields.get("iter_size", 1) * ranks}
    options |= one.options
    if one.options.get("memory_limit") == "least":
        options["memory_limit"] = _least(one.net, fields)
    return runtime.Solver(one.net, **fields, **options)


def _least(net: str, fields: dict[str, Any]) -> int:
    """Return about the lowest limit of memory, which depends on threads."""
    for limit in range(150_000, 600_000, 10_000):
        with suppress(SpecError):
            solver = runtime.Solver(net, **fields, memory_limit=limit)
            assert solver.net.recomputation.again
            return limit
    raise AssertionError("no limit is high enough")


@contextmanager
def by_messages(world: Any) -> Iterator[None]:
    """Let ranks add up gradients by MPI alone, as those of several machines do."""
    world.share = lambda memory: None
    try:
        yield
    finally:
        del world.share


def main() -> None:
    """Train cases twice with all ranks, and tell what came of it.

    Once they add up gradients in memory that they have in common, once by messages.

    The names of the cases are the arguments of the program.
    """
    DataParallel.bucket_bytes = SMALL_BYTES
    world = runtime.distributed.world()
    found = {}
    for name in sys.argv[1:]:
        one = CASES[name]
        solver = solver_of(one, communicator=world, check_replicas=1)
        found[name] = train(solver)
        found[name]["sent"] = len(solver.net.plans.completion.buckets)
        del solver
        with by_messages(world):
            again = solver_of(one, communicator=world)
        found[name]["again"] = train(again)["hashes"]
        assert again.micro_batch == one.options.get("micro_batch", 1)
        found[name]["buckets"] = len(again.net.plans.completion.buckets)
    tell(world, found)


if __name__ == "__main__":
    main()
