"""Net text: how it is read and written, and what is said of mistakes in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.errors import SpecWarning, TextError
from netspec.schema import (
    ConvolutionParameter,
    Datum,
    LayerParameter,
    NetParameter,
    SolverParameter,
)
from netspec.text import parse, to_text
from netspec.text.checks import MAX_TEXT_BYTES
from tests.patience import processor_seconds
from tests.schema.random_messages import messages

CONV = NetParameter(
    name="tiny",
    layer=[
        {
            "name": "conv1",
            "type": "Convolution",
            "bottom": ["data"],
            "top": ["conv1"],
            "convolution_param": {"num_output": 7, "kernel_size": [3, 5]},
        }
    ],
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "layers { name: 'r' type: 'ReLU' }",
            "<text>:1:26: type is 'ReLU' in `layers`, .* write `layer` for `layers`",
        ),
        (
            "layer { name: 'r' type : RELU }",
            '<text>:1:26: expected type in quotes, as in type: "ReLU", .* found RELU',
        ),
        (
            "layers { type: CONVOLUTION param { lr_mult: 1 } }",
            "<text>:1:34: param is the name .* blobs_lr and weight_decay, or `layer`",
        ),
        (
            "layer { name: 'c' blobs_lr: 1 weight_decay: 2 }",
            r"'blobs_lr'; it is of `layers`, .*: write param { lr_mult: ... }\n",
        ),
        (
            "layer { name: 'c' blobs_lr: 1 weight_decay: 2 }",
            "1:31: .*'weight_decay'; .* param { decay_mult: ... }",
        ),
        (
            "layers { type: RELU swish_param { beta: 1 } }",
            "'swish_param'; `layer`, the current form, has: write `layer` for",
        ),
    ],
)
def test_words_of_one_form_in_the_other_are_told_with_what_to_write(text, message):
    with pytest.raises(TextError, match=message):
        parse(text, NetParameter)


# ---------------------------------------------------------------- syntax


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name: \"a\" 'b'\n  # c\n 'c'", "abc"),
        (r"name: '\101\x42\n\"'", 'AB\n"'),
        ("name: 'it is \"it\"'", 'it is "it"'),
        ("# first\r\nname: 'x' # last", "x"),
        ("name: 'Netz für Ziffern'", "Netz für Ziffern"),
    ],
)
def test_strings_are_read_as_caffe_reads_them(text, value):
    assert parse(text, NetParameter).name == value


def test_a_byte_order_mark_is_told():
    with pytest.warns(
        SpecWarning, match="^net.prototxt:1:1: the text begins with a byte"
    ):
        net = parse("\ufeffname: 'x'", NetParameter, source="net.prototxt")
    assert net.name == "x"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("loss_weight: 1. loss_weight: .5", [1, 0.5]),
        ("loss_weight: 2.5e-1f, loss_weight: 3f", [0.25, 3]),
        ("loss_weight: -2E1; loss_weight: inf", [-20, float("inf")]),
        ("loss_weight: [1.5, 2, -0.25]", [1.5, 2, -0.25]),
    ],
)
def test_numbers_are_read_as_caffe_reads_them(text, values):
    assert list(parse(text, LayerParameter).loss_weight) == values


@pytest.mark.parametrize(
    "text",
    [
        "kernel_size: 3 kernel_size: 5 num_output: 7",
        "kernel_size: [3, 5], num_output: 0x7;",
        "num_output:007 kernel_size:[ 0x3 ,\n05 ]",
    ],
)
def test_lists_hexadecimal_and_octal_numbers(text):
    expected = ConvolutionParameter(num_output=7, kernel_size=[3, 5])
    assert parse(text, ConvolutionParameter) == expected


@pytest.mark.parametrize(
    "text",
    [
        "layer { name: 'a' } layer { name: 'b' phase: TEST }",
        "layer: < name: 'a' >; layer: { name: 'b', phase: 1, },",
        "layer [ { name: 'a' }, < name: 'b' phase: TEST > ]",
    ],
)
def test_messages_in_braces_angles_and_lists(text):
    expected = NetParameter(layer=[{"name": "a"}, {"name": "b", "phase": 1}])
    assert parse(text, NetParameter) == expected


def test_a_class_may_be_given_by_name():
    assert parse("base_lr: 0.5", "SolverParameter") == SolverParameter(base_lr=0.5)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["NetParameter", "SolverParameter", "Datum"]).flatmap(messages))
def test_text_of_any_message_is_read_again(message):
    text = to_text(message)
    assert parse(text, type(message)) == message
    assert to_text(type(message).FromString(message.SerializeToString())) == text


def test_text_is_short_and_readable():
    net = NetParameter(name="für Ziffern", layer=[{"loss_weight": [0.1, 1e-5]}])
    assert to_text(net) == (
        'name: "für Ziffern"\nlayer {\n  loss_weight: 0.1\n  loss_weight: 1e-05\n}\n'
    )


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("name: 'x'\nlayers { typ: RELU }", 2, 10, "no field 'typ'; did you mean 'ty"),
        (
            "layer {\n\tnum_output: 3 }",
            2,
            2,
            "LayerParameter has no field 'num_output'",
        ),
        ("state { phase: TRIAN }", 1, 16, "'TRIAN' is no Phase; did you mean 'TRAIN'"),
        ("state { phase: 7 }", 1, 16, r"'7' is no Phase \(one of TRAIN, TEST\)"),
        ("layer { name: 'a'\n name: 'b' }", 2, 8, 'not have multiple "name" fields'),
        ("layer {\n type: ReLU }", 2, 8, "Expected string but found: 'ReLU'"),
        ("\n\nname: 'x", 3, 7, "String missing ending quote"),
        ("name 'x'", 1, 6, 'Expected ":"'),
        ("layer { name: 'x'", 1, 15, 'Expected "}"'),
        ("layer { } }", 1, 11, "Expected identifier"),
        ("input_dim: 1.5", 1, 12, "Couldn't parse integer: 1.5"),
        ("input_dim: 99999999999", 1, 12, "out of range"),
        ("input_dim: ${N}", 1, 12, r"Couldn't parse integer: \$"),
        ("layer { phase: TEST\n}\nlayer { clip_param { min: 2 } }", 3, 32, "the text"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, line, column, said):
    with pytest.raises(TextError, match=said) as caught:
        parse(text, NetParameter, source="net.prototxt")
    error = caught.value
    assert (error.file, error.line, error.column) == ("net.prototxt", line, column)
    assert str(error).startswith(f"net.prototxt:{line}:{column}: ")


@pytest.mark.parametrize(
    "escape", [r"\d", r"\9", r"\777", r"\xg", r"\u12", r"\U00220000"]
)
def test_what_only_looks_like_an_escape_is_refused(escape):
    text = f"# \\ 'not a string\nname: 'ok \\\\' layer {{ name: 'C:{escape}' }}"
    with pytest.raises(TextError, match=r"2:32: \\. in a string means nothing; write"):
        parse(text, NetParameter)


@pytest.mark.parametrize(
    ("escape", "value"),
    [
        (r"\7\18\377", None),
        (r"a\\d\x4g", "a\\d\x04g"),
        (r"\303\244 \xc3\xa4", "ä ä"),
        (r"\a\b\f\v\n\r\t\"", '\a\b\f\v\n\r\t"'),
    ],
)
def test_escapes_are_read_as_caffe_reads_them(escape, value):
    if value is None:
        text = f"data: '{escape}'"
        assert parse(text, Datum).data == b"\x07\x018\xff"
    else:
        assert parse(f"name: '{escape}'", NetParameter).name == value


def test_required_fields_that_are_missing_are_named():
    with pytest.raises(TextError, match=r"layer\[1\]\.clip_param\.max must be given"):
        parse("layer { } layer { clip_param { min: 2 } }", NetParameter)


def test_all_unknown_fields_and_values_are_told_at_once():
    text = """\
