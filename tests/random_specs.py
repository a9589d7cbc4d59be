"""Random specs for properties: phases, in-place chains, folders, odd names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from netspec import TEST, TRAIN, NetSpec, SpecWarning
from netspec import layers as L
from netspec.schema import NetParameter

IMAGE = [2, 3, 8, 8]
FILLERS = ["xavier", 0.25, dict(type="gaussian", std=0.01), dict(type="constant")]
STATES: list[dict[str, Any]] = [
    {},
    dict(force_backward=True),
    dict(state=dict(stage=["a"])),
]
RULES = [None, None, TRAIN, TEST, dict(stage="s", not_stage="t"), dict(min_level=2)]


def without_warnings(make: Callable[[], NetParameter]) -> NetParameter:
    """Return what `make` returns, whatever hangs loose in the net."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        return make()


def texts() -> st.SearchStrategy[str]:
    """Names as nobody should write them."""
    odd = st.text("ab1_/.-'\"{}\\ é\n", min_size=1, max_size=6)
    return st.one_of(st.sampled_from(["x", "for", "list", "update", "n"]), odd)


@st.composite
def specs(draw):
    """Random nets over small images; some have repeated parts."""
    name = draw(st.sampled_from([None, "", "net", 'it\'s "odd" {x}\\']))
    n = NetSpec(name, **draw(st.sampled_from(STATES)))
    n.data = L.Input(shape=IMAGE)
    if draw(st.booleans()):
        train = L.DummyData(shape=[IMAGE, [2]], ntop=2, include=TRAIN, name="db")
        test = L.DummyData(shape=[IMAGE, [2]], ntop=2, include=TEST, name="db")
        n.image, n.label = train
        n.image, n.label = test
        tops = [n.data, n.image]
    else:
        tops = [n.data]
    count = 0
    for _ in range(draw(st.integers(1, 6))):
        count += 1
        kind = draw(st.sampled_from(["block", "layer", "layer", "quiet", "split"]))
        if kind == "block":
            x = draw(st.sampled_from(tops))
            folder = draw(st.booleans())
            for _ in range(draw(st.integers(1, 3))):
                count += 1
                x = _block(draw, n, f"res{count}", x, folder=folder)
                tops.append(x)
        elif kind == "quiet":
            n[f"quiet{count}"] = L.Silence(draw(st.sampled_from(tops)))
        elif kind == "split":
            halves = L.Split(draw(st.sampled_from(tops)), ntop=2)
            n[f"half{count}/a"], n[f"half{count}/b"] = halves
            tops += halves
        else:
            tops.append(_layer(draw, n, count, tops))
    return n


def _block(draw, n, name, x, *, folder):
    """Convolution, activation in place, sum: wired alike, numbered otherwise."""
    width = draw(st.sampled_from([3, 3, 5]))
    m = NetSpec() if folder else n
    names = (
        ["conv", "relu", "sum"] if folder else [f"{name}_{k}" for k in ("c", "r", "s")]
    )
    m[names[0]] = L.Convolution(
        x,
        num_output=width,
        kernel_size=1,
        weight_filler=draw(st.sampled_from(FILLERS)),
        param=[dict(name=f"{name}_w", lr_mult=draw(st.sampled_from([1, 0.1])))],
    )
    m[names[1]] = L.ReLU(m[names[0]], in_place=True)
    m[names[2]] = L.Eltwise(m[names[1]], m[names[1]], operation="SUM", coeff=[1, -0.3])
    if folder:
        n[name] = m
    return m[names[2]]


def _layer(draw, n, count, tops):
    x = draw(st.sampled_from(tops))
    name = f"{draw(texts())}{count}"
    given = draw(st.sampled_from([None, None, f"named {name}"]))
    rule = draw(st.sampled_from(RULES))
    kind = draw(st.sampled_from(["conv", "relu", "power", "sum", "dropout", "python"]))
    if kind == "conv":
        top = L.Convolution(
            x,
            num_output=draw(st.integers(1, 5)),
            kernel_size=draw(st.sampled_from([1, [1, 1]])),
            bias_term=draw(st.booleans()),
            weight_filler=draw(st.sampled_from(FILLERS)),
            name=given,
        )
    elif kind == "relu":
        top = L.ReLU(x, negative_slope=draw(st.floats(0, 1, width=32)), name=given)
    elif kind == "power":
        shift = draw(st.floats(width=32, allow_nan=False))
        top = L.Power(x, shift=shift, include=rule, name=given)
    elif kind == "sum":
        top = L.Eltwise(x, x, operation=draw(st.sampled_from(["SUM", "PROD", "MAX"])))
    elif kind == "dropout":
        top = L.Dropout(x, dropout_ratio=0.4, include=rule)
    else:
        option = dict(module="m", layer="l", param_str=draw(texts()))
        top = L.Python(x, python_param=option, loss_weight=0.5)
    n[name] = top
    return top
