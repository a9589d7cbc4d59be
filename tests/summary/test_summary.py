import json
import subprocess
import sys

import pytest

from netspec.errors import FileError, SpecError
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.summary import summarize
from netspec.summary.__main__ import main
from tests.example_nets import DATA, LABEL, fc, layer, net
from tests.patience import PATIENCE_S
from tests.reference import needs_reference, reference_dir

LOSS = layer("loss", "SoftmaxWithLoss", "s label", "l")
SIAMESE = DATA + layer("p", "Power", "data", "other")
SIAMESE += fc("a", "data", "x", 5, 'param { name: "w" } param { name: "b" }')
SIAMESE += fc("c", "other", "y", 5, 'param { name: "w" } param { name: "b" }')
SIAMESE += layer("e", "EuclideanLoss", "x y", "")


class Spec:
    """Something with `to_proto`."""

    def to_proto(self) -> NetParameter:
        return net(DATA + fc("a", "data", "x", 5))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text('name: "Thing"\n' + DATA + fc("a", "data", "x", 5))
    return path


def test_the_dict_holds_shapes_parameters_and_macs():
    told = summarize(DATA + fc("a", "data", "x", 5)).as_dict()
    assert told["blobs"] == {"data": [2, 3], "x": [2, 5]}
    assert told["params"] == {"a": [[5, 3], [5]]}
    assert told["num_params"] == 20
    assert told["macs"] == 2 * 3 * 5
    assert told["inputs"] == ["data"]
    assert told["outputs"] == ["x"]
    assert told["phase"] == "TEST"
    assert told["memory"]["parameters"] == 80
    assert json.loads(json.dumps(told)) == told


def test_shared_parameters_count_once_in_the_total():
    summary = summarize(SIAMESE)
    assert summary.num_params == 20
    assert [row.num_params for row in summary.rows if row.type == "InnerProduct"] == [
        20,
        20,
    ]
    assert [row.name for row in summary.rows if row.shared] == ["c"]
    assert summary.as_dict()["params"]["c"] == [[5, 3], [5]]


def test_inserted_splits_and_nameless_tops_are_left_out():
    summary = summarize(SIAMESE)
    assert set(summary.blobs) == {"data", "other", "x", "y"}
    assert [row.name for row in summary.rows] == ["in", "p", "a", "c", "e"]
    assert summary.rows[-1].tops == {}


def test_a_split_that_the_net_itself_has_is_shown():
    summary = summarize(DATA + layer("s", "Split", "data", "x y"))
    assert set(summary.blobs) == {"data", "x", "y"}
    assert summary.rows[-1].type == "Split"


def test_the_phase_chooses_layers_and_memory():
    text = DATA + LABEL + fc("a", "data", "s", 5) + LOSS
    text += fc("t", "s", "q", 7, "include { phase: TEST }")
    test, train = summarize(text, TEST), summarize(text, TRAIN)
    assert "q" in test.blobs
    assert "q" not in train.blobs
    assert test.memory["gradients"] == 0
    assert train.memory["gradients"] > 0
    assert train.memory["solver_state"] == train.memory["parameters"]


def test_level_and_stages_are_passed_on():
    rule = 'include { min_level: 2 stage: "x" }'
    text = DATA + fc("a", "data", "s", 5, rule)
    assert summarize(text).num_params == 0
    assert summarize(text, level=2, stages=["x"]).num_params == 20


def test_anything_that_makes_a_net_can_be_summarized(file):
    counts = {
        summarize(given).num_params
        for given in (Spec(), Spec().to_proto(), str(file), file, file.read_text())
    }
    assert counts == {20}


def test_a_message_is_left_as_it_was():
    more = "blobs { shape { dim: 5 dim: 3 } data: 1 } blobs { shape { dim: 5 } }"
    message = net(DATA + fc("a", "data", "x", 5, more))
    before = message.SerializeToString()
    summarize(message, batch_size=7)
    assert message.SerializeToString() == before


def test_another_batch_size_scales_shapes_and_macs():
    text = DATA + LABEL + fc("a", "data", "s", 5) + LOSS
    summary = summarize(text, batch_size=7)
    assert summary.blobs["data"] == (7, 3)
    assert summary.blobs["label"] == (7,)
    assert summary.macs == 7 * 3 * 5
    with pytest.raises(SpecError, match="batch_size is 0; expected a number above 0"):
        summarize(text, batch_size=0)


