"""What a solver is made of: a file, text, a message, or a net; and fields by name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from netspec.commands.model_files import load_model
from netspec.errors import SpecError, did_you_mean, join_lines
from netspec.files import is_file, is_folder
from netspec.formats import other_format
from netspec.language.python_to_proto import assign
from netspec.nets.upgrade import upgrade_solver
from netspec.schema import NetParameter, SolverParameter
from netspec.schema.kept import known_fields
from netspec.text import as_net, parse, read_message
from netspec.text.holding import held, refuse_net
from runtime.execution.net import Net
from runtime.training.usual import fill

DEFAULT_PREFIX = "solver"  # of snapshots, for a solver that has neither prefix nor file
# What names the net to train: one of them, and its file or the net itself.
TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")
# The keywords of `runtime.Solver` that are no fields, for those who misspell them.
OPTIONS = (
    "allow_python",
    "backend",
    "check_replicas",
    "communicator",
    "folder",
    "graphs",
    "keep",
    "kernels",
    "memory_limit",
    "micro_batch",
    "plans",
    "precision",
    "rename",
    "seed",
    "sync_batch_norm",
)
_FILES = ("net", "train_net", "test_net")  # `<field>_param` is the net itself
_FIELDS = known_fields(SolverParameter.DESCRIPTOR)
_TEXT = re.compile(r"\s*(?:#.*\n\s*)*([A-Za-z_]\w*)\s*:")  # how text begins
_STATES = (".solverstate", ".solverstate.h5")
EXPECTED = (
    "a NetSpec or another net, a path to a net or to a solver, prototxt text, a dict "
    "of fields, or a SolverParameter"
)


def read_solver(
    source: Any, *, other_net: bool = False
) -> tuple[SolverParameter, Path | None]:
    """Return a solver and the file it came from, if any.

    source: a path, prototxt text (a string with a line break, a quote or a brace, or
    that begins with a field), or a `SolverParameter`. Old forms are upgraded. Without
    `snapshot_prefix` the prefix is the file's path less its suffix; a prefix that is a
    folder gets the file's name. other_net: whether the net to train is given elsewhere.

    Raises `FileError`, `TextError`, or `SpecError` for a file whose net is code.
    """
    path: Path | None = None
    param = _copied(source)
    if param is None and isinstance(source, str) and _is_text(source):
        refuse_net(source, "<text>")
        param = parse(source, SolverParameter)
    elif param is None:
        path = Path(os.fspath(source))
        _refuse_state(path)
        param = read_message(path, SolverParameter)
        _refuse_code(param, path, other_net=other_net)
    return with_prefix(upgrade_solver(param), path), path


def _refuse_code(param: SolverParameter, path: Path, *, other_net: bool) -> None:
    """Refuse a solver file that names a Python file, which would run it."""
    named = [*param.test_net]
    if not other_net:
        named += [param.net, param.train_net]
    code = next((name for name in named if name.endswith(".py")), None)
    if code is not None:
        raise SpecError(
            f"{path}: its net is the Python file {code}; a solver file is data, so "
            f"nothing was run. Give {code} beside it (python -m runtime train {code} "
            f"--solver {path}; in Python, as the keyword net), or write it as "
            f"prototxt: python -m netspec.export {code}"
        )


def solver_of(
    source: Any, fields: Mapping[str, Any]
) -> tuple[SolverParameter, Path | None]:
    """Return the solver of what `runtime.Solver` is given, and its file, if any.

    source: what `read_solver` takes, a net, a dict, or None. fields: of the solver, in
    the place of those that the source has.

    A solver that no file, text or message gives has the values of `usual.fill`.

    Raises `SpecError` that tells all fields that cannot be, `FileError`, `TextError`.
    """
    path: Path | None = None
    net = _net_in(source)
    if net is None and not (source is None or isinstance(source, Mapping)):
        if not isinstance(source, str | os.PathLike | Message) or source == "":
            raise SpecError(f"expected {EXPECTED}; got {_shown(source)}")
        given = any(fields.get(name) is not None for name in TRAIN_FIELDS)
        param, path = read_solver(source, other_net=given)
        _write(param, fields)
        return with_prefix(upgrade_solver(param), path), path
    param = SolverParameter()
    _write(param, net or source or {})
    if net is not None:
        _refuse_second_net(fields)
    _write(param, fields)
    param = upgrade_solver(param)
    fill(param)
    return with_prefix(param, None), None


def with_prefix(param: SolverParameter, path: Path | None) -> SolverParameter:
    """Return a solver with the start of the names of its snapshots."""
    stem = str(path.with_suffix("")) if path else DEFAULT_PREFIX
    if not param.HasField("snapshot_prefix"):
        param.snapshot_prefix = stem
    elif is_folder(param.snapshot_prefix):
        param.snapshot_prefix = str(Path(param.snapshot_prefix) / Path(stem).name)
    return param


def _net_in(source: Any) -> dict[str, Any] | None:
    """Return the field of a solver with the net that `source` is; None if it is none.

    What is in a file stays there, for places in messages.
    """
    if hasattr(source, "to_proto") or _is_message(source, "NetParameter"):
        return {"net_param": source}
    if isinstance(source, str) and _is_text(source):
        return {"net_param": source} if held(source) == "net" else None
    if isinstance(source, str | os.PathLike) and os.fspath(source) != "":
        return {"net": source} if _is_net_file(Path(os.fspath(source))) else None
    return None


def is_net(source: Any) -> bool:
    """Say whether what `runtime.Solver` is given first is a net, and not a solver."""
    return _net_in(source) is not None


def _is_net_file(path: Path) -> bool:
    _refuse_state(path)
    if path.suffix in {".py", ".caffemodel"} or other_format(path) is not None:
        return True
    if not is_file(path) or path.suffix in {".binaryproto", ".pb"}:
        return False
    return held(path.read_text(encoding="utf-8", errors="replace")) == "net"


def _refuse_state(path: Path) -> None:
    if path.name.endswith(_STATES):
        raise SpecError(
            f"{path}: is the state of a run, not a solver; make the solver of that run "
            f"again, then call solver.restore or solver.solve(resume=...) with it"
        )


def _copied(source: Any) -> SolverParameter | None:
    """Return a copy of a message of a solver, of any pool; None for anything else."""
    if not _is_message(source, "SolverParameter"):
        return None
    # Through bytes, as the classes may come from different pools.
    return SolverParameter.FromString(source.SerializePartialToString())


def _is_message(source: Any, name: str) -> bool:
    return isinstance(source, Message) and source.DESCRIPTOR.name == name


def _is_text(source: str) -> bool:
    if is_file(source):
        return False
    begins = _TEXT.match(source)
    known = begins is not None and begins[1] in _FIELDS
    return known or any(mark in source for mark in "\n\"'{")


# What others call fields, and what these are here.
ELSEWHERE: Mapping[str, str] = {
    "lr": "base_lr here",
    "learning_rate": "base_lr here",
    "optimizer": "type here",
    "beta1": "momentum here, of Adam",
    "beta_1": "momentum here, of Adam",
    "beta2": "momentum2 here, of Adam",
    "beta_2": "momentum2 here, of Adam",
    "betas": "momentum and momentum2 here, of Adam",
    "eps": "delta here",
    "epsilon": "delta here",
    "alpha": "rms_decay here, of RMSProp",
    "rho": "rms_decay here, of RMSProp; momentum, of AdaDelta",
    "l2": "weight_decay here",
    "nesterov": "type='Nesterov' here",
    "clipnorm": "clip_gradients here",
    "max_norm": "clip_gradients here",
    "milestones": "stepvalue here, of lr_policy='multistep'",
    "step_size": "stepsize here, of lr_policy='step'",
    "accumulate": "iter_size here",
    "seed": "random_seed here",
    "epochs": "an argument of runtime.fit, or max_iter, in iterations",
    "batch_size": "an argument of runtime.fit, or what the inputs of the net say",
}


def _write(param: SolverParameter, fields: Mapping[str, Any]) -> None:
    """Write fields in the place of those that are there."""
    problems = []
    for name, value in _nets_by_field(fields).items():
        if name in _FIELDS:
            for other in _replaced_by(name):
                param.ClearField(other)
        near = did_you_mean(name, OPTIONS) if name not in _FIELDS else ""
        said = assign(param, {name: value})
        if said and name in ELSEWHERE:
            said = [f"{name} is no field of SolverParameter; it is {ELSEWHERE[name]}"]
        elif said and near and "; did you mean" not in said[0]:
            said = [f"{name} is no field of SolverParameter, nor an option{near}"]
        problems += said
    if problems:
        raise SpecError("solver: " + join_lines(problems))


def _replaced_by(name: str) -> tuple[str, ...]:
    """Return the fields that do not stay where the field `name` is given."""
    if name in TRAIN_FIELDS:
        return TRAIN_FIELDS
    if name in {"test_net", "test_net_param"}:
        return ("test_net", "test_net_param")
    return ("type", "solver_type") if name in {"type", "solver_type"} else (name,)


def _refuse_second_net(fields: Mapping[str, Any]) -> None:
    twice = [name for name in TRAIN_FIELDS if fields.get(name) is not None]
    if twice:
        raise SpecError(
            f"solver: the net to train is given twice, as the first argument and as "
            f"{' and '.join(twice)}; leave one out"
        )


def _nets_by_field(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields without None, nets as messages under the names that take these."""
    given: dict[str, Any] = {}
    for key, value in fields.items():
        name = str(key)
        if value is None:
            continue
        if name in _FILES or name in {f"{file}_param" for file in _FILES}:
            file = name.removesuffix("_param")
            many = isinstance(value, list | tuple)
            values = list(value) if many else [value]
            if name == file and all(map(_is_path, values)):
                given[file] = value
                continue
            nets = [_net_message(each, name) for each in values]
            given[f"{file}_param"] = nets if many else nets[0]
        else:
            given[name] = value
    return given


def _is_path(value: Any) -> bool:
    return isinstance(value, os.PathLike) or (
        isinstance(value, str) and not _is_text(value)
    )


def _net_message(value: Any, name: str) -> Any:
    """Return the net that `value` names, holds, or is; a dict stays one."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str | os.PathLike):
        return net_of(value)
    try:
        return as_net(value)
    except SpecError:
        if hasattr(value, "to_proto"):
            raise
    raise SpecError(
        f"solver: {name} is {_shown(value)}; expected a net: a NetSpec, a path, "
        f"prototxt text or a NetParameter"
    )


def net_of(source: str | os.PathLike[str]) -> NetParameter:
    """Return the net of a path, which may be that of a model file, or of text."""
    path = os.fspath(source)
    if path.endswith(".py"):
        return load_model(path)
    return as_net(source)


def _shown(value: Any) -> str:
    if isinstance(value, int | float | str | bytes | None):
        return f"{value!r:.60}"
    built = isinstance(getattr(value, "net", value), Net)
    rest = ", which is built; give what it was made of" if built else ""
    return f"a {type(value).__qualname__}{rest}"
