"""The nets of a solver: the one to train, and those that test it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from netspec.errors import SpecError
from netspec.graph.dividing import Parts, parts_of
from netspec.graph.recompute import LimitError
from netspec.ops.base import Shape
from netspec.reading.located import located
from netspec.room import bytes_of
from netspec.schema import SolverParameter
from runtime.backends import get_backend
from runtime.distributed import Communicator
from runtime.execution.arguments import names_of
from runtime.execution.limits import MemoryLimit
from runtime.execution.net import Net
from runtime.execution.planning import Planner
from runtime.training.average_precision import precision_of
from runtime.training.micro_batch import (
    FedParts,
    build_divided,
    divide_solver,
    may_divide,
)
from runtime.training.solver_param import (
    NetChoice,
    find_file,
    test_choices,
    train_choice,
)
from runtime.update_rules import UPDATES

NetT = TypeVar("NetT", bound=Net)


class SolverNets(Generic[NetT]):
    """Nets of one type, as a solver's message names them.

    All share the parameters of `net`. The arguments are those of `Solver`; the ranks of
    `sync_batch_norm` and `train_with` are the same for the net that is trained.
    """

    def __init__(
        self,
        kind: type[NetT],
        param: SolverParameter,
        folder: Path | None,
        *,
        keep: Iterable[str] | None,
        memory_limit: str | float | None = None,
        micro_batch: Parts | FedParts | None = None,
        sync_batch_norm: Communicator | None = None,
        train_with: Communicator | None = None,
        **options: Any,
    ) -> None:
        precision_of(param)  # its mistakes come before the time it takes to build nets
        choice = train_choice(param, folder)
        tests = test_choices(param, folder)
        fed: frozenset[str] = frozenset()
        if isinstance(micro_batch, FedParts):
            fed, micro_batch = micro_batch.inputs, micro_batch.parts
        parts = parts_of(micro_batch)
        if parts == "auto" and memory_limit is None:
            raise SpecError(
                "micro_batch is 'auto', which needs a memory_limit; give one, such as "
                "memory_limit='3GB', or a number of parts"
            )
        limit = None
        if memory_limit is not None:
            keep = () if keep is None else keep
            history = UPDATES[param.type].moments
            hint = ""
            if micro_batch is None and may_divide(choice.net, fed):
                hint = ", or micro_batch='auto', which divides it"
            limit = MemoryLimit(bytes_of(memory_limit), history, hint=hint)
        options["keep"] = None if keep is None else names_of(keep, "keep")

        def build(part: NetChoice) -> tuple[NetT, list[NetT]]:
            own: dict[str, Any] = {
                "memory_limit": limit,
                "sync_batch_norm": sync_batch_norm,
                "train_with": train_with,
            }
            try:
                net = kind(part.net, state=part.state, **own, **options)
            except LimitError as error:
                raise (error.beside(others()) if tests else error) from None
            try:
                how: dict[str, Any] = {"share_with": net, **options}
                how["gradients"] = None if limit is None else False
                nets = [kind(one.net, state=one.state, **how) for one in tests]
                if limit is not None and nets:
                    net.make_room(sum(one.memory_bytes for one in nets))
            except SpecError:
                net.close()
                raise
            return net, nets

        @cache
        def others() -> int:
            """Return what nets that test take; 0 where that is not known ahead."""
            planner = _planner(options)
            return sum(planner.bytes_to_test(o.net, o.state) or 0 for o in tests)

        def check(part: NetChoice, shapes: Mapping[str, Shape]) -> None:
            if limit is not None:
                room = replace(limit, others=others())
                _planner(options).check(part.net, part.state, room, shapes)

        try:
            self.micro_batch, nets = build_divided(
                choice, parts, options.get("seed", 0), build, check, fed
            )
            self.net, self.test_nets = nets
            divide_solver(param, self.micro_batch)
        except SpecError as error:
            told = _located(error, param, folder)
            raise told.with_traceback(error.__traceback__) from None


def _planner(options: Mapping[str, Any]) -> Planner:
    how = {name: options[name] for name in ("kernels", "graphs") if name in options}
    backend = get_backend(options.get("backend", "numpy"), **how)
    return Planner(backend, options.get("seed", 0), frozenset(options["keep"] or ()))


def _located(
    error: SpecError, param: SolverParameter, folder: Path | None
) -> SpecError:
    """Return an error with the places of its layers in the files of the nets."""
    for name in (param.net, param.train_net, *param.test_net):
        if name:
            told = located(error, find_file(name, folder, "net"))
            if told is not error:
                return told
    return error
