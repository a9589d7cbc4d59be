"""Modules: paths, names, order, nesting, and what is refused at the call."""

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec import NetSpec, module
from netspec import layers as L
from netspec.errors import SpecError


@module
def mixed(bottom, narrow, wide=3):
    """Two ways, side by side."""
    a = L.Convolution(bottom, num_output=narrow, kernel_size=1, name="1x1")
    a = L.ReLU(a, in_place=True, name="relu_1x1")
    b = L.Convolution(bottom, num_output=wide, kernel_size=3, pad=1, name="3x3")
    return L.Concat(a, b, name="output")


@module
def conv_relu(x, num_output):
    return L.ReLU(L.Convolution(x, num_output=num_output, kernel_size=1), in_place=True)


@module
def nested(x):
    m = NetSpec()
    m.start = conv_relu(x, 3)
    m.middle = mixed(m.start, 4)
    m.output = L.Pooling(m.middle, pool="MAX", kernel_size=2)
    return m.output


@module
def folder(x):
    m = NetSpec()
    m.conv = L.Convolution(x, num_output=2, kernel_size=1)
    m.output = L.ReLU(m.conv)
    return m


@module
def heads(x):
    left = L.Convolution(x, num_output=2, kernel_size=1, name="left")
    return left, L.Convolution(x, num_output=3, kernel_size=1)


def start():
    n = NetSpec()
    n.data = L.Input(shape=[1, 3, 8, 8])
    return n


def wires(n):
    return [(x.name, list(x.bottom), list(x.top)) for x in n.to_proto().layer[1:]]


def test_the_path_comes_from_the_assignment():
    n = start()
    n.mix = mixed(n.data, 2)
    assert wires(n) == [
        ("mix/1x1", ["data"], ["mix/1x1"]),
        ("mix/relu_1x1", ["mix/1x1"], ["mix/1x1"]),
        ("mix/3x3", ["data"], ["mix/3x3"]),
        ("mix/output", ["mix/1x1", "mix/3x3"], ["mix/output"]),
    ]


def test_a_result_without_a_name_inside_gets_the_one_outside_and_stays_in_the_path():
    n = start()
    n.conv1 = conv_relu(n.data, 4)
    n.conv2 = conv_relu(n.conv1, 4)
    assert wires(n) == [
        ("conv1/Convolution1", ["data"], ["conv1"]),
        ("conv1/ReLU1", ["conv1"], ["conv1"]),
        ("conv2/Convolution1", ["conv1"], ["conv2"]),
        ("conv2/ReLU1", ["conv2"], ["conv2"]),
    ]


def test_modules_nest_and_take_names_from_a_spec_made_inside():
    n = start()
    n.block = nested(n.data)
    assert wires(n) == [
        ("block/start/Convolution1", ["data"], ["block/start"]),
        ("block/start/ReLU1", ["block/start"], ["block/start"]),
        ("block/middle/1x1", ["block/start"], ["block/middle/1x1"]),
        ("block/middle/relu_1x1", ["block/middle/1x1"], ["block/middle/1x1"]),
        ("block/middle/3x3", ["block/start"], ["block/middle/3x3"]),
        (
            "block/middle/output",
            ["block/middle/1x1", "block/middle/3x3"],
            ["block/middle/output"],
        ),
        ("block/output", ["block/middle/output"], ["block/output"]),
    ]


def test_a_module_may_return_a_spec():
    n = start()
    n.block = folder(n.data)
    n.end = L.ReLU(n.block)
    assert wires(n) == [
        ("block/conv", ["data"], ["block/conv"]),
        ("block/output", ["block/conv"], ["block/output"]),
        ("end", ["block/output"], ["end"]),
    ]


def test_a_module_may_return_the_spec_of_a_module_inside():
    @module
    def inner(x):
        m = NetSpec()
        m.output = L.ReLU(x, name="relu")
        return m

    n = start()
    n.block = module(lambda x: inner(x))(n.data)
    assert wires(n) == [("block/relu", ["data"], ["block/output"])]


def test_what_is_deleted_from_the_spec_of_a_module_is_gone():
    n = start()
    n.block = folder(n.data)
    n.replace(n.block.conv, n.data)
    del n["block/conv"]
    assert wires(n) == [("block/output", ["data"], ["block/output"])]


def test_calls_without_a_name_are_numbered_and_name_gives_a_path():
    n = start()
    n.all = L.Concat(mixed(n.data, 1), mixed(n.data, 2), mixed(n.data, 1, name="third"))
    names = [name for name, _, _ in wires(n)]
    assert names[::4] == ["mixed1/1x1", "mixed2/1x1", "third/1x1", "all"]


def test_numbers_leave_out_paths_that_are_taken():
    n = start()
    n.mixed1 = mixed(n.data, 1)
    n.folder2 = folder(n.data)
    n.all = L.Concat(mixed(n.data, 2), folder(n.data), folder(n.data))
    paths = [name.partition("/")[0] for name, _, _ in wires(n)]
    assert list(dict.fromkeys(paths)) == [
        "mixed1",
        "folder2",
        "mixed2",
        "folder1",
        "folder3",
        "all",
    ]


def test_name_wins_over_the_assignment():
    n = start()
    n.conv1 = conv_relu(n.data, 4, name="stem")
    assert wires(n) == [
        ("stem/Convolution1", ["data"], ["conv1"]),
        ("stem/ReLU1", ["conv1"], ["conv1"]),
    ]


