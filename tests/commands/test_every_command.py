"""What holds for every command: help with examples, version, nets of all kinds."""

import importlib
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import netspec
import netspec.__main__ as of_netspec
import runtime.__main__ as of_runtime
from netspec import layers as L
from netspec.text import write_message
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
DATA = ("digits", "mnist", "images", "arrays", "annotated", "mean")
COMMANDS = [
    *(f"netspec {name}" for name in of_netspec.COMMANDS),
    *(f"runtime {name}" for name in of_runtime.COMMANDS),
    *(f"runtime.data {name}" for name in DATA),
]
# Names of modules beside the commands of `netspec`.
MODULES = [
    *("export", "flatten", "draw", "forks", "models"),
    *("summary", "surgery", "to_python", "weights"),
]


def main(command, *words):
    """Run a command in this process; return its exit status."""
    module = importlib.import_module(f"{command.split()[0]}.__main__")
    try:
        return module.main([*command.split()[1:], *words])
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize("command", [*COMMANDS, "netspec", "runtime", "runtime.data"])
def test_help_has_examples_and_a_word_on_every_option(command, capsys):
    assert main(command, "--help") == 0
    said = capsys.readouterr().out
    assert f"python -m {command}" in said.split("examples:\n")[1]
    parser = parser_of(command)
    for action in parser._actions:
        assert action.help, action.option_strings or action.dest


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_command_lines(command, capsys):
    parser = parser_of(command)
    examples = parser.epilog.split("\n")[1:]
    assert examples
    surgery = command == "netspec surgery"  # whose words may stand between options
    parse = parser.parse_intermixed_args if surgery else parser.parse_args
    for example in examples:
        words = shlex.split(example.removeprefix(f"  {parser.prog}"))
        try:
            parse(words)
        except SystemExit:
            pytest.fail(f"{example}: {capsys.readouterr().err}")


def parser_of(command):
    """Return the parser of a command."""
    caught = []

    class Caught(BaseException):
        pass

    from netspec.parser import Parser

    def parse(self, words=None, namespace=None):
        if namespace is not None or not has_commands(self):
            caught.append(self)
            raise Caught
        return known(self, words, namespace)

    known = Parser.parse_known_args
    patch = pytest.MonkeyPatch()
    try:
        patch.setattr(Parser, "parse_known_args", parse)
        main(command, "--help")
    except Caught:
        return caught[-1]
    finally:
        patch.undo()
    return Parser()


def has_commands(parser):
    return parser._subparsers is not None


@pytest.mark.parametrize("command", [*COMMANDS, "netspec", "runtime", "runtime.data"])
def test_every_command_tells_the_version(command, capsys):
    assert main(command, "--version") == 0
    assert capsys.readouterr().out == f"netspec {netspec.__version__}\n"


def test_the_version_is_that_of_the_project():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{netspec.__version__}"' in text


@pytest.mark.parametrize("module", MODULES)
def test_a_module_of_its_own_says_its_own_name(module, capsys):
    name = f"netspec.{module}"
    found = importlib.util.find_spec(f"{name}.__main__" if is_package(name) else name)
    assert found is not None
    command = importlib.import_module(found.name)
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m {name} [-h]")


def is_package(name):
    return importlib.util.find_spec(name).submodule_search_locations is not None


# ------------------------------------------------------------------ dispatch


@pytest.mark.parametrize(
    "command, near",
    [
        ("netspec sumary", "summary"),
        ("netspec to_python", "to-python"),
        ("runtime tran", "train"),
        ("runtime.data digit", "digits"),
    ],
)
def test_a_misspelt_command_is_one_line_with_the_nearest(command, near, capsys):
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"; did you mean {near!r}?" in said


def test_a_misspelt_choice_of_an_option_has_the_nearest_too(capsys):
    assert main("netspec summary", "x", "--phase", "TRIAN") == 2
    assert "; did you mean 'TRAIN'?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["netspec", "runtime"])
