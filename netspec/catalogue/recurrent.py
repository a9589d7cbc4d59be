"""Layers over sequences."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

RECURRENT = (
    LayerType(
        name="LSTM",
        param="recurrent_param",
        bottoms=(2, 5),
        bottom_names=("x", "cont", "static", "h0", "c0"),
        tops=(1, 3),
        required=("num_output",),
        summary="Run a long short-term memory over a sequence.",
        formula="c_t = f_t (cont_t c_(t-1)) + i_t g_t, h_t = o_t tanh(c_t), gates from "
        "x_t and cont_t h_(t-1)",
        shapes="x (T, N, ...), cont (T, N), static (N, ...) -> h (T, N, num_output)",
        notes="cont is 0 where a sequence starts. With expose_hidden the inputs h0, c0 "
        "and the tops h_T, c_T are given too; without static they come third and "
        "fourth.",
        source="Donahue et al., arXiv:1411.4389",
    ),
    LayerType(
        name="LSTMUnit",
        bottoms=(3, 3),
        bottom_names=("c", "gates", "cont"),
        tops=(2, 2),
        summary="Do one step of a long short-term memory.",
        formula="c' = f (cont c) + i g, h' = o tanh(c')",
        shapes="c (1, N, D), gates (1, N, 4 D), cont (1, N) -> c', h' (1, N, D)",
        notes="Write `ntop=2`.",
    ),
    LayerType(
        name="RNN",
        param="recurrent_param",
        bottoms=(2, 4),
        bottom_names=("x", "cont", "static", "h0"),
        tops=(1, 2),
        required=("num_output",),
        summary="Run a simple recurrent net over a sequence.",
        formula="h_t = tanh(W_hh (cont_t h_(t-1)) + W_xh x_t + b_h), "
        "y_t = tanh(W_ho h_t + b_o)",
        shapes="x (T, N, ...), cont (T, N), static (N, ...) -> y (T, N, num_output)",
        notes="cont is 0 where a sequence starts.",
    ),
)
