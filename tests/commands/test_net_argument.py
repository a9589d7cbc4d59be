"""The net that an argument of a command names, and `--shape`."""

import argparse

import pytest

from netspec import bundled
from netspec.commands.cli import Parser
from netspec.commands.net_argument import (
    add_batch_size,
    add_net_argument,
    add_shape_option,
    add_state_options,
    file_of,
    given_net,
    net_to_run,
)
from netspec.errors import FileError, ShapeError, SpecError
from netspec.nets.current import current
from netspec.schema import TEST, TRAIN
from netspec.text import write_message
from tests.example_nets import DATA, fc, net

MODEL = """
from netspec import NetSpec, layers as L

def net():
    n = NetSpec("trained")
    n.data, n.label = L.HDF5Data(source="list.txt", batch_size=4, ntop=2)
    n.fc = L.InnerProduct(n.data, num_output=3)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    return n
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def read(name, *, deploy=False, shapes=None):
    given = argparse.Namespace(
        net=name, set=[], function=None, shape=list((shapes or {}).items())
    )
    return given_net(given, deploy=deploy).net


def types(message):
    return [layer.type for layer in message.layer]


def test_a_file_is_read_as_it_stands_without_its_values(tmp_path):
    message = net(DATA + fc("a", "data", "a", 5))
    message.layer[1].blobs.add(data=[1, 2, 3]).shape.dim.append(3)
    path = tmp_path / "net.caffemodel"
    write_message(path, message)
    found = read(str(path))
    assert types(found) == ["Input", "InnerProduct"]
    assert list(found.layer[1].blobs[0].shape.dim) == [3]
    assert not found.layer[1].blobs[0].data
    old = tmp_path / "old.prototxt"
    old.write_text('layers { name: "r" type: RELU bottom: "x" top: "x" }')
    assert len(read(str(old)).layers) == 1


def test_a_model_file_gives_its_net_or_the_one_for_use(model):
    assert types(read(model))[0] == "HDF5Data"
    assert types(read(model))[-1] == "SoftmaxWithLoss"
    with pytest.raises(ShapeError, match="--shape data="):
        read(model, deploy=True)
    found = read(model, deploy=True, shapes={"data": (7, 5)})
    assert types(found) == ["Input", "InnerProduct", "Softmax"]
    assert list(found.layer[0].input_param.shape[0].dim) == [7, 5]


def test_the_net_for_use_of_a_prototxt_is_derived(model, tmp_path):
    path = str(tmp_path / "train_val.prototxt")
    write_message(path, read(model))
    with pytest.raises(ShapeError, match="--shape data="):
        read(path, deploy=True)
    found = read(path, deploy=True, shapes={"data": (7, 5)})
    assert types(found) == ["Input", "InnerProduct", "Softmax"]
    assert list(found.layer[0].input_param.shape[0].dim) == [7, 5]
    with pytest.raises(FileError, match="missing.prototxt: cannot be read"):
        read(str(tmp_path / "missing.prototxt"), deploy=True)


def test_shapes_are_named_and_may_be_repeated(capsys):
    parser = Parser(prog="x")
    add_net_argument(parser, metavar="FILE")
    add_shape_option(parser, only="sometimes: ")
    options = parser.parse_args(["n", "--shape", "data=1,3,8,9", "--shape", "label=4"])
    assert options.net == "n"
    assert dict(options.shape) == {"data": (1, 3, 8, 9), "label": (4,)}
    assert parser.parse_args(["n"]).shape == []
    with pytest.raises(SystemExit):
        parser.parse_args(["n", "--shape", "data"])
    assert "as in data=1,3,224,224; got 'data'" in capsys.readouterr().err
    assert "sometimes: shape of the top" in parser.format_help().replace("\n", " ")


# ---------------------------------------------------------------- models by name


def test_a_bare_name_is_a_model_where_there_is_no_such_file(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert file_of("lenet") == str(bundled.path_of("lenet"))
    assert types(read("lenet", deploy=True))[-1] == "Softmax"
    (tmp_path / "lenet").mkdir()
    assert file_of("lenet") == str(bundled.path_of("lenet"))
    (tmp_path / "lenet").rmdir()
    (tmp_path / "lenet").write_text("")
    assert file_of("lenet") == "lenet"
    assert capsys.readouterr() == ("", "")
    assert file_of("models/vgg16.py") == str(bundled.path_of("vgg16"))
    file_of("models/vgg16.py")
    said = "note: models/vgg16.py is that of netspec.models\n"
    assert capsys.readouterr().err == said
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg16.py").write_text("")
    assert file_of("models/vgg16.py") == "models/vgg16.py"


def test_what_is_neither_file_nor_model_is_told_with_what_to_type(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="lennet: no such file, .*did you mean 'lenet'"):
        file_of("lennet")
    with pytest.raises(FileError, match=r"lenet.py: no such file; .* given as lenet,"):
        file_of("lenet.py")
    with pytest.raises(
        FileError, match="lenet_train_test.prototxt: the net of the sol"
    ):
        read("lenet_solver")
    assert file_of("other/lenet.py") == "other/lenet.py"  # who reads it says so
    assert file_of("gone.prototxt") == "gone.prototxt"


# ---------------------------------------------------------------- solver files


@pytest.fixture
def solver(tmp_path):
    def write(text):
        path = tmp_path / "solver.prototxt"
        path.write_text("# a solver: layer {\n" + text)
        return str(path)

    write_message(tmp_path / "a.prototxt", net(DATA + fc("a", "data", "a", 5)))
    write_message(tmp_path / "b.prototxt", net(DATA + fc("b", "data", "b", 5)))
    return write


def names(options, **how):
    return [layer.name for layer in given_net(options, **how).net.layer]


def parsed(*words):
    parser = Parser(prog="x")
    add_net_argument(parser, model=True)
    add_shape_option(parser)
    add_batch_size(parser)
    add_state_options(parser)
    return parser.parse_args(words)


def test_the_net_of_a_solver_file_is_taken(solver, tmp_path, monkeypatch):
    path = solver('base_lr: 0.1 net: "a.prototxt"')
    given = given_net(parsed(path))
    assert given.source == str(tmp_path / "a.prototxt")
    assert [layer.name for layer in given.net.layer] == ["in", "a"]
    path = solver('max_iter: 3 train_net: "a.prototxt" test_net: "b.prototxt"')
    assert names(parsed(path)) == ["in", "a"]
    assert names(parsed(path), phase=TRAIN) == ["in", "a"]
    assert names(parsed(path), phase=TEST) == ["in", "b"]
    layer = 'layer { name: "c" type: "Input" top: "c" }'
    path = solver(f"base_lr: 1 net_param {{ {layer} }}")
    assert names(parsed(path)) == ["c"]
    path = solver(
        'net: "a.prototxt" train_state { stage: "s" level: 2 } type: "SGD" '
        'test_state { stage: "t" } test_state { stage: "u" }'
    )
    given = given_net(parsed(path, "--stage", "mine"), phase=TRAIN)
    assert (given.level, given.stages) == (2, ["s", "mine"])
    assert net_to_run(parsed(path), phase=TEST).stages == ["t"]


def test_a_solver_without_its_net_is_refused(solver, tmp_path):
    with pytest.raises(FileError, match=r"gone.prototxt: the net of the solver \S+ is"):
        given_net(parsed(solver('net: "gone.prototxt" base_lr: 1')))
    with pytest.raises(SpecError, match="is a solver file without a net for the phase"):
        given_net(parsed(solver("base_lr: 1")))
    (tmp_path / "code.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(SpecError, match=r"Python file code.py, which is not run"):
        given_net(parsed(solver('net: "code.py" base_lr: 1')))


# ---------------------------------------------------------------- options


def test_the_net_is_an_argument_or_of_model_but_not_both(capsys):
    assert parsed("n").net == parsed("--model", "n").net == "n"
    for words in ((), ("n", "--model", "m")):
        with pytest.raises(SystemExit) as caught:
            parsed(*words)
        assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "x: error: the following arguments are required: NET (see --help)" in err
    assert "n and --model m are both given" in err


def test_a_model_file_takes_settings_and_no_other_does(model, tmp_path):
    path = tmp_path / "two.py"
    path.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def one(width: int = 3):\n"
        "    n = NetSpec()\n    n.x = L.Input(shape=[2, width])\n    return n\n"
        "def other(): return one(9)\n"
    )
    given = given_net(parsed(str(path), "--net", "one", "--set", "width=5"))
    assert list(given.net.layer[0].input_param.shape[0].dim) == [2, 5]
    given = given_net(parsed(str(path), "--net", "other", "--batch-size", "7"))
    assert list(given.net.layer[0].input_param.shape[0].dim) == [7, 9]
    write_message(tmp_path / "a.prototxt", given.net)
    for option in (("--set", "width=5"), ("--net", "one")):
        for read in (given_net, net_to_run):
            with pytest.raises(SpecError, match=f"{option[0]} can be given for a mod"):
                read(parsed(str(tmp_path / "a.prototxt"), *option))


def test_batches_have_the_size_that_is_asked_for(tmp_path):
    path = tmp_path / "data.prototxt"
    path.write_text(
        'layer { type: "Data" top: "x" name: "d" data_param { source: "s" '
        "batch_size: 3 } include { phase: TRAIN } }"
        'layer { type: "DummyData" top: "y" name: "y" '
        "dummy_data_param { shape { dim: 4 dim: 5 } } }"
        'layer { type: "DummyData" top: "z" name: "z" '
        "dummy_data_param { num: 4 channels: 1 height: 2 width: 3 } }"
    )
    layers = given_net(parsed(str(path), "--batch-size", "8")).net.layer
    assert layers[0].data_param.batch_size == 8
    assert list(layers[1].dummy_data_param.shape[0].dim) == [8, 5]
    assert list(layers[2].dummy_data_param.num) == [8]
    path.write_text('layer { type: "ReLU" name: "r" bottom: "x" top: "y" }')
    with pytest.raises(SpecError, match="batch size 8: no layer of the net has inputs"):
        given_net(parsed(str(path), "--batch-size", "8"))


RULES = """
layer { type: "Input" name: "x" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { type: "ReLU" name: "a" bottom: "x" top: "a" include { stage: "s" } }
layer { type: "ReLU" name: "b" bottom: "x" top: "b" include { phase: TEST stage: "s" } }
layer { type: "ReLU" name: "c" bottom: "x" top: "c" exclude { min_level: 2 } }
layer { type: "ReLU" name: "d" bottom: "x" top: "d" include { phase: TRAIN } }
"""


def test_level_and_stage_are_decided_for_who_asks_for_a_phase_alone(tmp_path):
    path = tmp_path / "rules.prototxt"
    path.write_text(RULES)
    given = given_net(parsed(str(path), "--stage", "s", "--level", "2"), settle=True)
    kept = {x.name: [rule.phase for rule in x.include] for x in given.net.layer}
    assert kept == {"x": [], "a": [], "b": [TEST], "d": [TRAIN]}
    assert not any(layer.exclude for layer in given.net.layer)
    assert (given.level, list(given.stages)) == (0, [])
    given = given_net(parsed(str(path), "--stage", "s"))
    assert current(given.net) == current(str(path))
    assert (given.level, list(given.stages)) == (0, ["s"])
    use = given_net(parsed(str(path), "--stage", "s"), deploy=True).net
    assert [layer.name for layer in use.layer] == ["x", "a", "b", "c"]


def test_a_file_with_values_is_run_by_its_path(tmp_path):
    path = str(tmp_path / "net.caffemodel")
    write_message(path, net(DATA + fc("a", "data", "a", 5)))
    assert net_to_run(parsed(path)).net == path
    assert types(net_to_run(parsed(path, "--batch-size", "3")).net)[0] == "Input"
