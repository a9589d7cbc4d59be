from tests.ops.reading import param_shapes, read, refuses


def recurrent(kind: str, options: str, tops: int, *bottoms):
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    text = f'type: "{kind}" {names} recurrent_param {{ num_output: 5 {options} }}'
    return read(text, *bottoms)


def test_lstm_shapes_and_parameters():
    op = recurrent("LSTM", "", 1, (3, 2, 4, 6), (3, 2))
    assert op.tops == ((3, 2, 5),)
    assert param_shapes(op) == [(20, 24), (20,), (20, 5)]
    assert op.macs == 3 * 2 * 20 * (24 + 5)
    assert (op.timesteps, op.streams, op.static) == (3, 2, False)
    assert op.gradient_bottoms == (0,)
    assert op.refused_bottoms == (1,)


def test_lstm_with_a_static_input_and_exposed_states():
    state = (1, 2, 5)
    shapes = (3, 2, 4), (3, 2), (2, 7), state, state
    op = recurrent("LSTM", "expose_hidden: true", 3, *shapes)
    assert op.tops == ((3, 2, 5), state, state)
    assert param_shapes(op) == [(20, 4), (20,), (20, 7), (20, 5)]
    assert op.macs == 3 * 2 * 20 * (4 + 5) + 2 * 7 * 20
    assert op.gradient_bottoms == (0, 2)


def test_rnn_shapes_and_parameters():
    op = recurrent("RNN", "expose_hidden: true", 2, (3, 2, 4), (3, 2), (1, 2, 5))
    assert op.tops == ((3, 2, 5), (1, 2, 5))
    assert param_shapes(op) == [(5, 4), (5,), (5, 5), (5, 5), (5,)]
    assert op.macs == 3 * 2 * 5 * (4 + 5 + 5)
    op = recurrent("RNN", "", 1, (3, 2, 4), (3, 2), (2, 7))
    assert param_shapes(op) == [(5, 4), (5,), (5, 7), (5, 5), (5, 5), (5,)]
    assert op.macs == 3 * 2 * 5 * 14 + 2 * 7 * 5


def test_bad_recurrent_layers_are_refused():
    text = 'type: "LSTM" top: "y" recurrent_param { num_output: 5 }'
    shapes = (3, 2, 4), (3, 2), (2, 7), (1, 2, 5)
    refuses(
        text, *shapes, match="4 bottoms are given; expected the input, the sequence"
    )
    refuses(text, (3, 2, 4), (2, 3), match=r"indicators, must have shape \(3, 2\)")
    refuses(text, (3,), (3, 2), match=r"must have shape \(T, N, ...\)")
    refuses(text, (0, 2, 4), (0, 2), match=r"\(0, 2, 4\), a sequence of no steps; exp")
    refuses(
        text, (3, 2, 4), (3, 2), (3, 7), match=r"static input, must have shape \(2,"
    )
    refuses(
        'type: "RNN" top: "y"', (3, 2, 4), (3, 2), match="num_output is 0; give the"
    )
    text = """type: "RNN" top: "y" top: "h"
        recurrent_param { num_output: 5 expose_hidden: true }"""
    message = r"an initial state, must have shape \(1, 2, 5\); got \(1, 2, 6\)"
    refuses(text, (3, 2, 4), (3, 2), (1, 2, 6), match=message)
    text = text.replace('top: "h"', "")
    refuses(text, (3, 2, 4), (3, 2), (1, 2, 5), match="1 tops are given; expected 2")


def test_lstm_unit_is_one_step():
    op = read('type: "LSTMUnit" top: "c" top: "h"', (1, 2, 5), (1, 2, 20), (1, 2))
    assert op.tops == ((1, 2, 5), (1, 2, 5))
    assert op.num_output == 5
    assert op.gradient_bottoms == (0, 1)
    assert op.backward_tops == (0, 1)
    text = 'type: "LSTMUnit" top: "c" top: "h"'
    refuses(text, (1, 2, 5), (1, 2, 15), (1, 2), match=r"gate inputs.*\(1, 2, 20\)")
    refuses(text, (3, 2, 5), (1, 2, 20), (1, 2), match=r"must have shape \(1, N, D\)")
