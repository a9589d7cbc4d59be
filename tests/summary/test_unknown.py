"""Summaries of nets with layers that cannot be read."""

import json

import pytest

from netspec.schema import NetParameter
from netspec.summary import summarize
from netspec.summary.__main__ import main
from tests.graph.test_opaque import DATA, conv, layer

NET = (
    'name: "odd" '
    + DATA
    + conv("stem", "data")
    + layer("wave", "Gizmo", "stem", "stem")
    + layer("mod/g", "Gizmo", "stem", extra='param { lr_mult: 2 } param { name: "w" }')
    + conv("mod/c", "mod/g")
    + layer("mod/relu", "ReLU", "mod/c", "mod/c")
    + conv("side", "stem")
)
STEM = 4 * 3 * 9 + 4
SIDE = 4 * 4 * 9 + 4


def rows(summary):
    return {row.name: row for row in summary.rows}


def test_what_is_known_is_counted_and_what_is_not_is_none():
    summary = summarize(NET)
    found = rows(summary)
    assert found["stem"].num_params == STEM
    assert found["side"].tops == {"side": (2, 4, 4, 5)}
    assert found["mod/g"].tops == {"mod/g": None}
    assert found["mod/g"].num_params is None
    assert found["mod/g"].macs is None
    assert found["mod/g"].activation_bytes is None
    assert found["mod/c"].num_params is None
    assert found["mod/c"].macs is None
    assert found["mod/relu"].num_params == 0  # whatever it reads
    assert found["mod/relu"].tops == {"mod/c": None}
    assert found["wave"].tops == {"stem": (2, 4, 6, 7)}
    assert summary.num_params == STEM + SIDE
    assert summary.memory == {}
    assert summary.outputs == ("mod/c", "side")
    assert summary.inputs == ("data",)


def test_the_table_says_what_it_does_not_count():
    text = str(summarize(NET))
    (line,) = [line for line in text.splitlines() if line.startswith("mod/g")]
    assert line.split() == ["mod/g", "Gizmo", "?", "?", "?", "?"]
    assert f"{STEM + SIDE:,} known parameters" in text
    assert "known MACs" in text
    assert "memory: not known, as not all shapes are" in text
    assert "unknown shape: layer 'mod/g' (Gizmo): type 'Gizmo' is not known" in text
    assert "not counted: layer 'wave' (Gizmo), unknown type; layer 'mod/g'" in text
    assert "not counted: parameters and MACs of a layer whose input has no" in text
    assert "taken to keep the shape, as it is in place: layer 'wave' (Gizmo)" in text


def test_a_module_adds_up_what_is_known():
    tree = summarize(NET).tree()
    module = next(child for child in tree.children if child.name == "mod")
    assert module.partly >= {"num_params", "macs", "activation_bytes"}
    text = summarize(NET).text(0)
    (line,) = [line for line in text.splitlines() if line.startswith("mod ")]
    assert line.split() == ["mod", "3", "layers", "?", "?", "?", "?"]
    whole = NET.replace("Gizmo", "Gadget", 1) + conv("mod/last", "data")
    assert f"{STEM} + ?" in summarize(whole).text(0)


def test_with_its_shape_only_what_it_learns_is_unknown():
    summary = summarize(NET, shapes={"mod/g": (2, 5, 6, 6)})
    found = rows(summary)
    assert found["mod/c"].num_params == 4 * 5 * 9 + 4
    assert found["mod/g"].num_params is None
    assert summary.memory["total"] > 0
    assert any("mod/g" in note for note in summary.notes)
    assert not any("unknown shape" in note for note in summary.notes)


def test_values_in_a_file_tell_what_an_unknown_layer_learns():
    from netspec.nets.current import current

    net = NetParameter()
    net.CopyFrom(current(NET))
    blob = next(each for each in net.layer if each.name == "mod/g").blobs.add()
    blob.shape.dim[:] = [6, 5]
    for shapes in ({}, {"mod/g": (2, 5, 6, 6)}):
        found = rows(summarize(net, shapes=shapes))
        assert found["mod/g"].num_params == 30
        assert found["mod/g"].macs is None


