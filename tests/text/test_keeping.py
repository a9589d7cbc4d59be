"""Fields and values that our schema lacks are kept where they stand."""

import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import schema
from netspec.errors import SpecError, SpecWarning, TextError
from netspec.forks import owners
from netspec.forks.catalogue import catalogue
from netspec.schema import LayerParameter, NetParameter, SolverParameter
from netspec.schema.kept import known_fields
from netspec.text import parse, read_message, to_text, write_message
from netspec.text.near import near_miss
from tests.text.field_trees import tree_of

quiet = pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")

NET = """
name: "forks"  # a comment
made_by { tool: 'x' flags: [1, 0x10], deep < a: -1.50 b: "it's" 'two' > }  # gone
layer {
  name: "pool" type: "Pooling" bottom: "a" top: "b" colour: RED;
  pooling_param { pool: STOCHASTIC2 kernel_size: 2 norm_region: WITHIN_CHANNEL }
  stages [ { at: 1 }, { at: 2 } ]
}
layer { name: "last" type: "ReLU" colour: GREEN colour: "BLUE" }
"""


@quiet
def test_what_is_unknown_is_kept_in_its_message():
    net = parse(NET, NetParameter)
    assert list(net.unknown_fields) == [
        "made_by { tool: 'x' flags: [1, 0x10] deep { a: -1.50 b: \"it's\" 'two' } }"
    ]
    pool, last = net.layer
    assert list(pool.unknown_fields) == [
        "colour: RED",
        "stages: [{ at: 1 }, { at: 2 }]",
    ]
    assert list(pool.pooling_param.unknown_fields) == [
        "pool: STOCHASTIC2",
        "norm_region: WITHIN_CHANNEL",
    ]
    assert pool.pooling_param.kernel_size == 2
    assert not pool.pooling_param.HasField("pool")
    assert list(last.unknown_fields) == ["colour: GREEN", 'colour: "BLUE"']


@quiet
@pytest.mark.parametrize("write", [to_text, str, repr])
def test_it_is_written_where_it_was(write):
    net = parse(NET, NetParameter)
    text = write(net)
    assert "unknown_fields" not in text
    assert tree_of(text) == tree_of(NET)
    assert "    norm_region: WITHIN_CHANNEL\n" in text
    assert parse(text, NetParameter) == net


def test_a_message_in_a_message_shows_its_own():
    param = schema.PoolingParameter(unknown_fields=['mode: "ä\\n" # why'])
    assert str(param) == 'mode: "ä\\n"\n'
    assert to_text(param) == 'mode: "ä\\n"\n'


def test_a_note_names_place_field_and_forks_once_a_field():
    text = "layer { doc_data_param { } }\n" * 3 + "layer {\n  frozen_by: 'me' "
    with pytest.warns(SpecWarning) as told:
        parse(text + "doc_data_param { } }", NetParameter, source="net.prototxt")
    doc, frozen = [str(each.message) for each in told]
    assert doc == (
        "net.prototxt:1:9: LayerParameter.doc_data_param is a field of BVLC pull "
        "request 2539 (4 times); kept as it stands"
    )
    assert frozen == (
        "net.prototxt:5:3: LayerParameter.frozen_by is no field of Caffe, nor of a "
        "fork that is known here; kept as it stands"
    )


