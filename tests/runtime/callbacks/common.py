"""A solver whose tests give the values that a test of callbacks wants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import runtime
from runtime.training.records import TestRecord
from tests.runtime.training.test_solver import FIXED, NOISE

SCORES = NOISE.replace(
    'type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }',
    'type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }\n'
    'layer { name: "score" type: "Reduction" bottom: "y" top: "accuracy"\n'
    "        include { phase: TEST } reduction_param { operation: ASUM } }\n"
    'layer { name: "rows" type: "Power" bottom: "y" top: "rows"\n'
    "        include { phase: TEST } }\n",
)
TESTS = (
    FIXED + "test_iter: 2 test_interval: 2 test_initialization: false max_iter: 12 "
    "snapshot_after_train: false "
)


def solver_of(backend, options=TESTS, net=SCORES, **fields):
    text = f"{options}\nnet_param {{ {net} }}"
    solver = runtime.get_solver(text, backend=backend.name)
    for name, value in fields.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            getattr(solver.param, name)[:] = value
        else:
            setattr(solver.param, name, value)
    return solver


def scripted(solver, losses, name="loss"):
    """Let the tests of a solver find these values of an output, one after the other.

    They go by the iteration, so that a test that is repeated finds the same.
    """

    def run(nets, param, iteration, leave, communicator=None):
        value = losses[(iteration // param.test_interval - 1) % len(losses)]
        outputs = {"accuracy": np.array(0.5), "loss": np.array(0.5)}
        outputs[name] = np.array(float(value))
        return [TestRecord(iteration, 0, outputs, {"loss": 1.0})]

    return run
