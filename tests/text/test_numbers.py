"""Numbers and blanks are those that Caffe, OpenCV and protoc read."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec.errors import SpecWarning, TextError
from netspec.schema import NetParameter, SolverParameter
from netspec.text import as_net, parse, read_net
from tests.patience import PATIENCE_S, processor_seconds

UINT = "layer { convolution_param { num_output: %s } }"
INT = "layer { softmax_param { axis: %s } }"
FLOAT = "layer { loss_weight: %s }"
LIST = "layer { loss_weight: [ 1.5, %s ] }"
ENUM = "layer { phase: %s }"
ANY = "%s"

# What some version of Python's reader takes, and what is to be written instead.
REFUSED = [
    (UINT, "1_000", "underscore, .*; write 1000"),
    (UINT, "0x1_0", "underscore, .*; write 0x10"),
    (INT, "-1_0", "underscore, .*; write -10"),
    (FLOAT, "1_0.5", "underscore, .*; write 10.5"),
    (FLOAT, "1_0e3", "underscore, .*; write 10e3"),
    (FLOAT, "1.5_0e1_0", "underscore, .*; write 1.50e10"),
    (LIST, "0_1", "underscore, .*; write 1"),
    (UINT, "+3", "plus sign, .*; write 3"),
    (FLOAT, "+.5", r"plus sign, .*; write \.5"),
    (FLOAT, "+inf", "plus sign, .*; write inf"),
    (ENUM, "+1", "plus sign, .*; write 1"),
    (UINT, "0o17", "begins with 0o, .*; write 15"),
    (INT, "-0B11", "begins with 0B, .*; write -3"),
    (ENUM, "0b1", "begins with 0b, .*; write 1"),
    (FLOAT, "1ff", "no number to Caffe and others; write 1"),
    (FLOAT, "-1.5fF", "no number to Caffe and others; write -1.5"),
    (FLOAT, "inff", "no number to Caffe and others; write inf"),
    (FLOAT, "-Infinityff", "no number to Caffe and others; write -Infinity"),
    (LIST, "NANf", "no number to Caffe and others; write NAN"),
    (UINT, "٣", "no number to Caffe and others; write 3"),
    (UINT, "08", "begins with 0, .*; write 8"),
    (FLOAT, "-00.5", "begins with 0, .*; write -0.5"),
    (FLOAT, "01e2", "begins with 0, .*; write 1e2"),
    (FLOAT, "017", "017 is an octal integer, .*; write 17"),
    (LIST, "-00", "-00 is an octal integer, .*; write -0"),
    (UINT, "-0", "num_output is -0, but it takes no sign, .*; write 0"),
    (UINT, "-00", "num_output is -00, but it takes no sign, .*; write 0"),
    (FLOAT, "1.5.2", r"1\.5\.2 is no number$"),
    (FLOAT, "1e", r"1e is no number; is a space missing after 1\?"),
    (ANY, "layer {\xa0}", "blank U.00A0 stands between words, .*; write a space"),
    (ANY, "layer { }\u3000", "blank U.3000 stands between words"),
    (ANY, "name\u2003: 'a'", "blank U.2003 stands between words"),
    (ANY, "layer {\x1c}", "blank U.001C stands between words"),
]
TAKEN = [
    (UINT, "0x1F", 31),
    (UINT, "3,", 3),
    (UINT, "3#_0", 3),
    (INT, "-0", 0),
    (INT, "-0x1f", -31),
    (INT, "-07", -7),
    (FLOAT, "1.", 1),
    (FLOAT, "-.5", -0.5),
    (FLOAT, "2.5E-1f", 0.25),
    (FLOAT, "0f", 0),
    (FLOAT, "-0.0", 0),
    (FLOAT, "1e05", 1e5),
    (FLOAT, "-Infinity", float("-inf")),
    (FLOAT, "1e400", float("inf")),
    (LIST, ".5e1", 5),
    (ENUM, "1", 1),
    (ENUM, "-0", 0),
]


def filled(template: str, value: str) -> str:
    return template % (value + "\n" if "#" in value else value)


def value_of(net: NetParameter, template: str) -> float:
    """Return the number that a template is about."""
    layer = net.layer[0]
    if template in (FLOAT, LIST):
        return layer.loss_weight[-1]
    if template == ENUM:
        return layer.phase
    if template == UINT:
        return layer.convolution_param.num_output
    return layer.softmax_param.axis


@pytest.mark.parametrize(("template", "value", "said"), REFUSED)
def test_what_other_readers_refuse_is_refused_with_what_to_write(template, value, said):
    text = "\n " + filled(template, value)
    with pytest.raises(TextError, match=said) as caught:
        parse(text, NetParameter, source="net.prototxt")
    error = caught.value
    place = len(template.split("%s")[0]) + 2
    if template == ANY:
        place += next(i for i, x in enumerate(value) if x.isspace() and x != " ")
    assert (error.file, error.line, error.column) == ("net.prototxt", 2, place)


@pytest.mark.parametrize(("template", "value", "expected"), TAKEN)
def test_what_other_readers_take_is_taken(template, value, expected):
    assert value_of(parse(filled(template, value), NetParameter), template) == expected


def test_protoc_agrees(tmp_path):
    pytest.importorskip("grpc_tools")
    cases = [filled(template, value) for template, value, _ in (*REFUSED, *TAKEN)]
    (tmp_path / "cases").write_text(json.dumps(cases))
    code = """