def test_strict_refuses_all_with_their_places():
    with pytest.raises(TextError) as caught:
        parse(NET, NetParameter, strict=True)
    lines = str(caught.value).split("\n  and: ")
    assert [line.split(" is ")[0] for line in lines] == [
        "<text>:3:1: NetParameter.made_by",
        "<text>:5:53: LayerParameter.colour",
        "<text>:6:19: PoolingParameter.pool: STOCHASTIC2",
        "<text>:6:52: PoolingParameter.norm_region",
        "<text>:7:3: LayerParameter.stages",
        "<text>:9:35: LayerParameter.colour",
        "<text>:9:49: LayerParameter.colour",
    ]
    parse('layer { name: "a" }', NetParameter, strict=True)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (
            "iter_step: 2",
            SolverParameter,
            "1:1: .*'iter_step'; did you mean 'iter_size",
        ),
        (
            "layer { convolution_param { kernal_size: 3 } }",
            NetParameter,
            "1:29: .*size'",
        ),
        (
            "layer {\n convolution_param {\nnum_ouput: 3 } }",
            NetParameter,
            "3:1: .*put'",
        ),
        ("layer { num_output: 3 }", NetParameter, "1:9: .*has no field 'num_output'"),
        ("base_lr: 0.1", NetParameter, "has no field 'base_lr'; SolverParameter has"),
        ("layer { relu_param { bottom: 'a' } }", NetParameter, "no field 'bottom'"),
        ("layer { phase: TETS }", NetParameter, "1:16: 'TETS' is no Phase; .*'TEST'"),
        ("layer { phase: 7 }", NetParameter, "1:16: '7' is no Phase"),
        ("layer { type: RELU }", NetParameter, "expected type in quotes"),
        ("layers { type: POLING }", NetParameter, "did you mean 'POOLING'"),
        ("layer { name: 'a' name: 'b' }", NetParameter, 'multiple "name" fields'),
        (
            "layer { odd: 1 } layer { odd { a: 1 }",
            NetParameter,
            "expected } for layer {",
        ),
        ("odd { a: 1 ] }", NetParameter, "1:12: expected the name of a field"),
        (
            "odd: 1\nlayer { loss_weight: x }",
            NetParameter,
            "2:22: Couldn't parse float",
        ),
        ("odd" + " { a" * 101 + ": 1" + " }" * 101, NetParameter, "than 100 deep"),
        ("odd: 'a\udcff'", NetParameter, "1:1: bytes in a string are not UTF-8"),
    ],
)
def test_mistakes_stay_errors(text, kind, said):
    with pytest.raises(TextError, match=said):
        parse(text, kind)


@quiet
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("stepearly: 3", SolverParameter),
        ("layers { type: INTERP interp_param { zoom_factor: 8 } }", NetParameter),
        ("layers { type: RELU6 }", NetParameter),
        ('layers { layer { type: "data" data_blob { name: "x" } } }', NetParameter),
        ("layer { blob_param { filler { value: 1.5 value: 2.50 } } }", NetParameter),
        ("layer { data_param { block_size: 2 } }", NetParameter),
        ("layer { crop_param { offset_h: 3 } }", NetParameter),
        (
            "layer { convolution_param { weight_filler { value: 1.5 value: 2 } } }",
            NetParameter,
        ),
        ("layer { loss_param { normalization: PRE_FIXED } }", NetParameter),
    ],
)
def test_fields_of_many_kinds_come_back(text, kind):
    message = parse(text, kind)
    assert tree_of(to_text(message)) == tree_of(text)
    assert "unknown_fields" not in to_text(message)


def test_a_field_of_a_fork_is_no_slip_of_ours():
    assert owners("DataParameter", "block_size")
    assert near_miss("block_size", known_fields(schema.DataParameter.DESCRIPTOR))
    for mine, theirs in (("bn_param", "mvn_param"), ("interp_param", "input_param")):
        assert near_miss(mine, [theirs]) is None
    assert near_miss("pad_d", ["pad_h", "pad_w"]) is None
    assert near_miss("relu6_param", ["relu_param"]) is None


def test_few_fields_of_forks_look_like_slips():
    tables = catalogue()
    asked, slips = 0, []
    for name, message in schema.DESCRIPTOR.message_types_by_name.items():
        known = known_fields(message)
        for field in {row.name for row in tables.fields(name)} - known.keys():
            asked += 1
            if near_miss(field, known):
                slips.append(field)
    assert asked > 500
    assert len(slips) < asked / 100


