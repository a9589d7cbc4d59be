"""Functions of each value: Log, Exp, Swish, Clip, PReLU and their like."""

from __future__ import annotations

import math
from typing import Any

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, chain, layer, power, refused, silent

LARGEST_SHIFT = 16  # of a Clip written with shifts, so that no digits of x are lost
SMALL_POWER = 1e-10  # 0 stays 0, every other float32 becomes 1 to its last digit
LARGEST = 3.4e38  # of float32; a bound beyond it bounds nothing


def _base(base: float) -> float:
    """Return the natural logarithm of a base, 1 for e as it is stored."""
    ln = 1.0 if base == -1 else math.log(base)
    return 1.0 if abs(ln - 1) < 1e-6 else ln


def _plain_log(place: Place) -> list[Made]:
    param = place.layer.log_param
    steps: list[Any] = []
    if param.scale != 1 or param.shift != 0:
        steps.append(power("input", param.scale, param.shift))
    steps.append(("ln", "Log", {"log_param": {"base": math.e}}, ()))
    if _base(param.base) != 1:
        steps.append(power("base", 1 / _base(param.base)))
    return chain(place, *steps)


def _write_base(place: Place) -> None:
    place.layer.log_param.base = math.e


def _plain_exp(place: Place) -> list[Made]:
    param = place.layer.exp_param
    ln = _base(param.base)
    return chain(
        place,
        power("input", param.scale * ln, param.shift * ln),
        ("exp", "Exp", {}, ()),
    )


def _swish(place: Place) -> list[Made]:
    form, beta = Form(place), place.layer.swish_param.beta
    x = form.x if beta == 1 else form.power("beta", form.x, beta)
    gate = form.put("gate", "Sigmoid", x)
    return form.end(form.both("product", "PROD", form.x, gate))


def _clip(place: Place) -> list[Made]:
    low, high = place.layer.clip_param.min, place.layer.clip_param.max
    if max(abs(low), abs(high)) > LARGEST_SHIFT:
        return _wide_clip(place, low, high)
    # low + relu(x - low) from below; high - relu(high - that) from above.
    steps = [power("from", 1, -low)] if low else []
    steps.append(("above", "ReLU", {}, ()))
    steps.append(power("to", -1, high - low))
    steps.append(("below", "ReLU", {}, ()))
    steps.append(power("clipped", -1, high))
    return chain(place, *steps)


def _wide_clip(place: Place, low: float, high: float) -> list[Made]:
    """Return maxima with constants, which are exact for bounds of any size."""
    form = Form(place)
    x = form.x
    if low > -LARGEST:
        x = form.both("above", "MAX", x, form.power("min", form.x, 0, low))
    if high < LARGEST:
        bound = form.power("max", form.x, 0, -high)
        x = form.both("below", "MAX", form.power("minus", x, -1), bound)
        return form.end(form.power("clipped", x, -1))
    return form.end(x if x != form.x else form.power("clipped", x))


def _threshold(place: Place) -> list[Made]:
    value = place.layer.threshold_param.threshold
    steps = [power("from", 1, -value)] if value else []
    step = {"power_param": {"power": SMALL_POWER}}
    return chain(place, *steps, ("above", "ReLU", {}, ()), ("one", "Power", step, ()))


def _shared_slope(place: Place) -> list[Made]:
    slope = float(place.values[0].reshape(()))
    return chain(
        place, ("slope", "ReLU", {"relu_param": {"negative_slope": slope}}, ())
    )


def _absolute(place: Place) -> list[Made]:
    form = Form(place)
    above = form.put("above", "ReLU", form.x)
    below = form.put("below", "ReLU", form.power("minus", form.x, -1))
    return form.end(form.both("sum", "SUM", above, below))


def _identity(place: Place) -> list[Made]:
    bottom, top = place.layer.bottom, place.layer.top
    return [Made(layer("Power", place.layer.name, bottom, top))]


