"""Drawings of nets with layers that cannot be read."""

import json
import re

import pytest

from netspec.draw.__main__ import main
from netspec.draw.colours import COLOURS
from netspec.draw.scene import draw, draw_dot, draw_html
from netspec.errors import SpecError
from tests.graph.test_opaque import DATA, conv, layer

pytestmark = pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")
GADGET = "gadget_param { size: 3 warp: UP } mystery: 7"
NET = (
    DATA
    + conv("stem", "data")
    + layer("wave", "Gizmo", "stem", "stem")
    + layer("m/g", "Gadget", "stem", "g h", GADGET)
    + conv("m/c", "g")
    + layer("out", "GizmoLoss", "m/c h", "out", "loss_weight: 2")
)


def test_an_unknown_layer_is_a_box_with_its_fields():
    text = draw_dot(NET, depth=1)
    assert "Gadget unknown type, gadget_param { size: 3 warp: UP }, mystery: 7" in text
    fill, border = COLOURS["unknown"]
    (line,) = [line for line in text.splitlines() if "g: Gadget" in line]
    assert f'fillcolor="{fill}", color="{border}"' in line
    assert "out: GizmoLoss unknown type, weight 2" in text
    assert "wave: Gizmo unknown type" in text  # a row of the box that it changes


def test_lines_have_the_shapes_that_are_known():
    text = draw_dot(NET, depth=1)
    assert text.count('[label="2×4×6×7"]') == 1
    (below,) = re.findall(r"n2 -> n3(.*);", text)
    assert below == ' [label="g"]'  # its name alone
    text = draw_dot(NET, depth=1, shapes={"g": (2, 5, 9, 9), "h": (1, 6)})
    assert '[label="g 2×5×9×9"]' in text
    assert '[label="2×4×7×7"]' in text
    assert '[label="h 1×6"]' in text


def test_svg_and_page_show_it_too():
    svg = draw(NET, depth=1)
    assert "f-unknown" in svg
    assert "unknown type, gadget_param { size: 3 warp: UP }" in svg
    assert "parameters" in draw(NET)
    assert "? parameters" in draw(NET)
    page = draw_html(NET)
    (content,) = re.findall(r'"boxes":(\[.*?\]\]),"around"', page)
    (gadget,) = [
        row for box in json.loads(content) for row in box if row["type"] == "Gadget"
    ]
    assert gadget["params"] == ["?"]
    assert gadget["tops"] == [["g", ""], ["h", ""]]
    assert "gadget_param" in gadget["text"]
    assert "mystery: 7" in gadget["text"]


@pytest.mark.parametrize("suffix", ["svg", "html", "dot"])
def test_the_command_draws_it_without_complaint(tmp_path, suffix):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    out = tmp_path / f"net.{suffix}"
    with pytest.warns(match="mystery"):
        status = main(
            [str(path), "-o", str(out), "--shape", "g=2,5,9,9", "--depth", "1"]
        )
    assert status == 0
    assert "Gadget" in out.read_text()


def test_a_slip_of_a_known_type_says_so():
    text = draw_dot(DATA + layer("c", "convolution", "data"))
    assert "c: convolution unknown type, did you mean 'Convolution'?" in text


def test_long_fields_are_cut_and_many_are_left_out():
    many = " ".join(f"field{i}: {i}" for i in range(9))
    text = draw_dot(DATA + layer("g", "Gizmo", "data", extra=many))
    assert "field0: 0, field1: 1" in text
    assert "field2" not in text
    long = f'note: "{"x" * 500}"'
    text = draw_dot(DATA + layer("g", "Gizmo", "data", extra=long))
    assert "x" * 100 not in text
    assert "G" * 100 not in draw_dot(DATA + layer("g", "G" * 500, "data"))


def test_what_is_wrong_beside_it_is_still_red():
    wrong = NET + layer("p", "Pooling", "stem stem", "p")
    assert "✗" in draw_dot(wrong)
    with pytest.raises(SpecError, match="is no blob of this net"):
        draw(NET, shapes={"nothing": (1,)})
    said = draw_dot(NET, shapes={"m/c": (1, 2)})
    assert "✗" not in said  # nothing tells that it is wrong
    whole = {"g": (2, 5, 9, 9), "h": (1,), "out": (), "m/c": (1, 2)}
    assert "✗" in draw_dot(NET, shapes=whole)
