"""In which blob of a pass values stopped being finite.

Blobs that can be read are looked at where they are. If that does not tell, the pass is
run again, layer by layer: its data, what is dropped and what is drawn follow from its
number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netspec.errors import NetspecError
from netspec.graph import Node
from netspec.ops.base import label
from runtime.arrays import Array
from runtime.execution.net import Net
from runtime.layers.base import TopsChanged
from runtime.training.passes import at_passes

SPLIT = "Split"  # what it makes is what it reads


@dataclass(frozen=True)
class Began:
    """The first blob of a pass that is not finite, and the layers that wrote it.

    is_data: whether it comes from outside, so that no rate helps. count: how many of
    its `size` values are not finite; `first` and `value` are of the first.
    """

    blob: str
    layers: Sequence[str]
    is_data: bool
    count: int
    size: int
    first: int
    value: float

    def __str__(self) -> str:
        layers = ", then ".join(self.layers)
        if self.size == 1:
            what = f"it is {self.value:g}"
        elif self.count == 1:
            what = f"value {self.first} of {self.size} is {self.value:g}"
        else:
            what = (
                f"{self.count} of {self.size} values are not, the first, value "
                f"{self.first}, is {self.value:g}"
            )
        return f"the first blob that is not finite is {self.blob!r} of {layers}: {what}"


def began(net: Net, loss: float) -> Began | None:
    """Return the first blob of the last pass that explains its loss, if it is kept.

    It is the first with NaN, or for an infinite loss the first that is not finite.
    """
    return _seen(net, loss)[0]


def began_in(
    net: Net, loss: float, passes: int, size: int, *, there: bool = True
) -> Began | None:
    """Return the same of the `size` passes of an iteration, the first being `passes`.

    They run again where blobs alone do not tell for certain, unless somebody's code is
    among the layers. Parameters stay as they are.

    there: whether the blobs are those of that iteration.
    """
    from runtime.training.ranks.running_statistics import remembered

    seen, sure = _seen(net, loss) if there else (None, False)
    if sure or any(node.type == "Python" for node in net.graph.nodes):
        return seen
    arrays = [net.parameters.arrays[index].data for index in remembered(net.graph)]
    before = [array.copy() for array in arrays]
    found = None
    try:
        with at_passes(net, passes):
            for _ in range(size):
                found = found or _again(net, loss)
                net.clock.go_on()
    except (NetspecError, TopsChanged):
        pass  # data that cannot be had again, or sizes that are found as it runs
    finally:
        for array, old in zip(arrays, before, strict=True):
            net.backend.copy(old, array)
    return found or seen


def _seen(net: Net, loss: float) -> tuple[Began | None, bool]:
    """Return the first that can be read, and whether it certainly is the first."""
    whole = True
    for name, nodes in _writers(net).items():
        try:
            values = net.blobs[name].data
        except NetspecError:  # not kept
            whole = False
            continue
        found = _look(name, nodes, values, loss)
        if found is not None:
            return found, whole and len(nodes) == 1
    return None, False


def _again(net: Net, loss: float) -> Began | None:
    """Run a pass forward; return the first that a step writes and is not finite."""
    graph, plan = net.graph, net.plan
    net.mirror.before_steps(plan.passes.wholes["forward"], feeds=True)
    found = None
    try:
        plan.forget_prepared()
        for step in plan.forward:
            with np.errstate(all="ignore"):
                step.run()
            node = graph.nodes[step.node]
            for edge in () if node.type == SPLIT or found else node.tops:
                name, array = graph.edges[edge].blob, plan.data[edge]
                if array is not None:
                    values = _on_host(net, array)
                    found = found or _look(name, [node], values, loss)
    finally:
        net.mirror.after_steps()
    return found


def _on_host(net: Net, array: Array) -> np.ndarray:
    if net.backend.on_host:
        return np.asarray(array)
    out = np.empty(array.shape, np.float32)
    net.backend.download(array, out)
    return out


def _writers(net: Net) -> dict[str, list[Node]]:
    """Return the layers that write each blob, in order; Split layers write none."""
    found: dict[str, list[Node]] = {}
    for node in net.graph.nodes:
        for edge in () if node.type == SPLIT else node.tops:
            found.setdefault(net.graph.edges[edge].blob, []).append(node)
    return found


def _look(
    name: str, nodes: Sequence[Node], values: np.ndarray, loss: float
) -> Began | None:
    if values.dtype.kind != "f" or not values.size:
        return None
    flat = values.reshape(-1)
    bad = np.isnan(flat) if math.isnan(loss) else ~np.isfinite(flat)
    count = int(np.count_nonzero(bad))
    if not count:
        return None
    first = int(bad.argmax())
    layers = [label(node.layer) for node in nodes]
    return Began(
        blob=name,
        layers=layers,
        is_data=nodes[0].op.is_source,
        count=count,
        size=flat.size,
        first=first,
        value=float(flat[first]),
    )