def _is_end(place: Place) -> bool:
    """Tell whether an input or an output of the net is lost with a layer."""
    producer = place.producer()
    return producer is None or producer.type == "Input" or place.is_output()


RULES = (
    Rule(
        name="log-options",
        types=("Log",),
        says="base, scale or shift",
        readers={
            "opencv": silent("ignores them"),
            "ncnn": silent("ignores them"),
        },
        applies=lambda place: (
            _base(place.layer.log_param.base) != 1
            or place.layer.log_param.scale != 1
            or place.layer.log_param.shift != 0
        ),
        rewrite=_plain_log,
        instead="Power, Log of base e, Power",
    ),
    Rule(
        name="log-base",
        types=("Log",),
        says="the default base",
        readers={"mnn": silent("leaves the layer out, its input passes through")},
        applies=lambda place: place.layer.log_param.base == -1,
        edit=_write_base,
        instead="base e written as a number",
    ),
    Rule(
        name="no-log",
        types=("Log",),
        says="Log",
        readers={"openvino": refused(), "rknn": refused()},
        applies=lambda _: True,
    ),
    Rule(
        name="exp-options",
        types=("Exp",),
        says="base, scale or shift",
        readers={"ncnn": silent("ignores them")},
        applies=lambda place: (
            _base(place.layer.exp_param.base) != 1
            or place.layer.exp_param.scale != 1
            or place.layer.exp_param.shift != 0
        ),
        rewrite=_plain_exp,
        instead="Power, then Exp of base e",
    ),
    Rule(
        name="no-exp",
        types=("Exp", "BNLL"),
        says="the layer type",
        readers={"openvino": refused()},
        applies=lambda _: True,
    ),
    Rule(
        name="swish",
        types=("Swish",),
        says="Swish",
        readers={
            "mnn": refused(),
            "ncnn": refused("does not read its options"),
            "openvino": refused("does not read its options"),
            "x2paddle": refused("does not read its options"),
        },
        applies=lambda _: True,
        rewrite=_swish,
        instead="x times Sigmoid(beta x)",
    ),
    Rule(
        name="swish-beta",
        types=("Swish",),
        says="swish_param",
        readers={"opencv": silent("ignores beta")},
        applies=lambda place: place.layer.HasField("swish_param"),
        rewrite=_swish,
        instead="x times Sigmoid(beta x)",
    ),
    Rule(
        name="clip",
        types=("Clip",),
        says="Clip",
        readers={
            "opencv": refused(),
            "mnn": refused(),
            "openvino": refused("does not read clip_param"),
            "ncnn": refused("does not read clip_param"),
            "x2paddle": refused("was not tried with it"),
            "rknn": refused("was not tried with it"),
        },
        applies=lambda _: True,
        rewrite=_clip,
        instead="bounds by ReLU and Power, or by maxima",
    ),
    Rule(
        name="threshold",
        types=("Threshold",),
        says="Threshold",
        readers={"opencv": refused("has none"), "openvino": refused()},
        applies=lambda _: True,
        rewrite=_threshold,
        instead=f"ReLU(x - threshold) to the power of {SMALL_POWER:g}",
    ),
    Rule(
        name="absval",
        types=("AbsVal",),
        says="AbsVal",
        readers={"openvino": refused()},
        applies=lambda _: True,
        rewrite=_absolute,
        instead="ReLU(x) + ReLU(-x)",
    ),
    Rule(
        name="shared-slope",
        types=("PReLU",),
        says="one slope for all channels",
        readers={"opencv": refused("does not load a blob without axes")},
        applies=lambda place: place.layer.prelu_param.channel_shared,
        rewrite=_shared_slope,
        instead="ReLU with negative_slope",
        needs_values=True,
    ),
    Rule(
        name="dropout-at-ends",
        types=("Dropout",),
        says="Dropout of an input, or as an output, of the net",
        readers={"mnn": refused("drops the blob with the layer")},
        applies=_is_end,
        rewrite=_identity,
        instead="Power, which passes it on",
    ),
)
