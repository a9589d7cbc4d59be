"""`python -m runtime check`: say what a net is in each phase, or what is wrong."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from netspec.commands.net_argument import (
    GivenNet,
    add_shape_option,
    add_state_options,
    file_of,
    given_net,
)
from netspec.errors import FileError, NetspecError, SpecError
from netspec.graph import Graph, build_kept, diagnose, zero_weights
from netspec.nets.current import current
from netspec.nets.filter import KeptNet, kept_net, merge_state
from netspec.nets.phases import PHASES
from netspec.nets.state import State
from netspec.ops.base import Shape, count
from netspec.reading.located import located
from netspec.schema import NetParameter
from netspec.text import is_solver_file
from runtime.backends import get_backend
from runtime.cli.options import add_allow_python, add_backend, add_model
from runtime.data import open_source
from runtime.data.opening import DATA_LAYERS
from runtime.execution.python_layers.code import CodeRefused
from runtime.execution.python_layers.hosted import PythonLayers


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "check",
        help="check a net",
        description=__doc__,
        examples=(
            "train_val.prototxt",
            "solver.prototxt --phase TRAIN",
            "googlenet --set num_classes=5",
            "net.py --shape data=1,3,224,224",
        ),
    )
    add_model(parser)
    add_shape_option(parser)
    add_state_options(parser, phase_help="check one phase only: TRAIN or TEST")
    add_backend(parser)
    add_allow_python(parser)
    parser.set_defaults(command=check)


def check(options: argparse.Namespace) -> int:
    """Run the command: report on both phases, then fail with what is wrong."""
    nets = _nets(options)
    first = next(iter(nets.values()))
    print(f"{options.net}: {first.net.name or 'a net without a name'}")
    mistakes: list[str] = []
    for name, given in nets.items():
        net = given.net
        state = merge_state(net, PHASES[name], given.level, given.stages)
        try:
            kept = kept_net(net, state)
            shapes, notes = _source_shapes(kept, dict(options.shape))
            try:
                said, zeros = _checked(_build(kept, shapes, options))
            except CodeRefused as refused:
                said, zeros = _without_code(net, state, shapes), None
                notes.append(f"{refused}; what lies above is not checked")
        except NetspecError as error:
            print(f"  {name}: cannot be built")
            if isinstance(error, SpecError):
                error = located(error, given.source)
            if str(error) not in mistakes:
                mistakes.append(str(error))
        else:
            print(f"  {name}: {said}")
            notes += [] if zeros is None else [zeros]
            for note in notes:
                print(f"    note: {note}")
    if mistakes:
        raise SpecError("; ".join(mistakes))
    return 0


def _nets(options: argparse.Namespace) -> dict[str, GivenNet]:
    """Return the net of each phase that is to be checked, in the current form."""
    wanted = [options.phase] if options.phase else list(PHASES)
    if is_solver_file(file_of(options.net)):  # which may have a net for each
        given = {name: given_net(options, phase=PHASES[name]) for name in wanted}
    else:
        given = dict.fromkeys(wanted, given_net(options))
    return {name: replace(one, net=current(one.net)) for name, one in given.items()}


def _checked(graph: Graph) -> tuple[str, str | None]:
    """Return what is said of a whole net, and which weights are zeros, if any."""
    zeros = zero_weights(graph)
    return _summary(graph), None if zeros is None else str(zeros)


def _without_code(net: NetParameter, state: State, shapes: dict[str, Shape]) -> str:
    """Check the layers that no Python layer hides; return what is said of them.

    Raises what is wrong with them.
    """
    found = diagnose(net, state, shapes=shapes)
    if found.error is not None:
        raise found.error
    known = sum(op is not None for op in found.ops)
    return f"{len(found.layers)} layers, {known} of them with known shapes"


def _build(
    kept: KeptNet, shapes: dict[str, Shape], options: argparse.Namespace
) -> Graph:
    """Build the graph, and find every kernel.

    Python layers tell their shapes by being made, unless all of these are given.
    """
    backend = get_backend(options.backend)
    own = [layer for layer in kept.message.layer if layer.type == "Python"]
    if all(top in shapes for layer in own for top in layer.top):
        graph = build_kept(kept, shapes=shapes)
    else:
        layers = PythonLayers(kept.message, options.allow_python, "float32", backend)
        graph = build_kept(kept, shapes=shapes, python=layers.read)
    for node in graph.nodes:
        backend.kernel(node, "float32")
    return graph


def _summary(graph: Graph) -> str:
    losses = [
        graph.edges[edge].blob
        for node in graph.nodes
        for edge, weight in zip(node.tops, node.loss_weights, strict=True)
        if weight != 0
    ]
    data = [
        f"{node.name} ({node.layer.type})"
        for node in graph.nodes
        if not node.bottoms and node.tops and node.type != "Input"
    ]
    parts = {
        "data": ", ".join(data),
        "inputs": _listed(graph, graph.inputs),
        "outputs": _listed(graph, graph.outputs),
        "losses": ", ".join(losses),
    }
    parameters = sum(count(one.shape) for one in graph.parameters)
    return "; ".join(
        [
            f"{len(graph.nodes)} layers, {parameters:,} parameters",
            *(f"{what} {value}" for what, value in parts.items() if value),
        ]
    )


def _listed(graph: Graph, names: tuple[str, ...]) -> str:
    shapes = [graph.edges[graph.blobs[name]].shape for name in names]
    return ", ".join(
        f"{name} {shape}" if shape else name
        for name, shape in zip(names, shapes, strict=True)
    )


def _source_shapes(
    kept: KeptNet, given: dict[str, Shape]
) -> tuple[dict[str, Shape], list[str]]:
    """Return the shapes that are given or that data files tell, and what is not there.

    Without its file a data layer may still have its shape from its own fields.
    """
    shapes = dict(given)
    notes = []
    for layer in kept.message.layer:
        if layer.type not in DATA_LAYERS or set(layer.top) <= set(given):
            continue
        try:
            source = open_source(layer, kept.state.phase, 0)
        except FileError as error:
            notes.append(str(error))
            continue
        shapes.update(zip(layer.top, source.shapes, strict=False))
        source.close()
    return shapes, notes
