"""`check_gradients`: whether the gradients of a net or a layer are its derivatives."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import SpecError, did_you_mean
from netspec.graph import Edge, Graph, Parameter, is_inserted
from netspec.schema import TRAIN
from runtime.checking.differences import Settings, check_variable
from runtime.checking.preparing import own_name, prepare
from runtime.checking.probe import Objective, Variable
from runtime.checking.report import GradientCheck
from runtime.checking.subject import subject_of
from runtime.execution.net import Net
from runtime.execution.python_layers.code import Allow

EPS = 1e-5
RTOL = 1e-5
SAMPLES = 64


def check_gradients(
    net: Any,
    *,
    inputs: Mapping[str, Any] | Sequence[Any] | None = None,
    shapes: Mapping[str, Sequence[int]] | Sequence[Sequence[int]] | None = None,
    wrt: str | Sequence[str] | None = None,
    eps: float = EPS,
    rtol: float = RTOL,
    samples: int = SAMPLES,
    seed: int = 0,
    phase: int = TRAIN,
    level: int = 0,
    stages: Sequence[str] = (),
    weights: str | Path | None = None,
    allow_python: Allow = (),
) -> GradientCheck:
    """Compare the gradients of a net, or of one layer, with central differences.

        numerical = (f(x + eps) - f(x - eps)) / (2 eps)
        error = |analytic - numerical| / max(|analytic|, |numerical|, 0.001 m)

    m is the largest gradient of the array. Everything is computed in float64, with the
    portable kernels. f is the net's objective, the weighted sum of its losses; of a net
    or layer without any it is the sum of all outputs with random weights. Where the
    slopes of both sides differ there is a kink; if the gradient is between them the
    element is counted as one and not compared. Labels, and whatever else a layer has no
    gradient for, are held.

    Args:
        net: what `runtime.Net` takes, a `runtime.Net` (its values are taken over, and
            it stays as it is), or a layer: a `LayerParameter`, its text
            (`'type: "ReLU"'`), or what a layer function returns.
        inputs: values of the blobs that come from outside, by name or in order; others
            get random ones from the seed: normal, or in the range that a layer says
            (labels, indices). Data layers bring their own unless they have values here.
        shapes: of those without values and without an Input layer that tells.
        wrt: what to check the gradients of: blobs, layers for all their parameters, or
            `layer[slot]` for one; a name that is both means both. By default inputs and
            parameters.
        eps: the step, times the value itself where that is above 1.
        rtol: the largest error that is not wrong.
        samples: how many elements to check of an array, drawn by the seed, with that of
            the largest gradient.
        seed: of inputs, samples, fillers and Dropout. Parameters that their fillers set
            to one number get random values added.
        phase, level, stages: the state of the net.
        weights: a file to copy parameters from.
        allow_python: names of the modules that Python layers may import; True for any.

    Raises `SpecError` for names and numbers that cannot be, `ShapeError` where a shape
    is missing, and whatever the net itself raises.
    """
    settings = _settings(eps, rtol, samples, seed)
    subject = subject_of(
        net, inputs=inputs, shapes=shapes, state=(phase, level, stages)
    )
    allowed: Allow = True if isinstance(net, Net) else allow_python  # it runs already
    prepared = prepare(subject, seed, weights, allowed)
    objective = prepared.objective
    wanted = None if wrt is None else [wrt] if isinstance(wrt, str) else list(wrt)
    edges, parameters = _chosen(objective.net.graph, prepared.held, wanted)
    rows = []
    if objective.tops:
        gradients = objective.gradients(edges)
        variables = [_blob(objective, edge, gradients[edge]) for edge in edges]
        variables += [_parameter(objective, one) for one in parameters]
        tops = objective.at()
        for variable in variables:
            if variable.gradient is not None:
                rows.append(
                    check_variable(
                        objective, variable, variable.gradient, tops, settings
                    )
                )
    return GradientCheck(
        name=_title(objective),
        rows=tuple(rows),
        notes=prepared.notes,
        objective=tuple(objective.tops),
        eps=eps,
        rtol=rtol,
    )


def _settings(eps: float, rtol: float, samples: int, seed: int) -> Settings:
    for name, value in (("eps", eps), ("rtol", rtol)):
        if not 0 < value < 1:
            raise SpecError(f"{name} is {value!r}; expected a number from 0 to 1")
    if samples < 1:
        raise SpecError(f"samples is {samples!r}; expected a number above 0")
    if seed < 0:
        raise SpecError(f"seed is {seed!r}; expected a number from 0")
    return Settings(eps, rtol, int(samples), int(seed))


def _title(objective: Objective) -> str:
    graph = objective.net.graph
    real = [node for node in graph.nodes if node.bottoms]
    if graph.name or len(real) != 1:
        return f"net {graph.name!r}" if graph.name else "the net"
    return f"layer {real[0].name!r} ({real[0].type})"


def _chosen(
    graph: Graph, held: Collection[str], wanted: Sequence[str] | None
) -> tuple[list[int], list[Parameter]]:
    """Return the edges and the parameters to check.

    The edge of an input is what its layer brings, that of another blob its last one.
    """
    blobs = {}
    for name, last in graph.blobs.items():
        first = next(edge for edge in graph.edges if edge.blob == name)
        is_input = not graph.nodes[first.producer].bottoms
        edge = first if is_input else graph.edges[last]
        mine = own_name(graph, edge.index) == name and name not in held
        if mine and _is_read(graph, edge):
            blobs[name] = edge
    parameters = {_name(graph, one): one for one in graph.parameters if one.learn}
    if wanted is None:
        inputs = [one.index for name, one in blobs.items() if name in graph.inputs]
        exact = [one for one in parameters.values() if not _is_moved(graph, one)]
        return inputs, exact
    edges: list[int] = []
    chosen: list[Parameter] = []
    for name in wanted:
        of_layer = [p for p in parameters.values() if name in _users(graph, p)]
        if name in blobs:
            edges.append(blobs[name].index)
        chosen.extend([parameters[name]] if name in parameters else of_layer)
        if name not in blobs and name not in parameters and not of_layer:
            hint = did_you_mean(name, [*blobs, *parameters])
            raise SpecError(
                f"wrt: {name!r} is no blob and no parameter with a gradient{hint}"
            )
    return [*dict.fromkeys(edges)], _once(chosen)


def _is_moved(graph: Graph, parameter: Parameter) -> bool:
    """Whether a layer has a rule of its own in place of the derivative."""
    return any(
        use.slot in graph.nodes[use.node].op.moved_params for use in parameter.users
    )


def _once(parameters: Sequence[Parameter]) -> list[Parameter]:
    return [*{one.index: one for one in parameters}.values()]


def _is_read(graph: Graph, edge: Edge) -> bool:
    """Whether a layer reads an edge, itself or behind a Split that was inserted."""
    for index, _ in edge.consumers:
        node = graph.nodes[index]
        if not is_inserted(graph, node):
            return True
        if any(_is_read(graph, graph.edges[top]) for top in node.tops):
            return True
    return False


def _users(graph: Graph, parameter: Parameter) -> tuple[str, ...]:
    return tuple(dict.fromkeys(graph.nodes[use.node].name for use in parameter.users))


def _name(graph: Graph, parameter: Parameter) -> str:
    owner = parameter.owner
    return f"{graph.nodes[owner.node].name}[{owner.slot}]"


def _blob(objective: Objective, index: int, gradient: np.ndarray | None) -> Variable:
    edge = objective.net.graph.edges[index]
    data = objective.net.plan.data[index]
    return Variable(edge.blob, "blob", data, edge.producer, gradient)


def _parameter(objective: Objective, parameter: Parameter) -> Variable:
    graph, arrays = objective.net.graph, objective.net.parameters.arrays
    one = arrays[parameter.index]
    return Variable(
        _name(graph, parameter),
        "parameter",
        one.data.reshape(parameter.shape),
        -1,
        one.diff.reshape(parameter.shape).copy(),
        _users(graph, parameter),
    )
