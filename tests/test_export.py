"""`python -m netspec.export`: nets of Python files as prototxt or binary."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netspec import NetSpec, deploy, one_phase
from netspec import layers as L
from netspec.commands.model_files import load_model
from netspec.errors import SpecWarning
from netspec.export import main
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.text import parse, read_net, write_message
from netspec.weights import as_model
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[1]

MODEL = """
from netspec import NetSpec, TEST, TRAIN, layers as L

def net(batch_size: int = 4, width: int = 3, wide: bool = False, scale: float = 1.0,
        sizes: tuple[int, ...] = (2, 3)):
    n = NetSpec("made")
    n.data = L.DummyData(shape=dict(dim=[batch_size, 5]), include=dict(phase=TRAIN))
    n.ip = L.InnerProduct(n.data, num_output=width * (10 if wide else 1))
    n.power = L.Power(n.ip, scale=scale, power=len(sizes))
    n.measure = L.Power(n.ip, include=dict(phase=TEST))
    return n

def deploy(batch_size: int = 1):
    n = NetSpec("used")
    n.data = L.Input(shape=[batch_size, 5])
    n.ip = L.InnerProduct(n.data, num_output=3)
    return n
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.py"
    path.write_text(MODEL)
    return path


def exported(capsys, *arguments):
    assert main(["net.py", *arguments]) == 0
    return parse(capsys.readouterr().out, "NetParameter")


def test_text_goes_to_standard_output(model, capsys):
    net = exported(capsys)
    assert net.name == "made"
    assert [layer.name for layer in net.layer] == ["data", "ip", "power", "measure"]
    assert net == load_model(model)


def test_a_function_net_is_the_net_of_a_file_of_any_name(model):
    other = model.rename(model.with_name("other-name.py"))
    other.write_text(MODEL + "\ndef helper(n):\n    return n\n")
    assert load_model(other).name == "made"


@pytest.mark.parametrize("name", ["out.prototxt", "out.caffemodel"])
def test_suffix_decides_between_text_and_binary(model, name):
    assert main(["net.py", "-o", name]) == 0
    assert read_net(name) == load_model(model)
    assert b"\x0a" in Path(name).read_bytes()
    assert Path(name).read_bytes().startswith(b"name: ") == name.endswith("prototxt")


def test_net_for_use(model, capsys):
    net = exported(capsys, "--deploy", "--batch-size", "7")
    assert net.name == "used"
    assert list(net.layer[0].input_param.shape[0].dim) == [7, 5]


@pytest.mark.parametrize(("phase", "number"), [("TRAIN", TRAIN), ("TEST", TEST)])
def test_phase_keeps_its_layers_and_drops_the_rules(model, capsys, phase, number):
    net = exported(capsys, "--phase", phase)
    names = [layer.name for layer in net.layer]
    assert ("data" in names) == (number == TRAIN)
    assert ("measure" in names) == (number == TEST)
    assert not any(len(layer.include) for layer in net.layer)


def test_parameters_are_set_in_their_types(model, capsys):
    net = exported(
        capsys,
        *("--set", "width=6", "--set", "wide=true", "--set", "scale=0.5"),
        *("--set", "sizes=4,5,6"),
    )
    assert net.layer[1].inner_product_param.num_output == 60
    assert (net.layer[2].power_param.scale, net.layer[2].power_param.power) == (0.5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.py", "--set", "widht=3"], "widht.*did you mean 'width'"),
        (["net.py", "--set", "width=big"], "width=big: expected an integer"),
        (["net.py", "--set", "width"], "width"),
        (["net.py", "--net", "nett"], "nett.*did you mean 'net'"),
        (["gone.py"], "gone.py"),
        (["net.py", "-o", "no/such/folder/x.prototxt"], "no/such/folder"),
        (["net.py", "-o", "."], "folder"),
    ],
)
def test_bad_input_is_one_line_and_a_status(model, capsys, arguments, message):
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    said = capsys.readouterr()
    assert status in (1, 2)
    assert not said.out
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert re.search(message, said.err), said.err