def test_several_results_take_the_names_that_they_are_assigned_to():
    n = start()
    n.a, n.b = heads(n.data)
    assert wires(n) == [
        ("heads1/left", ["data"], ["a"]),
        ("heads1/Convolution1", ["data"], ["b"]),
    ]


def test_the_same_module_in_two_folders():
    n = start()
    for side in ("left", "right"):
        n[side] = NetSpec()
        n[side].mix = mixed(n.data, 2)
    names = [name for name, _, _ in wires(n)]
    assert names[0] == "left/mix/1x1"
    assert names[4] == "right/mix/1x1"


def test_a_folder_made_inside_a_module():
    @module
    def outer(x):
        def helper(x):
            f = NetSpec()
            f.mix = mixed(x, 2)
            f.relu = L.ReLU(f.mix)
            return f

        m = NetSpec()
        m.part = helper(x)
        m.output = L.ReLU(m.part.relu)
        return m.output

    n = start()
    n.o = outer(n.data)
    names = [name for name, _, _ in wires(n)]
    assert names[0] == "o/part/mix/1x1"
    assert names[-2:] == ["o/part/relu", "o/output"]


def test_what_a_module_does_not_return_belongs_to_the_net():
    @module
    def watched(x):
        y = L.Convolution(x, num_output=1, kernel_size=1, name="conv")
        L.Reduction(y, operation="ASUM", name="size")
        return L.ReLU(y, name="relu")

    n = start()
    n.w = watched(n.data)
    n.end = L.ReLU(n.w)
    assert [name for name, _, _ in wires(n)] == ["w/conv", "w/size", "w/relu", "end"]


def test_every_call_has_parameters_of_its_own():
    n = start()
    n.a = mixed(n.data, 2)
    n.b = mixed(n.data, 2)
    parameters = 2 * ((3 * 2 + 2) + (3 * 3 * 9 + 3))
    assert netspec.summarize(n).as_dict()["num_params"] == parameters


def test_tops_inside_can_be_looked_at():
    n = start()
    n.block = nested(n.data)
    assert n["block/middle/3x3"].fn.params["num_output"] == 3
    assert n["block/start"].shape == (1, 3, 8, 8)
    with pytest.raises(SpecError, match="block/midle"):
        n["block/midle/3x3"]


def test_signature_and_docstring_stay():
    assert mixed.__doc__ == "Two ways, side by side."
    assert mixed.__name__ == "mixed"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: mixed(x), "missing a required argument: 'narrow'"),
        (lambda x: mixed(x, narow=2), "'narow'; did you mean 'narrow'"),
        (lambda x: mixed(x, 1, 2, 3), "too many positional arguments"),
        (lambda x: mixed(x, 1, name=3), "name is 3"),
        (lambda x: module(lambda y: None)(x), "returns None"),
        (lambda x: module(lambda y: (y, 3))(x), "returns 3"),
    ],
)
def test_wrong_calls_are_refused_where_they_are_written(call, words):
    n = start()
    with pytest.raises(SpecError, match=words) as caught:
        call(n.data)
    assert "test_modules.py:" in str(caught.value)


def test_two_modules_of_one_name_are_refused():
    n = start()
    n.both = L.Concat(mixed(n.data, 1, name="m"), mixed(n.data, 1, name="m"))
    with pytest.raises(SpecError, match="m/1x1"):
        n.to_proto()


def test_an_error_inside_leaves_no_module_open():
    @module
    def broken(x):
        raise ValueError("broken")

    n = start()
    with pytest.raises(ValueError, match="broken"):
        broken(n.data)
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=1)
    assert wires(n) == [("conv", ["data"], ["conv"])]


def test_specs_with_modules_are_copied_and_pickled():
    n = start()
    n.block = nested(n.data)
    assert pickle.loads(pickle.dumps(n)).to_proto() == n.to_proto()
    assert copy.copy(n).to_proto() == n.to_proto()


def test_a_thousand_modules_in_a_row():
    n = start()
    x = n.data
    for index in range(1000):
        x = n[f"m{index}"] = mixed(x, 2)
    assert len(n.to_proto().layer) == 4001
    assert len(pickle.loads(pickle.dumps(n)).to_proto().layer) == 4001


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_module_is_a_prefix(data):
    """Any net written flat, and the same as a module: names differ by the path only."""
    steps = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["conv", "relu", "sum"]), st.integers(0, 9)),
            min_size=1,
            max_size=8,
        )
    )

    def body(x, naming):
        tops = [x]
        for index, (kind, place) in enumerate(steps):
            bottom = tops[place % len(tops)]
            if kind == "conv":
                top = L.Convolution(
                    bottom, num_output=3, kernel_size=1, **naming(index)
                )
            elif kind == "relu":
                top = L.ReLU(bottom, **naming(index))
            else:
                top = L.Eltwise(bottom, tops[-1], **naming(index))
            tops.append(top)
        return tops

    flat = start()
    for index, top in enumerate(body(flat.data, lambda _: {})[1:]):
        flat[f"l{index}"] = top
    inside = start()
    named = module(lambda x: body(x, lambda index: {"name": f"l{index}"})[-1])
    inside.m = named(inside.data)
    wanted = flat.to_proto()
    for layer in wanted.layer[1:]:
        layer.name = f"m/{layer.name}"
        for names in (layer.bottom, layer.top):
            names[:] = [name if name == "data" else f"m/{name}" for name in names]
    assert inside.to_proto() == wanted
