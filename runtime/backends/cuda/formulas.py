"""Functions of one value as C: one table of all layers that are nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.ops import Op
from netspec.ops import activation as ops
from netspec.ops.dropout import Dropout
from netspec.ops.relu import ReLU, ReLU6


@dataclass(frozen=True)
class Formula:
    """A function of one value.

    value: statements that turn `v`, from the value of x, into that of y. gradient:
    statements that turn `g`, from dy, into dx, of the values `x` and `y`. Both may say
    `kept(bound)`: whether the 32 random bits of the element are below a bound.
    """

    value: str = ""
    gradient: str = ""

    @property
    def random(self) -> bool:
        """Whether it draws random numbers."""
        return "kept(" in self.value


@dataclass(frozen=True)
class Row:
    """What the table has of a layer type; `formula` honours the options."""

    options: tuple[str, ...]
    formula: Callable[[Any], Formula]


def number(value: float) -> str:
    """Return a float32 in C, exactly."""
    with np.errstate(over="ignore"):
        value = float(np.float32(value))
    if math.isnan(value):
        return "__uint_as_float(0x7fc00000u)"
    if math.isinf(value):
        bits = "0x7f800000u" if value > 0 else "0xff800000u"
        return f"__uint_as_float({bits})"
    return f"({value.hex()}f)"


def rectified(slope: float = 0.0, sign: str = "y") -> Formula:
    """Return the formula of a ReLU; `sign` is what its gradient looks at, x or y."""
    if slope == 0:  # not 0 times what may be infinite
        return Formula("v=v<0.0f?0.0f:v;", f"g={sign}>0.0f?g:0.0f;")
    factor = number(slope)
    return Formula(f"v=v<0.0f?v*{factor}:v;", f"g*={sign}>0.0f?1.0f:{factor};")


def _relu(op: ReLU) -> Formula:
    return rectified(op.negative_slope, "y" if op.keeps_sign else "x")


def _elu(op: ops.ELU) -> Formula:
    alpha = number(op.alpha)
    if op.alpha >= 0:
        gradient = f"g*=y>0.0f?1.0f:y+{alpha};"
    else:
        gradient = f"g*=x>0.0f?1.0f:{alpha}*expf(x);"
    return Formula(f"v=v>0.0f?v:{alpha}*expm1f(v);", gradient)


def _exp(op: ops.Exp) -> Formula:
    log_base = _log_of_base(op.base)
    inner = number(log_base * op.scale)
    outer = math.exp(log_base * op.shift)
    value = f"v=expf(v*{inner});"
    if outer != 1:
        value += f"v*={number(outer)};"
    return Formula(value, f"g*=y*{inner};")


def _log(op: ops.Log) -> Formula:
    factor = 1 / _log_of_base(op.base)
    value = f"{_affine('v', 'v', op)}v=logf(v);"
    if factor != 1:
        value += f"v*={number(factor)};"
    slope = number(factor * op.scale)
    return Formula(value, _block(f"{_affine('d', 'x', op)}g*={slope}/d;"))


def _power(op: ops.Power) -> Formula:
    factor = op.power * op.scale
    if op.power == 0:
        value = "v=1.0f;"
    elif op.scale == 0:
        value = f"v={number(_power_of_number(op.shift, op.power))};"
    else:
        value = _affine("v", "v", op) + _raised("v", op.power)
    if factor == 0:
        gradient = "g=0.0f;"
    elif op.power == 1:
        gradient = f"g*={number(factor)};"
    else:
        gradient = _affine("d", "x", op) + _raised("d", op.power - 1)
        gradient = _block(f"{gradient}g*=d*{number(factor)};")
    return Formula(value, gradient)


def _block(statements: str) -> str:
    """Return statements with a variable `d` of their own."""
    return f"{{float {statements}}}"


def _affine(to: str, x: str, op: ops.Power | ops.Log) -> str:
    scaled = f"{x}*{number(op.scale)}"
    return f"{to}={scaled}+{number(op.shift)};" if op.shift else f"{to}={scaled};"


def _raised(name: str, power: float) -> str:
    special = {
        0.5: f"{name}=sqrtf({name});",
        1: "",
        2: f"{name}*={name};",
        -1: f"{name}=1.0f/{name};",
    }
    return special.get(power, f"{name}=powf({name},{number(power)});")


def _power_of_number(base: float, power: float) -> float:
    """Return base^power with the values of C where Python raises an error."""
    try:
        return math.pow(base, power)
    except OverflowError:
        return math.inf
    except ValueError:  # 0 to a negative power, or a root of a negative number
        return math.inf if base == 0 else math.nan


def _log_of_base(base: float) -> float:
    return 1.0 if base == -1 else math.log(base)


def _clip(op: ops.Clip) -> Formula:
    low, high = number(op.min), number(op.max)
    return Formula(
        f"v=v<{low}?{low}:v>{high}?{high}:v;",
        f"g*=x>={low}&&x<={high}?1.0f:0.0f;",
    )


def _relu6(op: ReLU6) -> Formula:
    slope, most = number(op.negative_slope), number(op.n)
    low = "0.0f" if op.negative_slope == 0 else f"v*{slope}"
    less = "0.0f" if op.negative_slope == 0 else f"g*{slope}"
    return Formula(
        f"v=v<0.0f?{low}:v>{most}?{most}:v;",
        f"g=y>0.0f?(y<{most}?g:0.0f):{less};",
    )


def _swish(op: ops.Swish) -> Formula:
    beta = number(-op.beta)
    return Formula(
        f"v=v/(1.0f+expf({beta}*v));",
        _block(f"d=1.0f/(1.0f+expf({beta}*x));g*=d*(1.0f-{beta}*x*(1.0f-d));"),
    )


def _threshold(op: ops.Threshold) -> Formula:
    return Formula(f"v=v>{number(op.threshold)}?1.0f:0.0f;")


def dropped(op: Dropout) -> Formula:
    """Return the formula of a Dropout layer that drops."""
    keep = 1 - op.dropout_ratio
    bound = min(round(keep * 2**32), 2**32 - 1)
    scale = number(1 / keep)
    return Formula(
        f"v=kept({bound}u)?v*{scale}:0.0f;", f"g=kept({bound}u)?g*{scale}:0.0f;"
    )


def _always(value: str, gradient: str) -> Callable[[Op], Formula]:
    return lambda op: Formula(value, gradient)


# The derivations are those of `runtime.layers.activation`; expf of a large number is
# infinite, and 1 / (1 + infinity) is the 0 that it should be.
FORMULAS: Mapping[str, Row] = {
    "AbsVal": Row((), _always("v=fabsf(v);", "g*=x>0.0f?1.0f:x<0.0f?-1.0f:x;")),
    "BNLL": Row(
        (),
        _always(
            "v=(v>0.0f?v:0.0f)+log1pf(expf(-fabsf(v)));", "g*=1.0f/(1.0f+expf(-x));"
        ),
    ),
    "Clip": Row(("min", "max"), _clip),
    "ELU": Row(("alpha",), _elu),
    "Exp": Row(("base", "scale", "shift"), _exp),
    "Log": Row(("base", "scale", "shift"), _log),
    "Power": Row(("power", "scale", "shift"), _power),
    "ReLU": Row(("negative_slope",), _relu),
    "ReLU6": Row(("negative_slope", "n"), _relu6),
    "Sigmoid": Row((), _always("v=1.0f/(1.0f+expf(-v));", "g*=y*(1.0f-y);")),
    "Swish": Row(("beta",), _swish),
    "TanH": Row((), _always("v=tanhf(v);", "g*=1.0f-y*y;")),
    "Threshold": Row(("threshold",), _threshold),
}
