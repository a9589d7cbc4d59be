"""The net that a solver file names."""

from __future__ import annotations

from pathlib import Path

from netspec.errors import FileError, SpecError
from netspec.files import is_file
from netspec.nets.phases import PHASE_NAMES
from netspec.nets.upgrade import upgrade_solver
from netspec.schema import TEST, TRAIN, NetParameter, NetState, SolverParameter
from netspec.text import read_message, read_net

# Where a net may stand for each phase: those for both, then those for one.
_BOTH = ("net", "net_param")
_OF_PHASE = {
    TRAIN: ("train_net", "train_net_param"),
    TEST: ("test_net", "test_net_param"),
}


def net_of_solver(
    path: str | Path, phase: int | None = None
) -> tuple[NetParameter, str, NetState]:
    """Return the net of a solver file as it stands, its file, and its state.

    phase: whose net is wanted, where there are several: None is that which is trained.
    The file is that of the solver for a net that stands in it. The state is that which
    the solver gives this net in this phase, of several for tests the first.

    A file is looked for from the current folder, as Caffe does, and then from the
    solver's. Raises `FileError` where it is not there, `SpecError` for a solver that
    names none, or a Python file: what a solver names is read and not run.
    """
    path = Path(path)
    param = upgrade_solver(read_message(path, SolverParameter))
    wanted = TRAIN if phase is None else phase
    state = NetState()
    if phase == TRAIN:
        state.CopyFrom(param.train_state)
    elif phase == TEST and param.test_state:
        state.CopyFrom(param.test_state[0])
    for field in (*_OF_PHASE[wanted], *_BOTH, *_OF_PHASE[TRAIN]):
        value = getattr(param, field)
        if field.startswith("test"):
            value = value[0] if len(value) else None
        if isinstance(value, str) and value:
            file = _found(value, path)
            return read_net(file, values=False), str(file), state
        if isinstance(value, NetParameter) and value.ByteSize():
            return value, str(path), state
    raise SpecError(
        f"{path}: is a solver file without a net for the phase {PHASE_NAMES[wanted]}; "
        f"give the file of the net itself"
    )


def _found(name: str, solver: Path) -> Path:
    places = [Path(name), solver.parent / name]
    for place in places:
        if is_file(place) and place.suffix == ".py":
            raise SpecError(
                f"{solver}: its net is the Python file {name}, which is not run for a "
                f"solver; give {place} itself"
            )
        if is_file(place):
            return place
    folders = dict.fromkeys(str(place.absolute().parent) for place in places)
    raise FileError(
        f"{name}: the net of the solver {solver} is not in {' nor in '.join(folders)}"
    )