def test_no_command_is_an_error_that_names_help(command, capsys):
    assert main(command) == 2
    assert "are required: COMMAND (see --help)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command, alien",
    [
        ("netspec models", "netspec.graph netspec.draw.scene netspec.export numpy"),
        ("netspec summary", "netspec.draw.scene netspec.export numpy netspec.weights"),
        ("netspec export", "netspec.draw.scene netspec.summary.report numpy"),
        ("netspec", "netspec.export netspec.draw.scene netspec.summary.report"),
        ("runtime", "numpy runtime.cli.train runtime.execution.net"),
        ("runtime check", "runtime.cli.train matplotlib"),
    ],
)
def test_a_command_imports_none_of_the_others(command, alien):
    code = (
        f"import sys; sys.argv = {[*command.split(), '--help']!r}; "
        f"from {command.split()[0]}.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([x for x in {alien.split()!r} if x in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stderr == "[]\n"


# ------------------------------------------------------------ nets of all kinds


def small(classes=3):
    n = netspec.NetSpec("small")
    n.data = L.DummyData(shape=[2, 4], data_filler=dict(type="gaussian", std=1))
    n.t = L.DummyData(shape=[2, classes])
    n.ip = L.InnerProduct(n.data, num_output=classes, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.ip, n.t)
    return n


MODEL = """
from netspec import NetSpec, layers as L

def small(classes: int = 3):
    n = NetSpec("small")
    n.data = L.DummyData(shape=[2, 4], data_filler=dict(type="gaussian", std=1))
    n.t = L.DummyData(shape=[2, classes])
    n.ip = L.InnerProduct(n.data, num_output=classes, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.ip, n.t)
    return n
"""
SOLVER = 'net: "small.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2'
KINDS = ("small.prototxt", "small.caffemodel", "small.onnx", "small.py", "solver.txt")
# What each command is called with, beside the net; those that take one.
TAKERS = {
    "netspec export": [],
    "netspec deploy": [],
    "netspec summary": [],
    "netspec draw": [],
    "netspec flatten": [],
    "netspec to-python": [],
    "netspec surgery": ["values.caffemodel", "rename", "ip=fc", "-o", "out"],
    "runtime time": ["--iterations", "1"],
    "runtime test": ["--iterations", "1", "--weights", "values.caffemodel"],
    "runtime check": [],
    "runtime check-gradients": ["--samples", "2", "--eps", "1e-4"],
    "runtime train": ["--solver", "solver.txt", "--no-progress"],
    "runtime fit": ["--max-iter", "2"],
    "runtime predict": ["--weights", "values.caffemodel", "--data", "x.npy"],
    "runtime evaluate": ["--weights", "values.caffemodel", "--data", "x.npy", "y.npy"],
}
# What each of them tells of the net.
TOLD = {
    "netspec export": 'type: "InnerProduct"',
    "netspec deploy": 'type: "InnerProduct"',
    "netspec summary": "small",
    "netspec draw": "InnerProduct",
    "netspec flatten": 'type: "InnerProduct"',
    "netspec to-python": 'NetSpec("small',
    "netspec surgery": "out.caffemodel",
    "runtime time": "InnerProduct",
    "runtime test": "loss = ",
    "runtime check": "15 parameters",
    "runtime check-gradients": "ip[0]",
    "runtime train": "training small",
    "runtime fit": "training small",
    "runtime predict": "ip",
    "runtime evaluate": "small",
}
WANT_LOSS = ("test", "fit", "train", "check-gradients")
ONNX = {f"runtime {name}" for name in WANT_LOSS}


@cache
def onnx_bytes():
    onnx = pytest.importorskip("onnx")
    n = netspec.NetSpec("small")
    n.data = L.Input(shape=[2, 4])
    n.ip = L.InnerProduct(n.data, num_output=3, weight_filler="xavier")
    weights = {"ip": [[[0.5] * 4] * 3, [0.25] * 3]}
    model = netspec.to_onnx(n, weights)
    assert onnx.__version__
    return model.SerializeToString()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = small().to_proto()
    write_message("small.prototxt", net)
    write_message("small.caffemodel", net)
    Path("small.py").write_text(MODEL)
    Path("solver.txt").write_text(SOLVER)
    for layer in net.layer:
        if layer.name == "ip":
            layer.blobs.add(data=[0.5] * 12).shape.dim.extend([3, 4])
            layer.blobs.add(data=[0.25] * 3).shape.dim.extend([3])
    write_message("values.caffemodel", net)
    np.save("x.npy", np.ones((5, 4), "float32"))
    np.save("y.npy", np.ones((5, 3), "float32"))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", TAKERS)
def test_a_net_of_any_kind_is_taken(command, kind, folder, capsys):
    if kind == "small.onnx":
        if command in ONNX:
            pytest.skip("a net for use has no loss")
        Path(kind).write_bytes(onnx_bytes())
    words = TAKERS[command]
    if command == "runtime train" and kind == "solver.txt":
        words = ["--no-progress"]
    status = main(command, kind, *words)
    said = capsys.readouterr()
    assert status == 0, said.err
    assert TOLD[command] in said.out


@pytest.mark.parametrize("command", TAKERS)
def test_a_model_of_netspec_is_taken_by_its_name(command, folder, capsys):
    if command.startswith("runtime"):
        status = main(command, "lenet", *TAKERS[command])
        said = capsys.readouterr().err
        assert status == 1  # its data are not there, but the net was found
        assert re.search("mnist|pool1|conv1", said)
        return
    words = TAKERS[command]
    if command == "netspec surgery":
        words = ["rename", "ip1=fc", "-o", "out"]
    assert main(command, "lenet", *words) == 0
    assert "conv1" in capsys.readouterr().out or command == "netspec surgery"


@pytest.mark.parametrize(
    "missing", ["gone.prototxt", "gone.caffemodel", "gone.py", "gone", "gone/lenet.py"]
)
@pytest.mark.parametrize("command", TAKERS)
def test_a_missing_file_is_one_line_with_status_1(command, missing, folder, capsys):
    assert main(command, missing, *TAKERS[command]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert re.fullmatch(r"error: [^\n]*gone[^\n]*\n", said.err), said.err


@pytest.mark.parametrize("command", [*TAKERS])
def test_a_model_takes_settings_in_every_command(command, folder, capsys):
    assert main(command, "small.py", *TAKERS[command], "--set", "clases=4") == 1
    assert "no parameter 'clases'; did you mean 'classes'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command, source",
    [
        ("netspec export", "small.caffemodel"),
        ("netspec export", "small.prototxt"),
        ("netspec deploy", "small.prototxt"),
        ("netspec flatten", "small.prototxt"),
        ("netspec to-python", "small.py"),
    ],
)
def test_what_is_read_is_not_written_over(command, source, folder, capsys):
    before = Path(source).read_bytes()
    assert main(command, source, "-o", f"./{source}") == 1
    assert "is what is read; it stays as it is" in capsys.readouterr().err
    assert Path(source).read_bytes() == before


def test_the_net_of_a_solver_is_not_written_over_either(folder, capsys):
    before = Path("small.prototxt").read_bytes()
    assert main("netspec export", "solver.txt", "-o", "small.prototxt") == 1
    assert "small.prototxt is what is read" in capsys.readouterr().err
    assert Path("small.prototxt").read_bytes() == before


def test_a_solver_file_runs_no_code_by_itself(folder, capsys):
    Path("small.py").write_text(MODEL + "print('it ran')\n")
    Path("solver.txt").write_text(SOLVER.replace("small.prototxt", "small.py"))
    for command in ("netspec summary", "runtime check", "runtime train"):
        assert main(command, "solver.txt") == 1
        said = capsys.readouterr()
        assert "it ran" not in said.out
        assert "its net is the Python file small.py" in said.err
    words = ("small.py", "--solver", "solver.txt", "--no-progress")
    assert main("runtime train", *words) == 0
    assert "it ran" in capsys.readouterr().out


def test_weights_are_not_written_over_what_they_are_read_from(folder, capsys):
    before = Path("values.caffemodel").read_bytes()
    words = ("values.caffemodel", "./values.caffemodel")
    assert main("netspec weights", *words) == 1
    assert "is what is read" in capsys.readouterr().err
    assert Path("values.caffemodel").read_bytes() == before


@pytest.mark.parametrize(
    "command, out",
    [
        ("netspec export", "new.prototxt"),
        ("netspec export", "new.caffemodel"),
        ("netspec deploy", "new.prototxt"),
        ("netspec flatten", "new.prototxt"),
        ("netspec to-python", "new.py"),
        ("netspec draw", "new.svg"),
    ],
)
def test_what_was_written_is_told(command, out, folder, capsys):
    assert main(command, "small.prototxt", "-o", out) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert Path(out).is_file()
