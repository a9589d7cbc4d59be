"""Drawings: every layer and shape is in them, and they are well-formed."""

import re
import subprocess
import sys
import types

import pytest

from netspec import NetSpec
from netspec import layers as L
from netspec.draw import draw, draw_dot, write_drawing
from netspec.draw.__main__ import main
from netspec.errors import FileError, MachineError, SpecError
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TRAIN
from netspec.text import as_net, write_message
from tests.draw.nets import NET, texts
from tests.patience import PATIENCE_S


def arrows(svg):
    return sum(path.count("Z") for path in re.findall('class="arrow" d="(.*?)"', svg))


def test_every_layer_is_named_and_described():
    found = texts(draw(NET, phase="TEST"))
    for line in (
        "small & <odd> (TEST)",
        "conv",
        "Convolution 3×5, stride 2, pad 1 → 6  ⇄ w",
        "relu · ReLU",
        "Eltwise MAX",
        "InnerProduct → 4",
        "SoftmaxWithLoss weight 0.25",
        "Data test_lmdb",
    ):
        assert line in found


def test_shapes_stand_at_the_lines():
    found = texts(draw(NET, phase="TRAIN"))
    assert {"data 7×3×12×12", "label 7"} < set(found)
    assert found.count("7×6×6×5") == 3  # conv, twin, sum
    assert "data 5×3×12×12" not in found
    assert "data 5×3×12×12" in texts(draw(NET, phase="TEST"))


def test_a_layer_in_place_is_stacked_and_not_linked():
    without = re.sub(r"layer \{ name: \"relu\".*\n", "", NET)
    assert without != NET
    assert arrows(draw(NET, phase="TEST")) == arrows(draw(without, phase="TEST"))
    assert "relu · ReLU" in texts(draw(NET, phase="TEST"))


def test_both_phases_are_drawn_with_badges_by_default():
    found = texts(draw(NET))
    assert found.count("TRAIN") == 1
    assert found.count("TEST") == 2  # the data layer and the accuracy
    assert found.count("data") == 2
    assert "accuracy" not in texts(draw(NET, phase="TRAIN"))


def test_lines_lead_from_each_blob_to_each_reader():
    # data: conv and twin; conv, twin: sum; sum: ip; ip, label: loss and accuracy.
    assert arrows(draw(NET, phase="TEST")) == 2 + 2 + 1 + 4
    assert arrows(draw(NET, phase="TRAIN")) == 2 + 2 + 1 + 2


def test_a_graph_draws_like_its_file_without_split_layers():
    graph = build(as_net(NET), State(phase=TRAIN))
    assert any(node.type == "Split" for node in graph.nodes)
    assert draw(graph) == draw(NET, phase="TRAIN")


def test_a_drawing_is_the_same_every_time():
    assert draw(NET) == draw(NET)


def test_sideways_exchanges_width_and_height():
    size = [
        [float(v) for v in re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups()]
        for svg in (draw(NET, rankdir="TB"), draw(NET, rankdir="LR"))
    ]
    assert size[1][0] > 1.5 * size[0][0]
    assert size[1][1] < size[0][1]


def test_modules_are_panels():
    text = "".join(
        f'layer {{ name: "{name}" type: "TanH" bottom: "{bottom}" top: "{name}" }}'
        for bottom, name in [("x", "a/1"), ("a/1", "a/2"), ("a/2", "a/3"), ("a/3", "b")]
    )
    text += 'input: "x" input_shape { dim: 2 dim: 3 }'
    closed, opened = draw(text), draw(text, depth=1)
    assert "3 layers" in texts(closed)
    assert 'class="m m0"' not in closed
    assert opened.count('class="m m0"') == 1
    assert {"a", "1", "2", "3", "b"} <= set(texts(opened))
    assert draw(text, opened=["a"]) == opened
    with pytest.raises(SpecError, match="no module has the path 'c'; these are a"):
        draw(text, opened=["c"])


def test_a_message_lists_some_of_many_modules():
    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    for index in range(12):
        n[f"m{index}/a"] = L.ReLU(n.x)
        n[f"m{index}/b"] = L.TanH(n[f"m{index}/a"])
    with pytest.raises(SpecError, match=r"these are m0, .*, m9, \.\.\.$"):
        draw(n, opened=["zzz"])


def test_equal_modules_in_a_row_are_folded():
    text = 'input: "x" input_shape { dim: 2 dim: 3 }'
    below = "x"
    for number in range(4):
        for name in ("relu", "tanh"):
            top = f"m{number}/{name}"
            kind = {"relu": "ReLU", "tanh": "TanH"}[name]
            text += (
                f'layer {{ name: "{top}" type: "{kind}" bottom: "{below}" '
                f'top: "{top}" }}'
            )
            below = top
    text += f'layer {{ name: "end" type: "BNLL" bottom: "{below}" top: "end" }}'
    assert "×4" in texts(draw(text))
    assert "m0 … m3  ×4" in texts(draw(text, depth=1))
    assert "×4" not in texts(draw(text, fold=False))