DB = layer("d", "Data", "", "data label", "data_param { batch_size: 2 }")


def test_shapes_of_data_may_be_given():
    text = DB + fc("a", "data", "s", 5) + LOSS
    summary = summarize(text)
    assert set(summary.blobs.values()) == {None}
    assert "as in --shape data=N,C,H,W on the command line" in summary.notes[0]
    summary = summarize(text, shapes={"data": (2, 3, 4, 5)})
    assert summary.blobs["label"] == (2,)
    assert summary.num_params == 60 * 5 + 5
    summary = summarize(text, shapes={"data": (2, 3, 4, 5)}, batch_size=2)
    assert summary.blobs["data"] == (2, 3, 4, 5)


def test_the_batch_size_holds_for_data_with_a_crop():
    crop = "transform_param { crop_size: 5 force_color: true }"
    text = DB.replace("}", f"}} {crop}", 1) + fc("a", "data", "s", 5) + LOSS
    assert summarize(text, batch_size=9).blobs["data"] == (9, 3, 5, 5)


def test_the_table_shows_rows_totals_and_the_rule():
    text = str(summarize('name: "Thing" ' + SIAMESE))
    assert "a      InnerProduct   2 x 5     40 B          20    30" in text
    assert "20 shared" in text
    assert "Thing, phase TEST: 5 layers, 20 parameters (shared ones once)" in text
    assert "60 MACs" in text
    assert "a MAC is one multiply-add of Convolution, Deconvolution" in text
    assert "memory in MiB" in text
    assert not any(line.endswith(" ") for line in text.splitlines())


# The command


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_prints_a_table(capsys, file):
    status, out, err = run(capsys, file)
    assert (status, err) == (0, "")
    assert out.startswith("layer")
    assert "Thing, phase TEST" in out


def test_the_command_prints_json(capsys, file):
    status, out, _ = run(capsys, file, "--json", "--phase", "TRAIN", "--batch-size", 7)
    assert status == 0
    told = json.loads(out)
    assert told["phase"] == "TRAIN"
    assert told["blobs"]["x"] == [7, 5]


def test_the_command_takes_shapes(capsys, file):
    status, out, _ = run(capsys, file, "--json", "--shape", "data=4,6")
    assert status == 0
    assert json.loads(out)["params"]["a"] == [[5, 6], [5]]


def test_the_command_derives_the_net_for_use_with_a_shape(capsys, tmp_path):
    model = tmp_path / "learn.py"
    model.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def learn():\n"
        "    n = NetSpec()\n"
        "    n.x, n.t = L.HDF5Data(source='s', batch_size=5, ntop=2)\n"
        "    n.y = L.InnerProduct(n.x, num_output=6)\n"
        "    n.loss = L.SoftmaxWithLoss(n.y, n.t)\n"
        "    return n\n"
    )
    status, out, _ = run(capsys, model, "--json", "--shape", "x=5,2")
    assert status == 0
    assert json.loads(out)["outputs"] == ["prob"]


@pytest.mark.parametrize("text", ["data", "data=", "data=2,x", "=2"])
def test_bad_shapes_end_with_one_line(capsys, file, text):
    with pytest.raises(SystemExit) as left:
        run(capsys, file, "--shape", text)
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert "--shape: expected the name of a top and its sizes" in err
    assert f"got {text!r}" in err
    assert err.count("\n") == 1


def test_a_missing_file_ends_with_one_line(capsys, tmp_path):
    status, out, err = run(capsys, tmp_path / "no.prototxt")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "no.prototxt" in err


def test_broken_text_ends_with_one_line(capsys, tmp_path):
    path = tmp_path / "broken.prototxt"
    path.write_text('layer { nam: "x" }')
    status, _, err = run(capsys, path)
    assert status == 1
    assert err.count("\n") == 1
    assert "broken.prototxt:1:" in err


def test_a_bad_net_ends_with_one_line_that_names_the_file(capsys, tmp_path):
    path = tmp_path / "bad.prototxt"
    path.write_text(DATA + fc("a", "dat", "x", 5) + fc("b", "daat", "y", 5))
    status, _, err = run(capsys, path)
    assert status == 1
    assert err.count("\n") == 1
    assert "bad.prototxt:3: layer 'a' (InnerProduct): bottom 0 ('dat')" in err
    assert "bad.prototxt:4: layer 'b' (InnerProduct): bottom 0 ('daat')" in err


