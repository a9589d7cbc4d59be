"""What is to predict or to be measured: a trained net, whatever it is given as."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from netspec.commands.model_files import load_model
from netspec.errors import ShapeError, SpecError, SpecWarning, did_you_mean, shown
from netspec.nets.deploy import deploy, fed
from netspec.nets.filter import filter_net
from netspec.nets.given import check_given_blobs
from netspec.nets.state import State
from netspec.notebooks import warn_user
from netspec.ops.base import Shape, brings_data
from netspec.schema import TEST, NetParameter
from netspec.weights.names import Names
from runtime.evaluation.shapes import shapes_told
from runtime.execution.net import Net
from runtime.execution.net_files import given_net
from runtime.execution.weights import copy_files, warn_of_rest
from runtime.training.solver import Solver
from runtime.training.solver_param import weight_files

# The nets that were derived from a net, as long as that lives; they share its arrays.
_DERIVED: WeakKeyDictionary[Net, dict[Any, Net]] = WeakKeyDictionary()

SAME = "same"  # a transform: that with which `fit` tested
MAX_DERIVED = 8  # of one net
OWN = (  # arguments of `predict` and `evaluate`, which a mistyped one may mean
    *("blobs", "batch_size", "transform", "weights", "rename", "shapes"),
    *("metrics", "top_k", "class_names", "threshold"),
)

Weights = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Subject:
    """A net that is trained, or is to be filled from files.

    definition: with the layers of all phases. level, stages: of its state. shapes: what
    is known of the tops of its data layers. net: whose parameters are used; None where
    `weights`, files with names as of `rename`, or `large`, the file of the net itself,
    have them. options: how to compute. passes: how many passes of training were made,
    where that is known. solver: that it belongs to, if any.
    """

    definition: NetParameter
    level: int = 0
    stages: tuple[str, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    net: Net | None = None
    weights: Sequence[str | Path] = ()
    rename: Names | None = None
    large: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    solver: Solver | None = None

    def transform(self, given: Any) -> Any:
        """Return a transform as it was given, or that of `runtime.fit` for `SAME`."""
        if not isinstance(given, str) or given != SAME:
            return given
        fitting = None if self.solver is None else self.solver.fitting
        return None if fitting is None else fitting.given.test_transform

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that `fit` trained with, if any are known."""
        fitting = None if self.solver is None else self.solver.fitting
        data = None if fitting is None else fitting.opened.train
        return () if data is None else tuple(data.classes)

    def for_use(self, data: Any) -> NetParameter:
        """Return the net for use: see `netspec.deploy`.

        data: for its inputs, which tell shapes that the net does not.
        """
        return self._with_shapes(deploy, data)

    def for_test(self, data: Any) -> NetParameter:
        """Return the net with its losses and measures, and inputs for data layers."""
        return self._with_shapes(fed, data)

    def _with_shapes(self, derive: Any, data: Any) -> NetParameter:
        net, known = self._test(), self._known()
        try:
            found: NetParameter = derive(net, shapes=known)
        except ShapeError:
            told = shapes_told(net, data)
            if not told.keys() - known.keys():
                raise
            found = derive(net, shapes=told | known)
        return found

    def built(self, net: NetParameter, keep: frozenset[str]) -> Net:
        """Return one of these nets, with the values that the subject has.

        Of a net that lives it is kept as long as that.
        """
        how = {"gradients": False, **self.options}
        if self.net is None:
            return self._filled(Net(net, TEST, keep=keep, **how))
        nets = _DERIVED.setdefault(self.net, {})
        key = (net.SerializeToString(deterministic=True), keep)
        if key not in nets:
            if len(nets) >= MAX_DERIVED:
                nets.pop(next(iter(nets)))
            nets[key] = Net(net, TEST, keep=keep, share_with=self.net, **how)
        return nets[key]

    def _test(self) -> NetParameter:
        """Return the layers of the state TEST without rules, and other data layers."""
        net = filter_net(self.definition, State(TEST, self.level, self.stages))
        made = {top for layer in net.layer for top in layer.top}
        for layer in net.layer:
            layer.ClearField("include")
            layer.ClearField("exclude")
        net.ClearField("state")
        others = [
            layer
            for layer in self.definition.layer
            if brings_data(layer.type, len(layer.bottom)) and made.isdisjoint(layer.top)
        ]
        layers = [*others, *net.layer]
        del net.layer[:]
        net.layer.extend(layers)
        return net

    def _known(self) -> dict[str, Shape]:
        """Return shapes of data as they are in the net, in batches as it says."""
        known: dict[str, Shape] = {}
        for layer in self.definition.layer:
            if not brings_data(layer.type, len(layer.bottom)):
                continue
            for place, top in enumerate(layer.top):
                shape = self.shapes.get(top)
                if shape is None or top in known:
                    continue
                said = (
                    layer.input_param.shape[place : place + 1]
                    or (layer.input_param.shape[:1])
                )
                declared = tuple(said[0].dim) if said else ()
                same = layer.type == "Input" and len(declared) == len(shape) > 0
                known[top] = (declared[0], *shape[1:]) if same else shape
        return known

    def _filled(self, net: Net) -> Net:
        """Give a net the values of files."""
        if self.large is not None:
            net.copy_values(self.large)
        if self.weights:
            reports = copy_files([net], self.weights, self.rename)
            warn_of_rest(self.weights, reports, keyword="rename")
        elif self.large is None and net.params and not _holds_values(self.definition):
            name = f"net {net.name!r}" if net.name else "the net"
            warn_user(
                f"{name} is not trained: it has the values of its fillers; "
                f"give weights=, or the solver or the history of its training",
                SpecWarning,
            )
        return net