def test_a_net_that_does_not_check_is_drawn_with_the_mistake_in_red(tmp_path):
    text = NET.replace("kernel_h: 3", "kernel_h: 30")
    path = tmp_path / "net.svg"
    with pytest.raises(SpecError, match="kernel covers"):
        write_drawing(path, text)
    svg = path.read_text()
    assert "b-wrong" in svg
    assert any("kernel covers" in line for line in texts(svg))
    source = tmp_path / "net.prototxt"
    source.write_text(text)
    path.unlink()
    assert main([str(source), "-o", str(path)]) == 1
    assert "b-wrong" in path.read_text()


def test_a_net_whose_shapes_are_unknown_is_drawn_without_them():
    text = NET.replace("crop_size: 12", "")
    found = texts(draw(text))
    assert "conv" in found
    assert not [line for line in found if re.fullmatch(r"[\d×]+", line)]


def test_shapes_that_a_file_would_tell_can_be_given():
    text = NET.replace("crop_size: 12", "")
    given = {"data": (7, 3, 11, 9), "label": (7,)}
    found = texts(draw(text, phase="TRAIN", shapes=given))
    assert "data 7×3×11×9" in found
    assert found.count("7×6×6×4") == 3


def test_a_shape_for_no_data_layer_is_refused():
    with pytest.raises(SpecError, match="dota"):
        draw(NET, shapes={"dota": (7, 3, 11, 9)})


def test_dot_names_boxes_lines_and_shapes():
    dot = draw_dot(NET, phase="TRAIN", rankdir="LR")
    assert 'label="small & <odd> (TRAIN)"' in dot
    assert "rankdir=LR" in dot
    assert 'label="7×6×6×5"' in dot
    assert dot.count(" -> ") == 2 + 2 + 1 + 2
    assert r"conv: Convolution 3×5, stride 2, pad 1 → 6  ⇄ w\nrelu: ReLU" in dot


def test_a_blob_without_axes_is_called_a_scalar_everywhere():
    text = NET + 'layer { name: "half" type: "Power" bottom: "loss" top: "half" }'
    assert texts(draw(text, phase="TRAIN")).count("scalar") == 2  # loss, half
    assert draw_dot(text, phase="TRAIN").count('label="scalar"') == 1  # loss to half


def test_dot_escapes_quotes_and_backslashes():
    text = r"""input: "x" input_shape { dim: 2 dim: 3 }
    layer { name: 'say "\\hi"' type: "TanH" bottom: "x" top: "y" }"""
    assert r"say \"\\hi\"" in draw_dot(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "trian"}, "phase is 'TRIAN'; expected one of TRAIN, TEST, ALL"),
        ({"rankdir": "BT"}, "rankdir is 'BT'; expected one of TB, LR"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        draw(NET, **options)


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"must end in .svg, .html, .dot, .png or .pdf"):
        write_drawing(tmp_path / "net.jpeg", NET)


def test_pixels_without_a_renderer_are_an_error_that_says_what_helps(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(
        MachineError, match="a .png needs resvg-py .*CairoSVG.* or rsvg"
    ):
        write_drawing(tmp_path / "net.png", NET)
    with pytest.raises(
        MachineError, match="a .pdf needs CairoSVG.*write a .svg instea"
    ):
        write_drawing(tmp_path / "net.pdf", NET)


def test_an_unwritable_file_is_an_error(tmp_path):
    with pytest.raises(FileError, match="net.svg: cannot be written"):
        write_drawing(tmp_path / "missing" / "net.svg", NET)


def test_only_the_weights_of_files_are_dropped(tmp_path, monkeypatch):
    net = as_net(NET)
    net.layer[2].blobs.add(data=[1, 2])
    path = tmp_path / "net.caffemodel"
    write_message(path, net)
    dropped = []
    monkeypatch.setattr("netspec.nets.current.drop_values", dropped.append)
    assert draw(net) == draw(path)
    net.layer[2].blobs[0].ClearField("data")
    assert dropped == [net]  # what was read, not the caller's
    assert dropped[0] is not net


def test_drawing_loads_no_numpy():
    code = "import netspec.draw, sys; sys.exit('numpy' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, timeout=PATIENCE_S
        ).returncode
        == 0
    )


def test_a_renderer_without_fonts_is_an_error(tmp_path, monkeypatch):
    fake = types.ModuleType("resvg_py")
    fake.svg_to_bytes = lambda svg, zoom=1.0: b"the same"
    monkeypatch.setitem(sys.modules, "resvg_py", fake)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "cairosvg" else name
    )
    with pytest.raises(MachineError, match="needs a font, and resvg-py finds none"):
        write_drawing(tmp_path / "net.png", NET)
    fake.svg_to_bytes = lambda svg, zoom=0.0: f"{zoom} {len(svg) > 500} {svg}".encode()
    write_drawing(tmp_path / "net.png", NET)
    assert (tmp_path / "net.png").read_bytes().startswith(b"2.0 True <svg")
