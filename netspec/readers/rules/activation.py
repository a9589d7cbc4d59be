"""Functions of each value: Log, Exp, Swish, Clip, PReLU and their like."""

from __future__ import annotations

import math
from typing import Any

from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, chain, power, refused, silent


def _base(place: Place) -> float:
    """Return the natural logarithm of the base of a Log, 1 for e as it is stored."""
    base = place.layer.log_param.base
    ln = 1.0 if base == -1 else math.log(base)
    return 1.0 if abs(ln - 1) < 1e-6 else ln


def _plain_log(place: Place) -> list[Made]:
    param = place.layer.log_param
    steps: list[Any] = []
    if param.scale != 1 or param.shift != 0:
        steps.append(power("input", param.scale, param.shift))
    steps.append(("ln", "Log", {"log_param": {"base": math.e}}, ()))
    if _base(place) != 1:
        steps.append(power("base", 1 / _base(place)))
    return chain(place, *steps)


RULES = (
    Rule(
        name="log-options",
        types=("Log",),
        says="base, scale or shift",
        readers={
            "opencv": silent("ignores them"),
            "ncnn": silent("ignores them"),
            "openvino": refused("has no Log"),
        },
        applies=lambda place: (
            _base(place) != 1
            or place.layer.log_param.scale != 1
            or place.layer.log_param.shift != 0
        ),
        rewrite=_plain_log,
        instead="Power, Log of base e, Power",
    ),
)