@quiet
def test_a_module_keeps_what_its_layers_have():
    text = """
    module { name: "M" input: "in" output: "out" required: "n"
      layer { name: "out" type: "Pooling" bottom: "in" top: "out" odd: n
        pooling_param { norm_region: NO_REGION2 extra { a: n b: 'x${n}' } } } }
    layer { name: "a" module: "M" bottom: "x" values { n: 3 } }
    layer { name: "x" type: "Input" top: "x" odd: ONE }
    """
    net = parse(text, NetParameter)
    layer = next(each for each in net.layer if each.type == "Pooling")
    assert list(layer.unknown_fields) == ["odd: 3"]
    assert list(layer.pooling_param.unknown_fields) == [
        "norm_region: NO_REGION2",
        'extra { a: 3 b: "x3" }',
    ]
    with pytest.raises(TextError, match="'N' is no value of module 'M'; did you"):
        parse(text.replace("NO_REGION2", "N"), NetParameter)
    with pytest.raises(TextError, match=r"4:.*parse integer: WIDE .*in 'a', module"):
        parse(text.replace("extra { a: n", "stride: WIDE e { a: n"), NetParameter)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1 b: 2", "is 2 fields of prototxt; expected one, such as"),
        ("", "is 0 fields"),
        ("a {", "expected } for a"),
        ("a", "a colon or a brace"),
    ],
)
def test_what_is_no_field_cannot_be_written(text, said):
    with pytest.raises(SpecError, match=said):
        to_text(NetParameter(unknown_fields=[text]))


WORDS = st.sampled_from(["zig", "zag_param", "odd", "even_size", "hue"])
ATOMS = st.one_of(
    st.integers(-(2**40), 2**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["RED", "true", "inf", "-inf", "0x1f", "017", "1.", ".5", "1e-3f"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
)


def field_of(value):
    return st.tuples(WORDS, value).map(" ".join)


ATOM_FIELDS = st.tuples(WORDS, ATOMS).map(": ".join)
LISTS = st.tuples(WORDS, st.lists(ATOMS, max_size=3).map(", ".join)).map(
    lambda pair: f"{pair[0]}: [{pair[1]}]"
)
FIELDS = st.recursive(
    st.one_of(ATOM_FIELDS, LISTS),
    lambda inner: st.tuples(WORDS, st.lists(inner, max_size=4).map(" ".join)).map(
        lambda pair: f"{pair[0]} {{ {pair[1]} }}"
    ),
    max_leaves=12,
)
SEVERAL = st.lists(FIELDS, max_size=3).map("\n".join)


@quiet
@settings(max_examples=60, deadline=None)
@given(SEVERAL, SEVERAL, SEVERAL)
def test_any_fields_are_read_and_written_again(net, layer, message):
    text = f"""{net}
    layer {{ {layer} name: "a" # {layer!r}
      type: "Pooling" pooling_param {{ {message}
      kernel_size: 3 }} }}"""
    read = parse(text, NetParameter)
    assert tree_of(to_text(read)) == tree_of(text)
    assert parse(to_text(read), NetParameter) == read


@quiet
def test_a_large_net_takes_time_as_its_length():
    layer = 'layer { name: "a" type: "ReLU" odd_%d { a: 1 b { c: "x" } } }\n'
    some = "".join(layer % (i % 7) for i in range(1_000))
    many = "".join(layer % (i % 7) for i in range(8_000))
    parse(some, NetParameter)
    start = time.process_time()
    parse(some, NetParameter)
    middle = time.process_time()
    net = parse(many, NetParameter)
    took = time.process_time() - middle
    assert took < 24 * (middle - start) + 0.5
    assert len(net.layer[-1].unknown_fields) == 1


@quiet
@pytest.mark.parametrize("suffix", [".prototxt", ".caffemodel"])
def test_files_of_both_kinds_keep_them(tmp_path, suffix):
    net = parse(NET, NetParameter)
    path = tmp_path / f"net{suffix}"
    write_message(path, net)
    assert read_message(path, NetParameter) == net


def test_nets_without_them_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = parse('layer { name: "a" type: "ReLU" }', NetParameter)
    assert net == NetParameter(layer=[LayerParameter(name="a", type="ReLU")])
