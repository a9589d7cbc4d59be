"""The files and nets that a solver names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netspec.errors import FileError, SpecError
from netspec.files import is_file
from netspec.nets.current import current
from netspec.nets.filter import solver_state
from netspec.nets.state import State
from netspec.schema import TEST, TRAIN, NetParameter, NetState, SolverParameter
from runtime.training.solver_source import DEFAULT_PREFIX as DEFAULT_PREFIX
from runtime.training.solver_source import TRAIN_FIELDS, net_of
from runtime.training.solver_source import read_solver as read_solver


@dataclass(frozen=True)
class NetChoice:
    """A net that a solver names, and the state for which it is built."""

    net: NetParameter
    state: State


def find_file(name: str, folder: Path | None, what: str) -> Path:
    """Return the path of a file that a solver names.

    It is looked for from the current folder, as Caffe does, and then from the solver's.
    """
    if is_file(name):
        return Path(name)
    if folder is not None and is_file(folder / name):
        return folder / name
    here = Path.cwd()
    if folder is None or folder.resolve() == here.resolve():
        where = f"not in {here}"
    else:
        where = f"neither in {here} nor in {folder.absolute()}"
    if Path(name).is_absolute():
        raise FileError(f"{name}: the solver's {what} is not there")
    raise FileError(f"{name}: the solver's {what} is {where}")


def train_choice(param: SolverParameter, folder: Path | None) -> NetChoice:
    """Return the net to train.

    Raises `SpecError` unless exactly one of the fields that can name it does.
    """
    given = [field for field in TRAIN_FIELDS if param.HasField(field)]
    if len(given) != 1:
        raise SpecError(
            f"solver: the net to train must be given by exactly one of "
            f"{', '.join(TRAIN_FIELDS)}; got {' and '.join(given) or 'none'}"
        )
    net = _load(param, given[0], folder)
    state = param.train_state if param.HasField("train_state") else None
    return NetChoice(net, solver_state(net, TRAIN, state))


def test_choices(param: SolverParameter, folder: Path | None) -> list[NetChoice]:
    """Return the nets to test, one for every `test_iter`.

    First those of `test_net_param`, then those of `test_net`; the remaining `test_iter`
    are for the net that is also trained.

    A `test_iter` of 0 is a test of no batch, which has no results.

    Raises `SpecError` where numbers do not agree or `test_interval` is missing.
    """
    own = len(param.test_net_param) + len(param.test_net)
    generic = next((f for f in ("net_param", "net") if param.HasField(f)), None)
    wanted = len(param.test_iter)
    if wanted < own or (generic is None and wanted != own):
        raise SpecError(
            f"solver: {own} test nets are given and {wanted} test_iter; each test net "
            f"needs one test_iter"
        )
    if wanted == 0:
        return []
    if param.test_interval <= 0:
        raise SpecError(
            f"solver: test_iter is given, so test_interval must be positive, got "
            f"{param.test_interval}"
        )
    if any(batches < 0 for batches in param.test_iter):
        raise SpecError(
            f"solver: test_iter must not be negative, got {list(param.test_iter)}"
        )
    states: list[NetState | None] = [*param.test_state] or [None] * wanted
    if len(states) != wanted:
        raise SpecError(
            f"solver: {len(states)} test_state for {wanted} test nets; give one for "
            f"each, or none"
        )
    nets = [current(net) for net in param.test_net_param]
    nets += [_read(name, "test_net", folder) for name in param.test_net]
    if generic is not None and wanted > own:
        nets += [_load(param, generic, folder)] * (wanted - own)
    return [
        NetChoice(net, solver_state(net, TEST, state))
        for net, state in zip(nets, states, strict=True)
    ]


def weight_files(text: str) -> list[str]:
    """Split a list of weight files at its commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _load(param: SolverParameter, field: str, folder: Path | None) -> NetParameter:
    value = getattr(param, field)
    return _read(value, field, folder) if isinstance(value, str) else current(value)


def _read(name: str, field: str, folder: Path | None) -> NetParameter:
    path = find_file(name, folder, field)
    return current(net_of(path) if path.suffix == ".py" else path)
