"""What a call of `fit` asks for, and the training that it begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import warn_user
from runtime.data.given.base import Dataset
from runtime.distributed import Communicator
from runtime.distributed.communicator import rank_count
from runtime.fitting.data import Given, Opened, can_begin_anew, open_data
from runtime.fitting.inputs import Inputs, inputs_of, with_batch
from runtime.fitting.interrupted import Call, told
from runtime.fitting.opening import last_state, param_of, prefix_in
from runtime.fitting.training import Length, Training
from runtime.training.micro_batch import FedParts
from runtime.training.solver import DEFAULT_SEED, Solver
from runtime.training.solver_param import find_file, test_choices, train_choice
from runtime.training.solver_source import DEFAULT_PREFIX, TRAIN_FIELDS

LAST = "last"


@dataclass(frozen=True)
class Files:
    """The files of a `fit`, as they were given."""

    weights: Any = None
    resume: Any = None
    out: Any = None
    snapshot: Any = None
    rename: Any = None

    def check(self) -> None:
        """Raise `SpecError` for what cannot be."""
        if self.weights is not None and self.resume is not None:
            raise SpecError(
                "weights and resume are both given; a snapshot has its own weights, so "
                "leave one out"
            )
        if self.rename is not None and self.weights is None:
            raise SpecError("rename is given, but no weights, whose layers it is about")
        value = self.snapshot
        if value is not None:
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not whole or value < 1:
                raise SpecError(
                    f"snapshot is {value!r}; expected the number of epochs between two "
                    f"snapshots"
                )

    @property
    def weight_files(self) -> list[str]:
        """The names of the weight files."""
        given = self.weights
        if given is None:
            return []
        several = isinstance(given, Sequence) and not isinstance(given, str)
        return [os.fspath(name) for name in (given if several else [given])]

    @property
    def told(self) -> dict[str, Any]:
        """What decides how a training goes."""
        names = {"out": self.out, "resume": self.resume}
        found: dict[str, Any] = {
            key: None if name is None else os.fspath(name)
            for key, name in names.items()
        }
        found |= {"weights": tuple(self.weight_files), "rename": self.rename}
        return found


class Asked:
    """A solver, its nets and its data, ahead of the time it takes to build them.

    Raises `SpecError` and `FileError`, as `fit` does.
    """

    def __init__(
        self,
        net: Any,
        solver: Any,
        given: Given,
        length: Length,
        files: Files,
        seed: int | None,
        communicator: Communicator | None = None,
    ) -> None:
        self._given, self._files = given, files
        self._communicator = communicator
        self._param, self._folder = param_of(net, solver)
        param = self._param
        if seed is not None:
            param.random_seed = _seed(seed)
        self._seed = param.random_seed if param.random_seed >= 0 else DEFAULT_SEED
        self._choice = train_choice(param, self._folder)
        self._train = inputs_of(self._choice)
        if length == Length():
            own = param.max_iter if param.HasField("max_iter") else None
            length = Length(None if own else 1, own)
        self.length = length
        self._decide_files()

    def call(self, options: Mapping[str, Any]) -> Call:
        """Return what decides how this trains."""
        net = bytes(self._choice.net.SerializeToString(deterministic=True))
        return Call(
            net, told(self._param), self._given, {**options, **self._files.told}
        )

    def begin(self, how: Mapping[str, Any]) -> Training:
        """Open the data, build the nets, and read the files to start from.

        how: where and how to compute, as `Solver` takes it.
        """
        opened = open_data(self._given, self._train, self._test_inputs(), self._seed)
        try:
            self._decide_batches(opened)
            names = () if opened.train is None else opened.train.names
            parts = FedParts(how.get("micro_batch"), frozenset(names))
            options: dict[str, Any] = {**how, "micro_batch": parts}
            options["communicator"] = self._communicator
            solver = Solver(self._param, folder=self._folder, **options)
            opened = opened.divided(solver.micro_batch)
            solver.saves_when_stopped = self._writes
            files = self._files.weight_files
            paths = [find_file(name, self._folder, "weights file") for name in files]
            solver.copy_all(paths, self._files.rename)
            training = Training(solver, self._given, opened)
        except BaseException:
            opened.close()
            raise
        training.plan(self.length, first=0, snapshot=self._files.snapshot)
        self._resume(solver)
        return training

    # ------------------------------------------------------------ files

    def _decide_files(self) -> None:
        """Say where snapshots go; without a place none is written."""
        param, files = self._param, self._files
        if files.out is not None:
            name = self._choice.net.name
            param.snapshot_prefix = prefix_in(files.out, param, name)
        given = self._folder is not None or param.snapshot_prefix != DEFAULT_PREFIX
        self._writes = given
        if files.snapshot is not None and not given:
            raise SpecError(
                "snapshot is given, but no folder to write to; give out='folder', too"
            )
        if files.resume == LAST and not given:
            raise SpecError(
                "resume is 'last', but there is no folder to look in; give out='folder'"
                ", or the name of a .solverstate file"
            )
        if not given and not param.HasField("snapshot_after_train"):
            param.snapshot_after_train = False

    def _resume(self, solver: Solver) -> None:
        state = self._files.resume
        if state is None:
            return
        if state == LAST:
            state = last_state(solver.param.snapshot_prefix)
        solver.restore(state)
        if solver.iter > solver.param.max_iter:
            warn_user(
                f"{state} is of iteration {solver.iter}, but this training ends after "
                f"{solver.param.max_iter}, so nothing is left to train; give more "
                f"epochs, or a larger max_iter",
                SpecWarning,
            )

    # ------------------------------------------------------------ nets

    def _test_inputs(self) -> Inputs | None:
        """Return the inputs of the net that tests the validation data, if there are.

        Raises `SpecError` for tests of a solver that nothing feeds.
        """
        param, data = self._param, self._given
        if data.validation is not None:
            given = [field for field in TRAIN_FIELDS if param.HasField(field)]
            if given[0] not in ("net", "net_param"):
                self._write_net()
            param.ClearField("test_iter")
            param.test_iter.append(1)  # as long as the data are not opened
            param.test_interval = 1
            if not param.HasField("test_initialization"):
                param.test_initialization = False
            return inputs_of(test_choices(param, self._folder)[0])
        for choice in test_choices(param, self._folder):
            inputs = inputs_of(choice)
            if inputs.shapes and not inputs.own:
                raise SpecError(
                    f"the solver has test_iter, but nothing fills the inputs of the "
                    f"net that tests, {', '.join(inputs.shapes)}; give validation "
                    f"data, or leave test_iter out"
                )
        return None

    def _write_net(self, batch: int | None = None) -> None:
        """Write the net to train into the solver, for training and testing."""
        net = self._choice.net
        message = net if batch is None else with_batch(net, batch)
        for field in TRAIN_FIELDS:
            self._param.ClearField(field)
        self._param.net_param.CopyFrom(message)

    def _decide_batches(self, opened: Opened) -> None:
        """Write what follows from the data: batches, iterations, tests."""
        param, size = self._param, self._given.batch_size
        shapes = self._train.shapes.values()
        if size is not None and any(shape[:1] != (size,) for shape in shapes):
            self._write_net(size)
        if opened.test is not None:
            param.test_iter[:] = [count_batches(opened.test)]
        param.max_iter = self.length.max_iter or 1
        batches = None if opened.train is None else opened.train.batches
        if batches is not None:
            epoch = -(-batches // (param.iter_size * rank_count(self._communicator)))
            length = self.length
            param.max_iter = length.max_iter or (length.epochs or 1) * epoch
            if opened.test is not None:
                param.test_interval = epoch


def count_batches(dataset: Dataset) -> int:
    """Return how many batches an epoch has; they are read where nobody knows.

    Raises `SpecError` for data that can be read once only.
    """
    if dataset.batches is None and not can_begin_anew(dataset):
        raise SpecError(
            "validation is a generator, which can be read once only; give a function "
            "that returns one, or list(...) of it"
        )
    number = 0
    while dataset.batches is None:
        dataset.batch(number)
        number += 1
    return dataset.batches


def _seed(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0:
        raise SpecError(f"seed is {given!r}; expected a whole number from 0")
    return int(given)
