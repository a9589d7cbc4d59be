"""Light and dark drawings, many in one page, and a page in a notebook."""

import html
import re
import xml.etree.ElementTree as ET

import pytest

import netspec.draw
from netspec.draw import draw, draw_html, page
from netspec.draw.__main__ import main
from netspec.draw.colours import COLOURS
from netspec.draw.scene import Scene, View
from netspec.errors import SpecError
from tests.draw.nets import NET

LIGHT, DARK = "fill:#cfe2fb", "fill:#1c3558"  # of convolutions


def test_a_drawing_is_as_the_page_around_it_wants():
    svg = draw(NET)
    media = svg[svg.index("@media (prefers-color-scheme:dark){") :]
    assert DARK in media
    assert LIGHT in svg
    assert '[data-jp-theme-light="false"]' in html.unescape(svg)


@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_a_theme_can_be_chosen(theme, dark):
    for written in (draw(NET, theme=theme), draw_html(NET, theme=theme)):
        assert f"netspec-{theme}" in written
        assert (DARK in written) == dark
    assert "@media" not in draw(NET, theme=theme)
    with pytest.raises(SpecError, match=r"theme is 'blue'; expected .* light, dark"):
        draw(NET, theme="blue")


def test_the_command_takes_a_theme(tmp_path):
    path, net = tmp_path / "net.svg", tmp_path / "net.prototxt"
    net.write_text(NET)
    assert main([str(net), "--theme", "dark", "-o", str(path)]) == 0
    assert "netspec-dark" in path.read_text()


def test_every_family_has_colours_in_both_themes():
    from netspec.draw import colours

    assert colours._DARK_COLOURS.keys() == COLOURS.keys()
    assert colours._DARK_INK.keys() == colours._INK.keys()


def test_what_renders_an_image_gets_a_light_drawing(tmp_path, monkeypatch):
    from netspec.draw import output

    seen = []
    monkeypatch.setattr(output, "_rendered", lambda svg, kind: seen.append(svg) or b"x")
    netspec.draw.write_drawing(tmp_path / "net.png", NET, theme="dark")
    assert b"netspec-light" in seen[0]
    assert b"@media" not in seen[0]


def test_drawings_in_one_page_share_no_ids_and_fit_its_width():
    root = ET.fromstring(draw(NET, depth=1))
    assert [node for node in root.iter() if "id" in node.attrib] == []
    assert "url(#" not in draw(NET)
    assert "max-width:100%" in root.attrib["style"]


def test_a_page_shows_itself_in_a_frame():
    shown = page(NET, height=480, theme="dark")
    pattern = r'<iframe .* srcdoc="(.*?)" style="(.*?)"></iframe>'
    frame = re.fullmatch(pattern, shown._repr_html_(), re.DOTALL)
    assert html.unescape(frame[1]) == draw_html(NET, theme="dark") == shown.html
    assert "height:480px" in frame[2]
    assert 'sandbox="allow-scripts"' in frame[0]
    assert "small & <odd>" in repr(shown)
    with pytest.raises(SpecError, match="height is 0; expected a number of pixels"):
        page(NET, height=0)


def test_the_legend_of_a_page_stands_below_the_drawing():
    text = draw_html(NET)
    assert text.index("</main>") < text.index('<footer id="legend">')
    assert 'class="f-data b b-data"' in text


def only_train():
    """A net with data in phase TRAIN alone, and a layer of phase TEST."""
    parts = NET.split("layer {")
    return "layer {".join([parts[0], *parts[1:2], *parts[3:]])


def test_a_net_with_data_in_one_phase_is_drawn_in_that_one():
    scene = Scene(only_train(), View())
    assert scene.error is None
    assert scene.picture.title == "small & <odd> (TRAIN, the only phase with data)"
    names = [row.name for box in scene.picture.boxes for row in box.rows]
    assert "conv" in names
    assert "accuracy" not in names  # it is of the other phase


def test_mistakes_name_the_phase_whose_rules_leave_the_data_out():
    told = (
        r"bottom 0 \('data'\) is not the top of an earlier layer in phase TEST: layer "
        r"'data' \(Data\) makes it, but its rules leave it out there "
        r"\(include \{ phase: TRAIN \}\)"
    )
    scene = Scene(only_train(), View(phase="TEST"))
    with pytest.raises(SpecError, match=told):
        raise scene.error
    with pytest.raises(SpecError, match=told):
        netspec.summarize(only_train())


def test_a_phase_with_data_at_a_stage_is_drawn_too():
    text = NET.replace("include { phase: TEST }", 'include { phase: TEST stage: "s" }')
    scene = Scene(text, View())
    assert scene.error is None
    assert {row.phase for box in scene.picture.boxes for row in box.rows} == {
        *("TRAIN", "TEST", "")
    }


def test_lines_of_data_say_which_blob_they_are():
    bare = NET.replace("crop_size: 12", "")  # so that only the file tells their shape
    assert {">data<", ">label<"} < set(re.findall(">[a-z]+<", draw(bare, phase="TEST")))
    assert ">label<" not in draw(bare, phase="TEST", captions=False)