def test_mistake_in_the_model_is_named_with_its_line(model, capsys):
    model.write_text(MODEL.replace("num_output=width", "num_outputs=width"))
    assert main(["net.py"]) == 1
    said = capsys.readouterr().err
    assert "net.py:8" in said
    assert "did you mean 'num_output'" in said
    model.write_text("import nowhere_at_all\n")
    assert main(["net.py"]) == 1
    assert "net.py:1: ModuleNotFoundError" in capsys.readouterr().err


def test_failed_export_leaves_the_old_file(model):
    Path("out.prototxt").write_text("old")
    assert main(["net.py", "--set", "nope=1", "-o", "out.prototxt"]) != 0
    assert Path("out.prototxt").read_text() == "old"


TRAIN_VAL = """
name: "seen"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "train" batch_size: 64 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "test" batch_size: 50 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" include { phase: TRAIN } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def train_val(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train_val.prototxt"
    path.write_text(TRAIN_VAL)
    return path


def test_net_for_use_of_a_prototxt_is_derived(train_val):
    command = ["train_val.prototxt", "--deploy", "-o", "deploy.prototxt"]
    assert main([*command, "--shape", "data=1,2,12,11"]) == 0
    made = read_net("deploy.prototxt")
    assert [layer.type for layer in made.layer] == ["Input", "InnerProduct", "Softmax"]
    assert list(made.layer[0].input_param.shape[0].dim) == [1, 2, 12, 11]
    assert main([*command, "--shape", "data=1,2,12,11", "--batch-size", "7"]) == 0
    made = read_net("deploy.prototxt")
    assert list(made.layer[0].input_param.shape[0].dim) == [7, 2, 12, 11]


def test_prototxt_is_written_for_one_phase_and_in_the_current_form(train_val, capsys):
    assert main(["train_val.prototxt", "--phase", "TRAIN"]) == 0
    made = parse(capsys.readouterr().out, "NetParameter")
    assert [layer.name for layer in made.layer] == ["data", "ip", "drop", "loss"]
    assert made.layer[0].data_param.batch_size == 64
    assert not any(len(layer.include) for layer in made.layer)
    train_val.write_text('layers { name: "r" type: RELU bottom: "x" top: "x" }')
    assert main(["train_val.prototxt"]) == 0
    assert 'type: "ReLU"' in capsys.readouterr().out


def test_values_of_a_caffemodel_go_to_binary_files_only(train_val, capsys):
    saved = read_net("train_val.prototxt")
    saved.layer[2].blobs.add(data=[1, 2, 3]).shape.dim.append(3)
    write_message("a.caffemodel", saved)
    options = ["a.caffemodel", "--deploy", "--shape", "data=1,1,1,1"]
    assert main([*options, "-o", "b.caffemodel"]) == 0
    assert capsys.readouterr().out == "b.caffemodel\n"
    assert list(read_net("b.caffemodel").layer[1].blobs[0].data) == [1, 2, 3]
    assert main(options) == 0
    made = parse(capsys.readouterr().out, "NetParameter")
    assert len(made.layer) == 3
    assert not any(layer.blobs for layer in made.layer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--deploy"], "shape of 'data' is not known .*--shape data=1,3,224,224"),
        (["--deploy", "--shape", "date=1,2"], "'date'.*did you mean 'data'"),
        (["--shape", "data=1,2"], "--shape can be given .* only; add --deploy"),
        (["--batch-size", "2"], "--batch-size can be given .* only; add --deploy"),
        (["--set", "a=2", "--net", "f"], "--set and --net .* model file only"),
    ],
)
def test_options_that_a_prototxt_cannot_take_are_refused(
    train_val, capsys, options, message
):
    assert main(["train_val.prototxt", *options]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert said.err.count("\n") == 1
    assert re.search(message, said.err), said.err


FOR_USE = ("--deploy", "--shape", "data=1,2,3,4")
LARGER = ("--deploy", "--shape", "data=1,2,3,5")


@pytest.fixture
def values(train_val):
    """Write values for the net of `train_val`, whose inner product is transposed."""
    text = TRAIN_VAL.replace("num_output: 3", "num_output: 3 transpose: true")
    train_val.write_text(text)
    net = deploy(parse(text, NetParameter), shapes={"data": (1, 2, 3, 4)})
    held = {"ip": [np.arange(72.0).reshape(24, 3), np.arange(3.0)]}
    as_model(net, held).save("values.caffemodel")
    return held["ip"][0]


def test_a_net_for_training_is_written_for_a_reader(values, capsys):
    command = ["train_val.prototxt", *FOR_USE, "--for", "opencv"]
    assert main([*command, "--weights", "values.caffemodel", "-o", "made"]) == 0
    said = capsys.readouterr()
    assert not said.err
    assert "rewritten  layer 'ip' (InnerProduct): transpose" in said.out
    assert said.out.endswith("made/train_val.prototxt\nmade/train_val.caffemodel\n")
    made = read_net("made/train_val.caffemodel")
    assert [layer.type for layer in made.layer] == ["Input", "InnerProduct", "Softmax"]
    assert not made.layer[1].inner_product_param.transpose
    assert list(made.layer[1].blobs[0].data) == list(values.T.ravel())
    text = read_net("made/train_val.prototxt")
    assert not text.layer[1].blobs
    assert text.layer[1].inner_product_param == made.layer[1].inner_product_param


def test_values_inside_of_a_caffemodel_go_on_to_a_reader(values):
    assert main(["values.caffemodel", "--for", "opencv", "-o", "made"]) == 0
    made = read_net("made/values.caffemodel")
    assert list(made.layer[1].blobs[0].data) == list(values.T.ravel())
    assert main(["values.caffemodel", "--for", "caffe", "-o", "same"]) == 0
    same = read_net("same/values.caffemodel")
    assert same.layer[1].inner_product_param.transpose
    assert list(same.layer[1].blobs[0].data) == list(values.ravel())


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["values.caffemodel", "--for", "opencv", "-o", "."], "values.caffemodel"),
        (["values.prototxt", *FOR_USE, "--for", "mnn", "-o", "."], "values.prototxt"),
        (["values.onnx", "-o", "./values.onnx"], "values.onnx"),
    ],
)
def test_what_is_read_is_not_written_over(values, command, kept, capsys):
    Path("values.prototxt").write_bytes(Path("train_val.prototxt").read_bytes())
    if kept.endswith(".onnx"):
        pytest.importorskip("onnx")
        assert main(["values.caffemodel", "-o", "values.onnx"]) == 0
    before = Path(kept).read_bytes()
    assert main(command) == 1
    assert (
        f"error: {kept} is what is read; it stays as it is" in capsys.readouterr().err
    )
    assert Path(kept).read_bytes() == before


def test_without_values_what_would_need_them_is_warned_of(values, capsys):
    command = ["train_val.prototxt", *FOR_USE, "--for", "opencv", "-o", "made"]
    assert main(command) == 0
    assert "warned     layer 'ip' (InnerProduct): transp" in capsys.readouterr().out
    assert [path.name for path in Path("made").iterdir()] == ["train_val.prototxt"]


def test_what_readers_do_silently_is_warned_of_once(values, capsys):
    command = ["train_val.prototxt", *FOR_USE]
    assert main([*command, "-o", "plain.prototxt"]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "OpenCV 4.14.0, ncnn" in said
    assert "for layer 'ip' (InnerProduct): " in said
    assert "MNN" not in said
    plain = read_net("plain.prototxt")
    assert plain.layer[1].inner_product_param.transpose
    for quiet in (["train_val.prototxt"], [*command, "--for", "mnn", "-o", "made"]):
        assert main(quiet) == 0
        assert not capsys.readouterr().err


def test_what_a_reader_cannot_do_is_refused_or_written_anyway(values, capsys):
    Path("filter.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 '
        '} } } layer { name: "top" type: "Filter" bottom: "x" bottom: "x" top: "top" }'
    )
    command = ["filter.prototxt", "--for", "opencv", "-o", "made"]
    assert main(command) == 1
    assert re.search("'top' .Filter.: OpenCV", capsys.readouterr().err)
    assert not Path("made").exists()
    assert main([*command, "--anyway"]) == 0
    assert re.search("warned +layer 'top' .Filter.", capsys.readouterr().out)
    assert read_net("made/filter.prototxt").layer[1].type == "Filter"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([*FOR_USE, "--for", "opencv"], 1, "--for needs -o FOLDER"),
        ([*FOR_USE, "--for", "opencv", "-o", "a.prototxt"], 1, "into a folder"),
        ([*FOR_USE, "--for", "mnn", "-o", "values.caffemodel"], 1, "into a folder"),
        ([*FOR_USE, "--for", "opencvv", "-o", "a"], 1, "did you mean 'opencv'"),
        (["--for", "opencv", "-o", "a"], 1, "data layers .'data'. .*--deploy"),
        (["--phase", "TRAIN", "--for", "mnn", "-o", "a"], 1, "--phase TRAIN.*TEST"),
        ([*FOR_USE, "--weights", "values.caffemodel"], 2, "--weights .*--for"),
        ([*FOR_USE, "--anyway"], 2, "--anyway go(es)? with --for"),
        (
            [*FOR_USE, "--for", "mnn", "-o", "a", "--weights", "gone.caffemodel"],
            1,
            "gone.caffemodel: cannot be read",
        ),
        (
            [*FOR_USE, "--for", "mnn", "-o", "a", "--weights", "train_val.prototxt"],
            1,
            "train_val.prototxt: is no weight file",
        ),
        (
            [*LARGER, "--for", "mnn", "-o", "a", "--weights", "values.caffemodel"],
            1,
            r"'ip' .*\(30, 3\), its values have \(24, 3\)",
        ),
        (
            [*FOR_USE, "--for", "mnn", "-o", "a", "--weights", "other.caffemodel"],
            1,
            "no values for layer 'ip'",
        ),
    ],
)
def test_bad_input_for_a_reader_is_one_line_and_a_status(
    values, capsys, arguments, status, message
):
    net = read_net("values.caffemodel")
    net.layer[1].name = "other"
    write_message("other.caffemodel", net)
    try:
        got = main(["train_val.prototxt", *arguments])
    except SystemExit as stopped:
        got = stopped.code
    said = capsys.readouterr()
    assert got == status
    assert not said.out
    assert said.err.count("\n") == 1
    assert re.search(message, said.err), said.err
    assert not Path("a").exists()


def test_whole_command():
    command = [sys.executable, "-m", "netspec.export", "models/lenet.py", "--deploy"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert len(parse(done.stdout, "NetParameter").layer) == 9
    assert not done.stderr


def test_one_phase_warns_of_what_only_another_phase_makes() -> None:
    n = NetSpec()
    n.x = L.Input(shape=[1, 2])
    n.y = L.ReLU(n.x, include="TRAIN")
    n.z = L.TanH(n.y)
    assert len(n.to_proto("TRAIN").layer) == 3
    with pytest.warns(SpecWarning, match="'z' .TanH.: reads 'y', which no layer of"):
        n.to_proto("TEST")


def test_one_phase_of_a_part_of_a_net_may_read_what_is_not_there() -> None:
    part = parse('layer { name: "a" type: "ReLU" bottom: "x" top: "a" }', NetParameter)
    assert len(one_phase(part, TEST).layer) == 1