def subject_of(
    model: Any,
    weights: Weights | None = None,
    rename: Names | None = None,
    options: Mapping[str, Any] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Subject:
    """Return what `model` is.

    model: a `History` or a `Solver`, a `Net`, or what `Net` takes (a path, also that of
    a model file in Python, text, a message, a spec, a `Model`), then with `weights`:
    a file, several, or their names with commas. options: of `Net`. shapes: of data,
    where only files tell them.

    Raises `SpecError` for what is none of these, and for weights of a net that has its
    own.
    """
    given = dict(options or {})
    _refuse_unknown(given)
    solver = model if isinstance(model, Solver) else getattr(model, "solver", None)
    if isinstance(solver, Solver):
        _refuse_weights(weights, shapes, "a solver")
        test = solver.test_nets[0] if solver.test_nets else solver.net
        return _of_net(solver.net, test, given, solver)
    if isinstance(model, Net):
        _refuse_weights(weights, shapes, "a Net")
        return _of_net(model, model, given, None)
    if isinstance(model, str | os.PathLike):
        model = os.fspath(model)
        if Path(model).suffix == ".py":
            model = load_model(model)
    elif not (hasattr(model, "to_proto") or hasattr(model, "DESCRIPTOR")):
        raise SpecError(
            f"the model is {shown(model)}; expected a History, a Solver, a Net, or a "
            f"spec, a message or the path of a net, with weights=; data come after it"
        )
    definition, large = given_net(model)
    check_given_blobs(shapes or {}, [top for x in definition.layer for top in x.top])
    return Subject(
        definition,
        shapes={name: tuple(shape) for name, shape in (shapes or {}).items()},
        stages=tuple(definition.state.stage),
        level=definition.state.level,
        weights=_files(weights),
        rename=rename,
        large=large,
        options=given,
    )


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    known = [*inspect.signature(Net).parameters]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, [*OWN, *known])
            raise SpecError(f"there is no argument {name!r}{hint}")


def _of_net(
    net: Net, described: Net, given: Mapping[str, Any], solver: Solver | None
) -> Subject:
    """Return a net that has its values, described by itself or a net beside it."""
    how = dict(net.made_with)
    for name, value in given.items():
        if value != how.get(name):
            raise SpecError(
                f"{name} is {value!r}, but the net was made with {how.get(name)!r}; "
                f"leave it out, or give the net with weights= to make another"
            )
    shapes = {name: net.blobs[name].shape for name in net.blobs}
    shapes |= {name: described.blobs[name].shape for name in described.blobs}
    return Subject(
        described.definition,
        level=described.state.level,
        stages=described.state.stages,
        shapes=shapes,
        net=net,
        options=how,
        solver=solver,
    )


def _refuse_weights(weights: Weights | None, shapes: Any, what: str) -> None:
    if shapes is not None:
        raise SpecError(f"shapes are given with {what}, which has its own")
    if weights is not None:
        raise SpecError(
            f"weights are given with {what}, which has its own; leave them out, or "
            f"load them first: copy_from(...)"
        )


def _files(weights: Weights | None) -> list[str | Path]:
    if weights is None:
        return []
    if isinstance(weights, str):
        return [*weight_files(weights)]
    listed = [weights] if isinstance(weights, os.PathLike) else weights
    return [Path(os.fspath(each)) for each in listed]


def _holds_values(net: NetParameter) -> bool:
    return any(layer.blobs for layer in net.layer)
