"""The modules of nets whose names have slashes, or hint at them."""

import netspec
from netspec.nets.current import current
from netspec.nets.module_paths import known_paths, module_paths
from netspec.text import as_net
from tests.draw.nets import INPUT, layer


def paths(text, known=None):
    return module_paths(current(text).layer, known)


def in_place(name, blob, kind="ReLU"):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" top: "{blob}" }}'


def block(name, below):
    """A block as published residual nets name it."""
    text = ""
    last = below
    for letter in "abc":
        last, before = f"res{name}_branch2{letter}", last
        text += layer(last, [before]) + in_place(f"bn{name}_branch2{letter}", last)
    text += layer(f"res{name}", [below, last], "Eltwise")
    return text + in_place(f"res{name}_relu", f"res{name}")


def test_a_slash_is_a_module_and_layers_in_place_go_where_theirs_is():
    text = INPUT + layer("m/a", ["x"]) + in_place("m/a/bn", "m/a")
    text += in_place("relu_m/a", "m/a") + layer("/odd", ["m/a"])
    text += in_place("n/b", "/odd")
    found = {"m/a": "m", "m/a/bn": "m/a", "relu_m/a": "m", "/odd": "", "input": ""}
    assert paths(text) == {**found, "n/b": "n"}


def test_equal_blocks_are_found_by_the_beginnings_of_names():
    found = paths(
        INPUT + block("2a", "x") + block("2b", "res2a") + layer("e", ["res2b"])
    )
    assert (
        found["res2a_branch2b"] == found["res2a"] == found["bn2a_branch2c"] == "res2a"
    )
    assert found["res2b_relu"] == "res2b"
    assert found["e"] == ""


def test_one_block_alone_is_none():
    assert set(paths(INPUT + block("2a", "x")).values()) == {""}


def test_what_lies_between_is_inside_whatever_its_name():
    def block(name, below):
        return (
            layer(f"{name}_in", [below])
            + layer(f"shuffle_of_{name}", [f"{name}_in"])
            + layer(f"{name}_up", [f"shuffle_of_{name}"])
            + layer(f"{name}_out", [f"{name}_up", below], "Eltwise")
        )

    text = INPUT + block("x1", "x") + block("x2", "x1_out")
    assert paths(text)["shuffle_of_x1"] == "x1"
    watched = text + layer("side", ["shuffle_of_x1"])
    assert paths(watched)["shuffle_of_x1"] == ""
    assert paths(watched)["shuffle_of_x2"] == "x2"


def test_numbers_alone_and_towers_that_do_not_touch_are_no_modules():
    numbers = INPUT + "".join(
        layer(
            f"conv{k}_{i}",
            ["x" if (k, i) == (1, 1) else f"conv{k - (i == 1)}_{i - 1 or 3}"],
        )
        for k in (1, 2)
        for i in (1, 2, 3)
    )
    assert set(paths(numbers).values()) == {""}
    towers = INPUT + "".join(
        layer(f"conv{k}_{side}", [f"conv{k - 1}_{side}" if k > 1 else "x"])
        for k in (1, 2)
        for side in ("left", "mid", "right")
    )
    assert set(paths(towers).values()) == {""}


def test_modules_lie_in_modules_but_a_row_of_them_is_none():
    text, below = INPUT, "x"
    for stage, blocks in (("s1", "ab"), ("s2", "abc")):
        for name in blocks:
            start = f"{stage}_{name}"
            text += layer(f"{start}_up", [below]) + layer(
                f"{start}_act", [f"{start}_up"]
            )
            text += layer(f"{start}_head_p", [f"{start}_act"])
            text += layer(f"{start}_head_q", [f"{start}_head_p"])
            text += layer(f"{start}_head", [f"{start}_head_q"])
            below = f"{start}_act"
    found = paths(text)
    assert found["s1_a_up"] == "s1_a"
    assert found["s2_c_head"] == found["s2_c_head_p"] == "s2_c/head"
    assert "s1" not in found.values()


def test_what_a_spec_tells_goes_first():
    text = INPUT + block("2a", "x") + block("2b", "res2a")
    found = paths(text, {"res2a_branch2a": "stem", "res2a_relu": "tail/end"})
    assert found["res2a_branch2a"] == found["bn2a_branch2a"] == "stem"
    assert found["res2a_relu"] == "tail/end"
    assert found["res2a"] == ""  # it is like no other block any more


def test_splits_of_a_graph_change_nothing():
    text = INPUT + block("2a", "x") + block("2b", "res2a")
    layers = netspec.graph.insert_splits(current(text)).layer
    assert any(each.type == "Split" for each in layers)
    found = module_paths(layers)
    assert {name: found[name] for name in paths(text)} == paths(text)


def test_other_nets_tell_no_paths():
    assert known_paths(as_net(INPUT)) == {}
    assert known_paths(INPUT) == {}