def test_bytes_that_are_no_net_end_with_one_line(capsys, tmp_path):
    path = tmp_path / "bad.caffemodel"
    path.write_bytes(b"\xff\xfe\x00nothing")
    status, _, err = run(capsys, path)
    assert status == 1
    assert err.count("\n") == 1
    assert "bad.caffemodel" in err


def test_a_saved_net_is_shown_in_the_phase_it_was_saved_in(capsys, tmp_path):
    more = "blobs { shape { dim: 5 dim: 3 } data: 1 } blobs { shape { dim: 5 } }"
    rule = "include { phase: TRAIN }"
    text = DATA.replace("layer {", f"layer {{ {rule}", 1) + fc(
        "a", "data", "x", 5, more
    )
    path = tmp_path / "it.caffemodel"
    path.write_bytes(net(text).SerializeToString())
    status, out, err = run(capsys, path, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["phase"] == "TRAIN"
    assert json.loads(out)["num_params"] == 20


MODEL = """
from netspec import NetSpec, layers as L

def thing(classes=5):
    n = NetSpec()
    n.data, n.label = L.MemoryData(ntop=2, batch_size=2, channels=3, height=4, width=5)
    n.score = L.InnerProduct(n.data, num_output=classes)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n
"""
DEPLOY = """
def deploy():
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 4, 5]))
    n.score = L.InnerProduct(n.data, num_output={outputs})
    return n
"""


def test_a_model_is_shown_as_it_is_used_unless_a_phase_is_named(capsys, tmp_path):
    path = tmp_path / "thing.py"
    path.write_text(MODEL + DEPLOY.format(outputs=5))
    status, out, err = run(capsys, path, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["blobs"] == {"data": [1, 3, 4, 5], "score": [1, 5]}
    status, out, _ = run(capsys, path, "--json", "--phase", "TRAIN")
    assert json.loads(out)["blobs"]["score"] == [2, 5]


def test_a_model_that_is_not_made_for_use_is_shown_as_it_is(capsys, tmp_path):
    path = tmp_path / "thing.py"
    path.write_text(MODEL)
    status, out, err = run(capsys, path, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["blobs"]["score"] == [2, 5]


def test_a_mistake_in_a_model_ends_with_one_line(capsys, tmp_path):
    path = tmp_path / "thing.py"
    path.write_text(MODEL + DEPLOY.format(outputs="'five'"))
    status, _, err = run(capsys, path)
    assert status == 1
    assert err.count("\n") == 1
    assert "thing.py:14" in err


def test_a_reader_that_stops_early_gets_no_complaint(file):
    script = f"{sys.executable} -m netspec.summary {file} | true"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stderr == ""


def test_a_bad_batch_size_is_an_error_of_usage(capsys, file):
    with pytest.raises(SystemExit, match="2"):
        run(capsys, file, "--batch-size", "0")
    assert "expected a number above 0, got '0'" in capsys.readouterr().err


def test_errors_of_files_are_os_errors(tmp_path):
    with pytest.raises(FileError):
        summarize(tmp_path / "no.prototxt")


@needs_reference
def test_googlenet_has_its_published_cost():
    folder = reference_dir()
    assert folder is not None
    name = "models__bvlc_googlenet__deploy.prototxt"
    summary = summarize(folder / "zoo" / "BVLC__caffe" / name, batch_size=1)
    assert summary.num_params == 6_998_552
    # OpenCV counts 3,190,443,136 operations, two a MAC, pooling and the like included.
    assert summary.macs == 1_582_671_872
    assert 2 * summary.macs == pytest.approx(3_190_443_136, rel=0.01)


MODULES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "a/in/fc" type: "InnerProduct" bottom: "x" top: "a/in/fc"
        param { name: "w" } inner_product_param { num_output: 4 bias_term: false } }
layer { name: "a/in/relu" type: "ReLU" bottom: "a/in/fc" top: "a/in/fc" }
layer { name: "a/out" type: "TanH" bottom: "a/in/fc" top: "a/out" }
layer { name: "b/fc" type: "InnerProduct" bottom: "x" top: "b/fc"
        param { name: "w" } inner_product_param { num_output: 4 bias_term: false } }
layer { name: "sum" type: "Eltwise" bottom: "a/out" bottom: "b/fc" top: "sum" }
"""


def test_the_tree_has_totals_of_modules_and_counts_shared_parameters_once():
    summary = summarize(MODULES)
    tree = summary.tree()
    assert [child.name for child in tree.children] == ["x", "a", "b", "sum"]
    a, b = tree.children[1:3]
    assert [child.name for child in a.children] == ["a/in", "a/out"]
    assert [child.name for child in a.children[0].children] == ["a/in/fc", "a/in/relu"]
    assert (a.layers, a.num_params, a.own_params, a.shared, a.macs) == (
        3,
        12,
        12,
        0,
        24,
    )
    assert (b.layers, b.num_params, b.own_params, b.shared) == (1, 12, 0, True)
    assert tree.own_params == summary.num_params == 12
    assert tree.num_params == 24
    # A layer in place takes no memory of its own.
    assert a.activation_bytes == 4 * (8 + 8)
    assert tree.activation_bytes == summary.memory["activations"]


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        (0, ["x", "a", "b", "sum"]),
        (1, ["x", "a/in", "a/out", "b/fc", "sum"]),
        (2, ["x", "a/in/fc", "a/in/relu", "a/out", "b/fc", "sum"]),
        (None, ["x", "a/in/fc", "a/in/relu", "a/out", "b/fc", "sum"]),
    ],
)
def test_the_table_opens_modules_to_a_depth(depth, names):
    lines = summarize(MODULES).text(depth).splitlines()
    first, last = (i for i, line in enumerate(lines) if line.startswith("---"))
    assert [line.split()[0] for line in lines[first + 1 : last]] == names


def test_the_command_takes_a_depth_and_a_batch_size(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text(MODULES)
    assert main([str(path), "--depth", "0", "--batch-size", "7"]) == 0
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines()]
    assert ["a", "3", "layers", "7", "x", "4", "224", "B", "12", "84"] in rows
    assert ["b", "1", "layer", "7", "x", "4", "112", "B", "12", "shared", "84"] in rows


def test_html_has_every_layer_escaped_and_modules_as_details():
    hostile = MODULES.replace('"a/out"', '"a/<script>alert(1)"')
    page = summarize(hostile)._repr_html_()
    assert page.count("<details>") == 3
    assert "<script>" not in page
    assert "relu" in page
    assert "12 parameters (shared ones once)" in page


def test_the_memory_of_training_is_told_by_purpose_for_any_batch_size():
    small, large = (
        summarize(MODULES, phase=TRAIN, batch_size=size).memory for size in (2, 20)
    )
    assert large["activations"] == 10 * small["activations"]
    for key in ("parameters", "parameter_gradients", "solver_state"):
        assert small[key] == large[key] == 4 * 12
    parts = ("parameters", "parameter_gradients", "solver_state", "arena", "workspace")
    assert large["total"] == sum(large[key] for key in parts)


def test_the_workspace_is_that_of_the_largest_convolution():
    net = """
    layer { name: "x" type: "Input" top: "x"
            input_param { shape { dim: [2, 3, 9, 9] } } }
    layer { name: "a" type: "Convolution" bottom: "x" top: "a"
            convolution_param { num_output: 4 kernel_size: 3 } }
    layer { name: "b" type: "Convolution" bottom: "a" top: "b"
            convolution_param { num_output: 8 kernel_size: 5 } }
    layer { name: "c" type: "Convolution" bottom: "b" top: "c"
            convolution_param { num_output: 8 kernel_size: 5 pad: 2 stride: 2 } }
    """
    bytes_of_b = 4 * 8 * 4 * 64  # kernels of 5 x 5 in Winograd's form: 8 x 8
    assert summarize(net).memory["workspace"] == bytes_of_b
    # In training `b` has too few tiles for Winograd; `c` has more, and its blobs.
    few = 4 * (8 * 8 * 25 + 2 * (2 * 8 * 9 + 2 * 8 * 4))
    assert summarize(net, phase=TRAIN).memory["workspace"] == few
    many = summarize(net, phase=TRAIN, batch_size=80).memory["workspace"]
    assert many == 4 * (4 * 3 * 36 + 2 * 80 * (3 * 81 + 4 * 49))  # that of `a`
    net = net.replace("Convolution", "Deconvolution")
    bytes_of_b = 4 * 4 * 8 * 64
    assert summarize(net).memory["workspace"] == bytes_of_b
