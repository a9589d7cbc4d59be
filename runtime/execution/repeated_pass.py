"""A pass in use that does what the last one did, with as little Python as there can be.

What a pass has computed has taken the place of Python in the near caches, so that each
line of it counts many times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netspec.graph import Graph
from runtime.execution.plan import Plan, Run


@dataclass(frozen=True, eq=False)
class RepeatedPass:
    """The functions of a pass over all of a plan, and the arrays of its outputs.

    It stands in the way of plans that share the memory, as it has arrays of it.
    """

    plan: Plan
    runs: Sequence[Run]
    outputs: Mapping[str, np.ndarray]


def repeated_pass(
    plan: Plan, graph: Graph, outputs: Mapping[str, np.ndarray]
) -> RepeatedPass | None:
    """Return what repeats a pass of a net that learns nothing and has no sources.

    None where code in Python runs amid it.
    """
    by_hand = 0
    for step in plan.forward:
        if step.calls is None:
            if graph.nodes[step.node].type != "Input":
                return None
            by_hand += 1
    runs = plan.repeated
    if len(runs) != by_hand + 1 or graph.stale or plan.backward:
        return None
    return RepeatedPass(plan, runs[by_hand:], outputs)