import json, os, sys
from grpc_tools import protoc
folder, results = sys.argv[1], []
for text in json.load(open("cases")):
    with open("text", "w", encoding="utf-8") as file:
        file.write(text)
    os.dup2(os.open("text", os.O_RDONLY), 0)
    options = ["--encode=netspec.NetParameter", "-I" + folder, "netspec.proto"]
    os.dup2(os.open("out", os.O_CREAT | os.O_WRONLY), 1)
    results.append(protoc.main(["protoc", *options]) == 0)
json.dump(results, open("results", "w"))
"""
    folder = Path(netspec.__file__).parent / "schema"
    subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=tmp_path,
        check=True,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE_S,
    )
    results = json.loads((tmp_path / "results").read_text())
    expected = [False] * len(REFUSED) + [True] * len(TAKEN)
    wrong = zip(cases, results, expected, strict=True)
    assert [text for text, result, wanted in wrong if result != wanted] == []


# ---------------------------------------------------------------- no numbers


def test_names_strings_comments_and_words_may_look_like_numbers():
    net = parse(
        """
        # 1_000 +3 0o17 \xa0
        name: "1_000 +3 08" '\xa0' # 1_0
        layer { name: "conv1_1" type: '0o1' include { min_level: 1 }
          hinge_loss_param { norm: L1 } pooling_param { pool: MAX kernel_h: 2 } }
        state { stage: "infinityf" }
        """,
        NetParameter,
    )
    assert net.name == "1_000 +3 08\xa0"
    assert net.layer[0].name == "conv1_1"


def test_a_minus_apart_is_told():
    with pytest.raises(TextError, match="1:31: a minus stands apart from its number"):
        parse("layer { softmax_param { axis: - 1 } }", NetParameter)


def test_all_are_told_at_once_and_the_same_one_once():
    text = "input_dim: +1\ninput_dim: 1_0 input_dim: 3 input_dim: +1 input_dim: 0o3"
    with pytest.raises(TextError) as caught:
        parse(text, NetParameter)
    told = [line.split(" has ")[0] for line in str(caught.value).split("\n  and: ")]
    assert told[:2] == ["<text>:1:12: +1", "2:12: 1_0"]
    assert told[2].startswith("2:54: 0o3 begins with 0o")


def test_solvers_too():
    with pytest.raises(TextError, match=r"2:11: 10_000 .*; write 10000"):
        parse("base_lr: 0.1\nmax_iter: 10_000", SolverParameter)
    with pytest.raises(TextError, match="1:10: 00.1 begins with 0, .*; write 0.1"):
        parse("base_lr: 00.1", SolverParameter)


# ---------------------------------------------------------------- octal integers


def test_octal_integers_are_told_once():
    text = "\nlayer { convolution_param { num_output: 010 pad: [ 07, 0, 012 ] } }"
    with pytest.warns(SpecWarning) as seen:
        net = parse(text, NetParameter, source="net.prototxt")
    said = [str(one.message) for one in seen]
    assert len(said) == 1
    assert said[0] == (
        "net.prototxt:2:41: num_output is 010, an octal integer as it begins with 0, "
        "which stands for 8; write 8, or without the 0 if that is meant"
    )
    assert list(net.layer[0].convolution_param.pad) == [7, 0, 10]


def test_strings_and_lists_before_a_number_do_not_hide_its_field():
    text = """
    name: 'a' "b" layer: [ { bottom: ['x', 'y'] top: "z" }, < loss_weight: [1, 2] > ]
    state { level: 0 stage: [ 'u' ] }; input_dim: [017]
    """
    with pytest.warns(SpecWarning, match="3:52: input_dim is 017, .* stands for 15"):
        parse(text, NetParameter)


# ---------------------------------------------------------------- modules in text

MODULE = """\
module { name: "Conv" input: "in" output: "conv" required: "width"
  default { size: %s }
  layer { name: "conv" type: "Convolution" bottom: "in" top: "conv"
    convolution_param { num_output: width kernel_size: size } } }