nmae: 2                            # an integer
layer {
  convolution_param {
    dilatoin: [1, 2];
    num_output: 7
    weigth_filler { mode: ADD a < b: [{ c: '}' }] > }; pad: 3
  }
  tpye: 'one' # the string goes on
    'two'
  phase: TESTING loss_wieght: 4
  name: 'x'
}
"""
    with pytest.raises(TextError) as caught:
        parse(text, NetParameter)
    first, *others = str(caught.value).split("\n  and: ")
    hint = "; did you mean"
    filler = "ConvolutionParameter has no field 'weigth_filler'"
    assert first == f"<text>:1:1: NetParameter has no field 'nmae'{hint} 'name'?"
    assert [each.split(" (")[0] for each in others] == [
        f"4:5: ConvolutionParameter has no field 'dilatoin'{hint} 'dilation'?",
        f"6:5: {filler}{hint} 'weight_filler'?",
        f"8:3: LayerParameter has no field 'tpye'{hint} 'type'?",
        f"10:18: LayerParameter has no field 'loss_wieght'{hint} 'loss_weight'?",
    ]


def test_a_mistake_after_unknown_fields_keeps_its_place():
    text = "scale: -1 nmae: red, layer { type: 'ReLU' }\n  input_dim: x"
    with pytest.raises(TextError) as caught:
        parse(text, NetParameter)
    assert str(caught.value).split("\n  and: ") == [
        "<text>:1:11: NetParameter has no field 'nmae'; did you mean 'name'?",
        "2:14: Couldn't parse integer: x",
    ]


def test_the_same_mistake_in_many_layers_is_told_once():
    text = "layer { botom: 'a' }\n" * 5 + "layer { pahse: TEST }\n"
    with pytest.raises(TextError) as caught:
        parse(text, NetParameter)
    assert str(caught.value) == (
        "<text>:1:9: LayerParameter has no field 'botom'; did you mean 'bottom'?\n"
        "  and: 6:9: LayerParameter has no field 'pahse'; did you mean 'phase'?"
    )


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("net: 'a.prototxt'", NetParameter, "'net'; SolverParameter has$"),
        ("layer { }", SolverParameter, "'layer'; NetParameter has$"),
    ],
)
def test_a_solver_in_the_place_of_a_net_is_told(text, kind, message):
    with pytest.raises(TextError, match=message):
        parse(text, kind)


@pytest.mark.parametrize(
    "text",
    [
        "layer { " * 200_000,
        "{" * 2_000_000,
        "[" * 2_000_000,
        "x { " * 200_000,
        "x: " + "[" * 200_000,
        "lay" * 500_000,
        "layer { phase: " + "A" * 1_000_000 + " }",
        "input_dim: " + "9" * 1_000_000,
        "name: '" + "x" * 1_000_000,
        "layer { name: '\\777' }",
        "input_dim: [" + "1," * 100_000,
        "\0\1\2",
    ],
    ids=lambda text: f"{text[:12]!r}",
)
def test_hostile_text_ends_in_a_short_error_in_seconds(text):
    with pytest.raises(TextError) as caught, processor_seconds(10):
        parse(text, NetParameter)
    assert len(str(caught.value)) < 1000


def test_text_beyond_the_limit_is_refused_at_once():
    with pytest.raises(TextError, match="use the binary form"):
        parse("#" * (MAX_TEXT_BYTES + 1), NetParameter)
