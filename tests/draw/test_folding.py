"""Folds: blocks of residual nets, and steps of recurrent nets, in a row are one."""

import pytest

from netspec import NetSpec, module, shared
from netspec import layers as L
from netspec.draw import draw, draw_dot
from netspec.draw.lines import drawn_boxes, wires
from netspec.draw.scene import Scene, View
from tests.draw.nets import INPUT, layer, random_rows, texts


@module
def block(x, width=4):
    m = NetSpec()
    m.conv = L.Convolution(x, num_output=width, kernel_size=3, pad=1)
    m.sum = L.Eltwise(x, m.conv)
    return m.sum


def residual(count, end=True):
    n = NetSpec()
    n.data = x = L.Input(shape=[2, 4, 9, 8])
    for number in range(count):
        n[f"b{number}"] = x = block(x)
    if end:
        n.score = L.InnerProduct(x, num_output=3)
    return n


def folds(net, **view):
    root = Scene(net, View(**view)).root
    return [(each.name, len(each.children)) for each in root.seen() if each.is_fold]


@pytest.mark.parametrize("end", [True, False])
def test_residual_blocks_fold_to_the_last(end):
    # Each is read twice by the next; the last is read once, or by nothing.
    assert folds(residual(4, end)) == [("b0 … b3", 4)]
    assert folds(residual(2, end)) == []


def test_a_block_of_another_width_ends_a_row():
    n = NetSpec()
    n.data = x = L.Input(shape=[2, 4, 9, 8])
    for number, kernel in enumerate([3, 3, 3, 5, 5, 5, 5]):
        m = NetSpec()
        m.conv = L.Convolution(x, num_output=4, kernel_size=kernel, pad=kernel // 2)
        m.output = L.Eltwise(x, m.conv)
        n[f"b{number}"] = m
        x = m.output
    assert folds(n) == [("b0 … b2", 3), ("b3 … b6", 4)]


def test_a_block_that_something_else_reads_ends_a_row():
    text = INPUT
    below = "x"
    for number in range(6):
        text += layer(f"b{number}/a", [below]) + layer(f"b{number}/c", [f"b{number}/a"])
        below = f"b{number}/c"
    assert folds(text) == [("b0 … b5", 6)]
    assert folds(text + layer("side", ["b2/c"], "AbsVal")) == [
        ("b0 … b2", 3),
        ("b3 … b5", 3),
    ]


def recurrent(steps=5, shape=(1, 2, 6)):
    """Steps that read each their own part, one mask, and the state before."""

    @module
    def step(x, mask, h):
        m = NetSpec()
        m.kept = L.Eltwise(h, mask, operation="PROD")
        m.up = L.InnerProduct(m.kept, num_output=6, axis=2)
        m.sum = L.Eltwise(m.up, x)
        m.h = L.TanH(m.sum)
        return m

    n = NetSpec()
    n.x = L.Input(shape=[steps, *shape[1:]])
    n.mask, n.start = L.Input(shape=[list(shape)] * 2, ntop=2)
    parts = L.Slice(n.x, axis=0, ntop=steps, name="parts")
    go, h, states = shared(step), n.start, []
    for number, part in enumerate(parts):
        n[f"x{number}"] = part
        n[f"step{number}"] = m = go(part, n.mask, h)
        h = m.h
        states.append(h)
    n.states = L.Concat(*states, axis=0)
    return n


def test_steps_with_parts_of_one_layer_fold_with_a_line_for_each_kind():
    scene = Scene(recurrent(), View())
    assert folds(recurrent()) == [("step0 … step4", 5)]
    names = [box.name for box in scene.picture.boxes]
    lines = {
        (names[wire.source], names[box])
        for wire in wires(scene.root, scene.picture)
        for box in wire.targets
    }
    assert ("parts", "step0/sum") in lines
    assert ("step0/h", "states") in lines
    assert not any("step1" in name for line in lines for name in line)
    svg = draw(recurrent())
    assert {"×5", "step0 … step4"} < set(texts(svg))


def test_open_folds_have_the_lines_of_the_first():
    text = draw_dot(recurrent(), depth=1)
    assert "×5" in text
    assert "step1" not in text
    assert texts(draw(recurrent(), depth=1)).count("sum") == 1


def test_steps_whose_states_are_not_all_read_do_not_fold_with_the_others():
    n = recurrent(6)
    del n.states
    tops = [n[f"step{number}"].h for number in (0, 1, 2, 3)]
    n.states = L.Concat(*tops, axis=0)
    n.last = L.Silence(n["step5"].h)
    assert folds(n) == [("step0 … step3", 4)]


def test_parallel_modules_are_no_row():
    text = INPUT + "".join(
        layer(f"b{k}/a", ["x"]) + layer(f"b{k}/c", [f"b{k}/a"]) for k in range(4)
    )
    assert folds(text + layer("sum", [f"b{k}/c" for k in range(4)], "Eltwise")) == []


def test_first_steps_of_known_shape_fold_with_those_of_unknown_shape():
    from netspec.commands.model_files import load_model
    from tests.test_architecture import ROOT

    assert folds(load_model(ROOT / "models" / "unrolled_rnn.py")) == [
        ("step0 … step19", 20)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_lines_of_folded_nets_lead_on_between_what_is_drawn(seed):
    scene = Scene(random_rows(seed), View())
    drawn = drawn_boxes(scene.root, scene.picture)
    assert all(drawn[box] == box for box in drawn)
    for wire in wires(scene.root, scene.picture):
        ends = (wire.source, *wire.targets)
        assert all(drawn[box] == box for box in ends)
    folded = []
    for each in (scene.root, *scene.root.seen()):
        for line in each.lines:
            assert all(line.source < target for target in line.targets)
        if each.is_fold:
            folded.append({drawn[box] for box in each.boxes()})
            assert each.entries == each.shown.entries
            assert each.exits == each.shown.exits
    # Every line is there once the folds are undone, but for those from step to step.
    plain = Scene(random_rows(seed), View(fold=False))
    pairs = {
        (drawn[blob.net.source], drawn[box])
        for blob in plain.picture.blobs
        for box in blob.net.targets
    }
    kept = {
        (wire.source, box)
        for wire in wires(scene.root, scene.picture)
        for box in wire.targets
    }
    assert kept <= pairs
    for pair in pairs - kept:
        assert any({*pair} <= boxes for boxes in folded)