"""
USE = 'layer { name: "a" module: "Conv" bottom: "d" values { width: %s } }\n'


@pytest.mark.parametrize(
    ("size", "width", "place"), [("3", "6_4", "5:62"), ("+3", "64", "2:19")]
)
def test_modules_have_the_same_numbers(size, width, place):
    with pytest.raises(TextError, match=rf"^<text>:{place}: .*; write (64|3)$"):
        as_net(MODULE % size + USE % width)


def test_imported_files_too(tmp_path):
    (tmp_path / "conv.prototxt").write_text(MODULE % "0b11")
    (tmp_path / "net.prototxt").write_text('import: "conv.prototxt"\n' + USE % "8")
    with pytest.raises(TextError, match=r"conv\.prototxt:2:19: 0b11 begins .* write 3"):
        read_net(tmp_path / "net.prototxt")


def test_octal_integers_of_modules_are_told_where_they_stand():
    with pytest.warns(SpecWarning, match=r"4:37: num_output is 0100, .* at <text>:5:"):
        net = as_net(MODULE % "3" + USE % "0100")
    assert net.layer[0].convolution_param.num_output == 64


# ---------------------------------------------------------------- anything


def is_number(text: str) -> bool:
    """Whether C++'s reader takes all of `text` as one number, step by step."""
    rest = text.removeprefix("-")
    if rest.lower() in ("inf", "infinity", "nan"):
        return True
    digits = string.digits

    def skip(at: int, what: str) -> int:
        while at < len(rest) and rest[at] in what:
            at += 1
        return at

    if rest[:2] in ("0x", "0X"):
        return len(rest) > 2 and skip(2, string.hexdigits) == len(rest)
    if len(rest) > 1 and rest[0] == "0" and rest[1] in digits:
        return skip(1, "01234567") == len(rest)
    end = skip(0, digits)
    if rest[end : end + 1] == ".":
        after = skip(end + 1, digits)
        if end == 0 and after == end + 1:
            return False
        end = after
    elif end == 0:
        return False
    if rest[end : end + 1] in ("e", "E"):
        sign = end + 1 + (rest[end + 1 : end + 2] in ("+", "-"))
        end, before = skip(sign, digits), sign
        if end == before:
            return False
    return rest[end:] in ("", "f", "F")


PARTS = st.sampled_from([*"0017889__..eEfFxXoObB+-", "inf", "nan", "٣", "²"])


@settings(max_examples=150)
@given(
    value=st.lists(PARTS, min_size=1, max_size=7).map("".join),
    template=st.sampled_from([UINT, INT, FLOAT, LIST, ENUM]),
)
@pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")
def test_whatever_is_taken_is_a_number(value, template):
    try:
        net = parse(filled(template, value), NetParameter)
    except TextError:
        return
    # A word may be a value that our enum lacks.
    is_word = value[0].isalpha() or value[0] == "_"
    assert is_number(value) or (template == ENUM and is_word)
    if template in (FLOAT, LIST) and value[-1] not in "nN" and "inf" not in value:
        expected = float(value.rstrip("fF"))
        assert value_of(net, template) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "\xa0" * 1_000_000,
        "+1 " * 300_000,
        "1_" * 500_000,
        "-" * 1_000_000,
        "00" * 400_000,
    ],
    ids=lambda text: f"{text[:4]!r}",
)
def test_many_mistakes_end_in_a_short_error_in_seconds(text):
    with pytest.raises(TextError) as caught, processor_seconds(10):
        parse(f"layer {{ loss_weight: {text} }}", NetParameter)
    assert len(str(caught.value)) < 1000