def test_json_has_null_for_what_is_unknown(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    assert main([str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    layers = {each["name"]: each for each in found["layers"]}
    assert layers["mod/g"]["tops"] == {"mod/g": None}
    assert layers["mod/g"]["num_params"] is None
    assert found["blobs"]["mod/c"] is None
    assert main([str(path), "--json", "--shape", "mod/g=2,5,6,6"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["blobs"]["mod/c"] == [2, 4, 4, 4]


def test_data_of_an_unknown_type_and_in_a_file_are_rows_too():
    text = layer("frames", "FrameData", "", "frames label") + conv("c", "frames")
    summary = summarize(text)
    assert summary.blobs == {"frames": None, "label": None, "c": None}
    summary = summarize(text, shapes={"frames": (2, 3, 5, 5)})
    assert summary.blobs == {"frames": (2, 3, 5, 5), "label": None, "c": (2, 4, 3, 3)}
    options = 'data_param { source: "x" batch_size: 2 }'
    database = layer("d", "Data", extra=options)
    assert summarize(database + layer("g", "Gizmo", "d")).blobs["d"] is None
    summary = summarize(database + conv("c", "d"))
    assert summary.blobs == {"d": None, "c": None}
    assert "--shape d=N,C,H,W" in summary.notes[0]


def test_shared_parameters_count_once_beside_unknown_layers():
    shared = conv("b", "data").replace(
        "convolution_param", 'param { name: "w" } convolution_param'
    )
    again = shared.replace('"b"', '"c"')
    summary = summarize(DATA + shared + again + layer("g", "Gizmo", "b"))
    assert summary.num_params == STEM + 4
    assert rows(summary)["c"].shared


def test_a_net_that_lacks_only_the_shapes_of_data_has_a_summary(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    database = layer("d", "Data", extra='data_param { source: "x" batch_size: 2 }')
    path.write_text(database + conv("c", "d"))
    assert main([str(path)]) == 0
    assert "--shape d=N,C,H,W" in capsys.readouterr().out
    code = layer("p", "Python", "c", extra='python_param { module: "m" layer: "L" }')
    path.write_text(database + conv("c", "d") + code + conv("e", "p"))
    assert main([str(path), "--json", "--shape", "d=2,3,5,5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["blobs"] == {
        "d": [2, 3, 5, 5],
        "c": [2, 4, 3, 3],
        "p": None,
        "e": None,
    }
    path.write_text(database + conv("c", "d") + layer("s", "Scale", "", "s"))
    assert main([str(path)]) == 1


@pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")
def test_unknown_options_of_a_layer_whose_tops_the_data_tell():
    shapes = "shape { dim: [1, 40] } shape { dim: [1, 20] } shape { dim: 50 }"
    made = layer("in", "Input", "", "loc conf rois", f"input_param {{ {shapes} }}")
    text = made + layer(
        "out",
        "DetectionOutput",
        "loc conf rois",
        extra="detection_output_param { num_classes: 2 normalized: false }",
    )
    summary = summarize(text)  # rois as OpenVINO has them, which Caffe refuses
    assert summary.blobs["out"] is None
    assert "normalized, of OpenVINO" in summary.notes[-1]


@pytest.mark.filterwarnings("ignore::netspec.SpecWarning")  # each field is told
def test_options_that_change_nothing_leave_shapes_and_counts_known():
    text = DATA + conv("stem", "data").replace(
        "convolution_param {",
        "forward_type: FLOAT16 "
        "convolution_param { cudnn_convolution_algo_seeker: FINDEX",
    )
    assert "FINDEX" in text
    summary = summarize(text)
    assert summary.num_params == STEM
    assert "unknown" not in str(summary)
