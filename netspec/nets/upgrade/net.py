"""All upgrades of nets and solvers, in Caffe's order."""

from __future__ import annotations

from netspec.errors import SpecError
from netspec.nets.upgrade.v0 import is_v0, upgrade_v0
from netspec.nets.upgrade.v1 import has_old_transform, move_transform, upgrade_v1
from netspec.notebooks import warn_user
from netspec.schema import LayerParameter, NetParameter, SolverParameter
from netspec.text import parse, to_text

_SOLVER_TYPES = {
    SolverParameter.SGD: "SGD",
    SolverParameter.NESTEROV: "Nesterov",
    SolverParameter.ADAGRAD: "AdaGrad",
    SolverParameter.RMSPROP: "RMSProp",
    SolverParameter.ADADELTA: "AdaDelta",
    SolverParameter.ADAM: "Adam",
}


def upgrades_needed(net: NetParameter) -> list[str]:
    """Return the names of the steps that `net` needs, in their order.

    They are among "V0", "data-transform", "V1", "input-fields", "batch-norm-params".
    """
    needed = []
    if is_v0(net):
        needed.append("V0")
    if any(has_old_transform(layer) for layer in net.layers):
        needed.append("data-transform")
    if len(net.layers):
        needed.append("V1")
    if len(net.input):
        needed.append("input-fields")
    if any(_is_old_batch_norm(layer) for layer in net.layer):
        needed.append("batch-norm-params")
    return needed


def upgrade_net(
    net: NetParameter, *, problems: list[str] | None = None
) -> NetParameter:
    """Return `net` in the current form; an up-to-date net comes back unchanged.

    problems: a list that collects what was dropped because the current form has no
    place for it. Without one it is warned of.

    Raises `SpecError` for what cannot be upgraded, such as an unknown V0 type.
    """
    if not upgrades_needed(net):
        return net
    dropped: list[str] = []
    upgraded = NetParameter()
    upgraded.CopyFrom(net)
    if is_v0(upgraded):
        upgrade_v0(upgraded, dropped)
    for old in upgraded.layers:
        move_transform(old)
    if len(upgraded.layers):
        upgrade_v1(upgraded, dropped)
    if len(upgraded.input):
        _upgrade_inputs(upgraded)
    for layer in upgraded.layer:
        if _is_old_batch_norm(layer):
            for spec in layer.param:
                spec.lr_mult = 0
                spec.decay_mult = 0
    if problems is not None:
        problems += dropped
    elif dropped:
        warn_user("\n".join(dropped), UserWarning)
    return upgraded


def upgrade_solver(solver: SolverParameter) -> SolverParameter:
    """Return `solver` with the old enum `solver_type` turned into `type`."""
    if not solver.HasField("solver_type"):
        return solver
    if solver.HasField("type"):
        raise SpecError(
            f"solver: both type ({solver.type!r}) and the old solver_type are given; "
            f"remove solver_type"
        )
    upgraded = SolverParameter()
    upgraded.CopyFrom(solver)
    upgraded.type = _SOLVER_TYPES[solver.solver_type]
    upgraded.ClearField("solver_type")
    return upgraded


def upgrade_text(text: str, message: str = "NetParameter") -> str:
    """Return upgraded prototxt text.

    message: "NetParameter" or "SolverParameter", what the text holds.

    Raises `TextError` (a `ValueError`) with line and column for bad text.
    """
    if message == "NetParameter":
        return to_text(upgrade_net(parse(text, NetParameter)))
    if message == "SolverParameter":
        return to_text(upgrade_solver(parse(text, SolverParameter)))
    raise SpecError(
        f"cannot upgrade a {message!r}; expected 'NetParameter' or 'SolverParameter'"
    )


def _upgrade_inputs(net: NetParameter) -> None:
    names = list(net.input)
    if len(net.input_shape):
        if len(net.input_shape) != len(names):
            raise SpecError(
                f"net {net.name!r}: {len(names)} inputs, but {len(net.input_shape)} "
                f"input_shape fields; give one for each input"
            )
        shapes = [list(shape.dim) for shape in net.input_shape]
    else:
        dims = list(net.input_dim)
        if dims and len(dims) != 4 * len(names):
            raise SpecError(
                f"net {net.name!r}: {len(names)} inputs need {4 * len(names)} "
                f"input_dim values (4 for each), got {len(dims)}"
            )
        shapes = [dims[start : start + 4] for start in range(0, len(dims), 4)]
    if shapes:  # names alone say nothing: the layers that read them will fail
        layer = LayerParameter(name="input", type="Input", top=names)
        for shape in shapes:
            layer.input_param.shape.add(dim=shape)
        layers = [layer, *net.layer]
        del net.layer[:]
        net.layer.extend(layers)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def _is_old_batch_norm(layer: LayerParameter) -> bool:
    return layer.type == "BatchNorm" and len(layer.param) == 3
