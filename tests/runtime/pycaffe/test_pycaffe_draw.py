"""caffe.draw: any net, in any phase, with the arguments that scripts give."""

import importlib.util

import pytest
from google.protobuf import text_format

import runtime.pycaffe as caffe
from netspec.errors import MachineError, SpecError, SpecWarning
from tests.runtime.pycaffe.test_pycaffe import NET

STAGES = """
name: "staged"
layer { name: "a" type: "DummyData" top: "data" include { phase: TRAIN }
  dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "b" type: "DummyData" top: "data" include { phase: TEST stage: "day" }
  dummy_data_param { shape { dim: 4 dim: 5 } } }
layer { name: "c" type: "DummyData" top: "data" include { phase: TEST stage: "night" }
  dummy_data_param { shape { dim: 6 dim: 7 } } }
layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }
"""


def message(text):
    net = caffe.proto.caffe_pb2.NetParameter()
    text_format.Merge(text, net)
    return net


def svg(net, *arguments, **options):
    return caffe.draw.draw_net(net, "LR", "svg", *arguments, **options).decode()


def test_a_net_that_needs_a_stage_is_drawn_without_a_warning():
    whole = svg(message(STAGES))
    assert all(f">{name}<" in whole for name in "abc")
    assert "✗" not in whole
    test = svg(message(STAGES), caffe.TEST)
    assert ">staged (TEST, stage day)<" in test
    assert "4×5" in test
    assert "6×7" not in test
    assert ">staged (TRAIN)<" in svg(message(STAGES), caffe.TRAIN)


def test_a_net_that_cannot_be_is_drawn_with_a_warning(tmp_path):
    net = message(STAGES.replace('bottom: "data"', 'bottom: "date"'))
    with pytest.warns(SpecWarning, match="drawn as it is: .*'flat' .*'date'"):
        assert "✗" in svg(net)
    with pytest.warns(SpecWarning, match="drawn as it is: "):
        caffe.draw.draw_net_to_file(net, str(tmp_path / "net.svg"))
    assert (tmp_path / "net.svg").is_file()


def test_rates_are_shown_where_they_are_asked_for(tmp_path):
    text = NET.replace(
        'top: "conv"\n', 'top: "conv" param { lr_mult: 2 } param { lr_mult: 0.5 }\n', 1
    )
    assert "lr_mult" not in svg(message(text))
    shown = svg(message(text), display_lrm=True)
    assert "lr_mult 2, 0.5<" in shown
    assert "lr_mult 1<" in shown  # of the InnerProduct, which says nothing
    assert shown.count("lr_mult") == 2 + 2  # and in what shows when pointed at
    path = tmp_path / "net.dot"
    caffe.draw.draw_net_to_file(message(text), str(path), "LR", None, True)
    assert "lr_mult 2, 0.5" in path.read_text()


def test_a_net_that_was_built_is_drawn_too():
    assert ">small (TEST)<" in svg(caffe.Net(NET, caffe.TEST))


def test_a_graph_of_pydot_is_written_in_its_ways(tmp_path):
    graph = caffe.draw.get_pydot_graph(message(NET), "TB")
    assert graph.to_string().startswith("digraph")
    assert b"<svg" in graph.create_svg()
    assert graph.create(format="dot").decode() == graph.to_string()
    graph.write(tmp_path / "a.svg")
    graph.write_svg(tmp_path / "b")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b").read_bytes()
    assert "4×3×5×6" in graph.create_svg().decode()
    bare = caffe.draw.get_pydot_graph(message(NET), "TB", label_edges=False)
    assert "4×3×5×6" not in bare.create_svg().decode()
    with pytest.raises(SpecError, match="a drawing's name must end in"):
        graph.create_jpeg()
    with pytest.raises(AttributeError, match="a drawing has no 'no_such'"):
        graph.no_such  # noqa: B018


def test_without_a_renderer_the_bytes_are_svg_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.warns(
        RuntimeWarning, match="the drawing is SVG, not PNG: a .png needs"
    ):
        assert b"<svg" in caffe.draw.draw_net(message(NET), "LR")
    with pytest.raises(MachineError, match="a .png needs resvg-py"):
        caffe.draw.draw_net_to_file(message(NET), str(tmp_path / "net.png"))
    with pytest.raises(MachineError, match="a .pdf needs CairoSVG"):
        caffe.draw.draw_net(message(NET), "LR", "pdf")


@pytest.mark.skipif(
    importlib.util.find_spec("resvg_py") is None, reason="resvg-py is not installed"
)
def test_pixels_are_drawn_by_a_wheel():
    data = caffe.draw.draw_net(message(NET), "LR")
    assert data.startswith(b"\x89PNG\r\n")
    narrow = caffe.draw.draw_net(message(NET), "TB")
    sizes = [int.from_bytes(each[16:20]) for each in (data, narrow)]
    assert sizes[0] > sizes[1] > 100
