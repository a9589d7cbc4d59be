"""LSTM, RNN and LSTMUnit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    Op,
    ParamDef,
    Range,
    Shape,
    bottom_name,
    count,
    filler,
    infers,
    label,
    numbers_below,
)
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class _Recurrent(Op):
    """What LSTM and RNN have in common.

    Bottoms: x (T, N, I...), cont (T, N), then x_static (N, S...) if `static`, then with
    `expose_hidden` the initial states (1, N, D). Tops: h (T, N, D), with
    `expose_hidden` the final states (1, N, D).
    """

    num_output: int
    expose_hidden: bool
    static: bool
    timesteps: int
    streams: int

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The output, beside all inputs."""
        return (0,)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """X and x_static: as in Caffe, exposed initial states get none."""
        return (0, 2) if self.static else (0,)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The sequence indicators, cont."""
        return (1,)

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """The final states."""
        return tuple(range(1, len(self.tops)))

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Sequence indicators, 0 or 1."""
        return {1: numbers_below(2)}


@dataclass(frozen=True, kw_only=True)
class LSTM(_Recurrent):
    """A long short-term memory over T steps of N streams, unrolled.

    Gates i, f, o, g, in this order in the weights: c = cont f c' + i g, h = o tanh(c).
    Parameters: W_xc (4 D, I), b_c (4 D,), [W_xc_static (4 D, S),] W_hc (4 D, D). Two
    states: h, c.
    """

    type: ClassVar[str] = "LSTM"


@dataclass(frozen=True, kw_only=True)
class RNN(_Recurrent):
    """h = tanh(W_hh cont h' + W_xh x + b_h), o = tanh(W_ho h + b_o), unrolled.

    Parameters: W_xh (D, I), b_h (D,), [W_xh_static (D, S),] W_hh (D, D), W_ho (D, D),
    b_o (D,). One state: h.
    """

    type: ClassVar[str] = "RNN"


@dataclass(frozen=True, kw_only=True)
class LSTMUnit(Op):
    """One step of an LSTM, from gate inputs: tops c and h.

    Shapes: c' (1, N, D), gates (1, N, 4 D), cont (1, N) -> c, h (1, N, D).
    """

    type: ClassVar[str] = "LSTMUnit"
    num_output: int

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """Both, beside all inputs."""
        return (0, 1)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """All but cont."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The sequence indicators, cont."""
        return (2,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Sequence indicators, 0 or 1."""
        return {2: numbers_below(2)}


@infers("LSTM")
def lstm(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> LSTM:
    """Read an LSTM layer."""
    options, tops = _options(layer, bottoms, states=2)
    param, size = layer.recurrent_param, options["num_output"]
    weight, bias = filler(param, "weight_filler"), filler(param, "bias_filler")
    inputs = count(bottoms[0], 2)
    params = [ParamDef((4 * size, inputs), weight), ParamDef((4 * size,), bias)]
    steps = options["timesteps"] * options["streams"]
    macs = steps * 4 * size * (inputs + size)
    if options["static"]:
        params.append(ParamDef((4 * size, count(bottoms[2], 1)), weight))
        macs += 4 * size * count(bottoms[2])
    params.append(ParamDef((4 * size, size), weight))
    return LSTM(
        layer=layer,
        bottoms=bottoms,
        tops=tops,
        params=tuple(params),
        macs=macs,
        **options,
    )


@infers("RNN")
def rnn(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> RNN:
    """Read an RNN layer."""
    options, tops = _options(layer, bottoms, states=1)
    param, size = layer.recurrent_param, options["num_output"]
    weight, bias = filler(param, "weight_filler"), filler(param, "bias_filler")
    inputs = count(bottoms[0], 2)
    params = [ParamDef((size, inputs), weight), ParamDef((size,), bias)]
    steps = options["timesteps"] * options["streams"]
    macs = steps * size * (inputs + 2 * size)
    if options["static"]:
        params.append(ParamDef((size, count(bottoms[2], 1)), weight))
        macs += size * count(bottoms[2])
    params.append(ParamDef((size, size), weight))
    params.append(ParamDef((size, size), weight))
    params.append(ParamDef((size,), bias))
    return RNN(
        layer=layer,
        bottoms=bottoms,
        tops=tops,
        params=tuple(params),
        macs=macs,
        **options,
    )


def _options(
    layer: LayerParameter, bottoms: Sequence[Shape], states: int
) -> tuple[dict[str, Any], tuple[Shape, ...]]:
    """Check the bottoms; return the parsed options and the shapes of the tops."""
    param = layer.recurrent_param
    exposed = states if param.expose_hidden else 0
    static = len(bottoms) == 3 + exposed
    if not static and len(bottoms) != 2 + exposed:
        hint = f", then {exposed} initial states" if exposed else ""
        raise SpecError(
            f"{len(bottoms)} bottoms are given; expected the input, the sequence "
            f"indicators, at will a static input{hint}",
            layer=label(layer),
        )
    if param.num_output < 1:
        raise SpecError(
            f"recurrent_param.num_output is {param.num_output}; give the number of "
            f"hidden units, at least 1",
            layer=label(layer),
        )
    x = bottoms[0]
    if len(x) < 2:
        raise ShapeError(
            f"{bottom_name(layer, 0)} must have shape (T, N, ...), steps and streams; "
            f"got {x}",
            layer=label(layer),
        )
    steps, streams = x[:2]
    if steps == 0:
        raise ShapeError(
            f"{bottom_name(layer, 0)} has shape {x}, a sequence of no steps; expected "
            f"at least one on axis 0",
            layer=label(layer),
        )
    state = (1, streams, param.num_output)
    _expect(layer, bottoms, 1, (steps, streams), "the sequence indicators")
    if static and bottoms[2][:1] != (streams,):
        raise ShapeError(
            f"{bottom_name(layer, 2)}, the static input, must have shape ({streams}, "
            f"...), an item for each stream; got {bottoms[2]}",
            layer=label(layer),
        )
    for place in range(len(bottoms) - exposed, len(bottoms)):
        _expect(layer, bottoms, place, state, "an initial state")
    options = {
        "num_output": param.num_output,
        "expose_hidden": param.expose_hidden,
        "static": static,
        "timesteps": steps,
        "streams": streams,
    }
    tops = ((steps, streams, param.num_output), *(state,) * exposed)
    if len(layer.top) != len(tops):
        raise SpecError(
            f"{len(layer.top)} tops are given; expected {len(tops)}, the output and "
            f"with expose_hidden the final states",
            layer=label(layer),
        )
    return options, tops


@infers("LSTMUnit")
def lstm_unit(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> LSTMUnit:
    """Read an LSTMUnit layer."""
    state = bottoms[0]
    if len(state) != 3 or state[0] != 1:
        raise ShapeError(
            f"{bottom_name(layer, 0)}, the state c, must have shape (1, N, D); got "
            f"{state}",
            layer=label(layer),
        )
    _expect(layer, bottoms, 1, (1, state[1], 4 * state[2]), "the gate inputs")
    _expect(layer, bottoms, 2, (1, state[1]), "the sequence indicators")
    return LSTMUnit(
        layer=layer, bottoms=bottoms, tops=(state, state), num_output=state[2]
    )


def _expect(
    layer: LayerParameter, bottoms: Sequence[Shape], place: int, shape: Shape, what: str
) -> None:
    if bottoms[place] != shape:
        raise ShapeError(
            f"{bottom_name(layer, place)}, {what}, must have shape {shape}; got "
            f"{bottoms[place]}",
            layer=label(layer),
        )
