"""Nets as Python source: the same net, repeated parts as functions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.commands.model_files import load_model
from netspec.errors import SpecError
from netspec.nets.upgrade import upgrade_net
from netspec.schema import NetParameter
from netspec.text import parse, read_net, to_text
from netspec.to_python.__main__ import main
from netspec.to_python.source import _factored as factored
from netspec.to_python.source import net_of, python_source
from tests.example_nets import ODD, TOWER, TRAIN_TEST
from tests.patience import PATIENCE_S
from tests.random_specs import specs, without_warnings
from tests.reference import needs_reference, zoo_names, zoo_path

ROOT = Path(__file__).resolve().parents[2]
MAX_COLUMNS = 88


def checked(net: NetParameter) -> str:
    """Return the source of `net`, which makes it and is always the same."""
    source = python_source(net)
    assert source == python_source(net)
    assert net_of(source) == net
    compile(source, "source", "exec")
    return source


def called(source: str) -> list[str]:
    """The names of all functions called in the net function."""
    (main_function,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "net"
    ]
    return [
        ast.unparse(node.func)
        for node in ast.walk(main_function)
        if isinstance(node, ast.Call)
    ]


def functions(source: str) -> list[str]:
    """The names of the functions beside the net function."""
    nodes = ast.parse(source).body
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name != "net"]


def ruff(*arguments: str) -> None:
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_small_net_reads_as_written_by_hand():
    source = checked(netspec.load(TOWER).to_proto())
    assert (
        source
        == '''\
"""The net tower, written by netspec.to_python."""

from netspec import NetSpec
from netspec import layers as L


def net():
    """Return the net."""
    n = NetSpec("tower")
    n.data = L.Input(shape=[2, 3, 9, 8], name="input")
    n.conv1 = L.Convolution(
        n.data,
        num_output=5,
        kernel_size=3,
        weight_filler="xavier",
        param=[dict(name="w", lr_mult=0.5)],
    )
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool="AVE", kernel_size=2, stride=2)
    n.fc8 = L.InnerProduct(n.pool1, num_output=7)
    n.prob = L.Softmax(n.fc8)
    return n
'''
    )


def test_phases_net_fields_and_losses_without_tops():
    source = checked(netspec.load(TRAIN_TEST).to_proto())
    assert (
        'NetSpec("both", force_backward=True, state=dict(level=2, stage="deep"))'
        in source
    )
    assert "ntop=0" in source


def test_what_calls_cannot_say_is_text():
    net = netspec.load(ODD).to_proto()
    assert "netspec.load(TEXT)" in checked(net)


def test_types_outside_the_catalogue_are_called_by_name():
    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.y = netspec.layer("Odd", n.x, convolution_param=dict(num_output=3))
    assert 'netspec.layer("Odd", n.x, ' in checked(n.to_proto())


def test_values_of_parameters_are_left_out():
    net = netspec.load(TOWER).to_proto()
    whole = NetParameter.FromString(net.SerializeToString())
    whole.layer[1].blobs.add(data=[1.5])
    assert python_source(whole) == python_source(net)


def repeated(count):
    n = NetSpec("chain")
    n.data = L.Input(shape=[2, 3, 20, 20])
    x = n.data
    for index in range(count):
        name = f"stage{index}"
        x = n[f"{name}/conv"] = L.Convolution(
            x,
            num_output=4 + index,
            kernel_size=3,
            weight_filler="msra",
            pad=index % 2 or None,
        )
        x = n[f"{name}/relu"] = L.ReLU(x, in_place=True)
        x = n[f"{name}/pool"] = L.Pooling(x, pool="MAX", kernel_size=2, stride=1)
    n.prob = L.Softmax(x)
    return n


def test_repeated_parts_become_one_function():
    source = checked(repeated(5).to_proto())
    assert functions(source) == ["conv_relu_pool"]
    assert called(source).count("conv_relu_pool") == 5
    assert 'conv_relu_pool(n, "stage1", n["stage0/pool"], 5, pad=1)' in source
    assert "def conv_relu_pool(n, name, x, num_output, pad=None):" in source


def test_a_part_that_is_read_in_two_places_returns_both():
    n = NetSpec()
    n.x = L.Input(shape=[2, 3, 8, 8])
    for index in range(4):
        x = n[f"x{index - 1}/sum"] if index else n.x
        n[f"x{index}/a"] = L.Convolution(
            x, num_output=3, kernel_size=1, weight_filler="xavier", bias_filler=0.5
        )
        n[f"x{index}/b"] = L.Sigmoid(n[f"x{index}/a"])
        n[f"x{index}/sum"] = L.Eltwise(
            n[f"x{index}/a"], n[f"x{index}/b"], operation="MAX"
        )
    n.out = L.Concat(*(n[f"x{index}/b"] for index in range(4)), n["x3/sum"])
    source = checked(n.to_proto())
    assert "return sigmoid, eltwise" in source


def test_equal_options_become_constants():
    n = NetSpec()
    n.x = L.Input(shape=[2, 30])
    learn = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
    n.a = L.InnerProduct(n.x, num_output=3, weight_filler="xavier", param=learn)
    n.b = L.TanH(n.a)
    n.c = L.InnerProduct(n.b, num_output=4, weight_filler="xavier", param=learn)
    n.d = L.InnerProduct(n.a, num_output=4, axis=-1, param=learn)
    source = checked(n.to_proto())
    assert source.count("decay_mult=0") == 1
    assert 'FC = dict(weight_filler="xavier", param=PARAM)' in source


@pytest.mark.parametrize("name", ["conv", "n", "net", "L", "x", "for", "print", "tops"])
def test_names_do_not_hide_each_other(name):
    n = NetSpec(name)
    n.data = L.Input(shape=[2, 3, 20, 20])
    x = n.data
    for part in ("a", "b", "c"):
        x = n[f"{name}_{part}"] = L.Convolution(x, num_output=3, kernel_size=3)
        x = n[f"{name}_{part}/relu"] = L.ReLU(x, in_place=True)
    n[name] = L.Power(x, scale=2)
    checked(n.to_proto())


def test_long_texts_and_names_are_split(tmp_path):
    n = NetSpec()
    n.x = L.Data(source="/a/very/long/path" * 12, batch_size=3, backend="LMDB")
    n["a_long_name" * 5] = L.Python(n.x, module="m", layer="l", param_str="x" * 90)
    source = checked(n.to_proto())
    assert max(map(len, source.split("\n"))) <= MAX_COLUMNS
    path = tmp_path / "long.py"
    path.write_text(source)
    ruff("format", "--check", "--config", "pyproject.toml", str(path))


@given(specs())
@settings(max_examples=80, deadline=None)
def test_every_spec_survives_as_source(spec):
    net = without_warnings(spec.to_proto)
    checked(net)
    assert net_of(factored(net)) == net


def test_the_command_writes_a_file_that_is_a_model(tmp_path, capsys):
    net = tmp_path / "deploy.prototxt"
    net.write_text(TOWER)
    path = tmp_path / "made.py"
    assert main([str(net), "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert load_model(path) == netspec.load(TOWER).to_proto()
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == path.read_text()
    assert main([str(tmp_path / "none.prototxt")]) == 1
    assert "none.prototxt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "model", sorted((ROOT / "models").glob("[a-z]*.py")), ids=lambda p: p.stem
)
def test_our_models_survive_as_source(model):
    checked(without_warnings(lambda: load_model(model)))


# --- real nets

READABLE = ("built", "parsed", "python-layer", "unknown-layer-types")
AS_TEXT = 3  # nets that calls cannot say: equal names, a label of several columns


def published(name: str) -> NetParameter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return upgrade_net(read_net(zoo_path(name)))


@needs_reference
@pytest.mark.slow
def test_published_nets_survive_as_source(tmp_path):
    as_text = []
    for index, name in enumerate(zoo_names(*READABLE)):
        net = published(name)
        try:
            source = factored(net)
            assert net_of(source) == net, name
        except SpecError:
            as_text.append(name)
            checked(net)
        else:
            (tmp_path / f"net{index}.py").write_text(source)
    assert len(as_text) <= AS_TEXT, as_text
    assert not set(as_text) & set(zoo_names("built"))
    ruff("check", "--config", "pyproject.toml", str(tmp_path))
    ruff("format", "--check", "--config", "pyproject.toml", str(tmp_path))


def lengths(net: NetParameter) -> tuple[int, int]:
    """Report the lines of the source of `net` and of its prototxt, as documented."""
    ours, theirs = checked(net).count("\n"), to_text(net).count("\n")
    print(f"{net.name}: {ours} lines of Python, {theirs} of prototxt")
    shown = (ROOT / "docs/reading-nets.md").read_text()
    assert f"| {theirs:,} lines | {ours:,} lines |" in shown
    return ours, theirs


@needs_reference
def test_googlenet_is_nine_calls_of_one_inception():
    name = "BVLC__caffe/models__bvlc_googlenet__train_val.prototxt"
    net = published(name)
    source = checked(net)
    calls = called(source)
    assert calls.count("inception") == 9
    assert re.search(
        r'inception\(n, "inception_4b", n\["inception_4a/output"\], 160, 112, 224, 24, '
        r"64, 64\)",
        source,
    )
    ours, theirs = lengths(net)
    assert ours < theirs / 10


@needs_reference
def test_resnet_is_calls_of_blocks():
    net = published(
        "KaimingHe__deep-residual-networks/prototxt__ResNet-50-deploy.prototxt"
    )
    source = checked(net)
    assert "conv_bn_scale" in functions(source)
    assert len(called(source)) < 26  # 16 blocks, one by one
    ours, theirs = lengths(net)
    assert ours < theirs / 20


def vgg16() -> NetSpec:
    n = NetSpec("VGG_ILSVRC_16_layers")
    n.data = L.Input(shape=[10, 3, 224, 224])
    x = n.data
    stages = ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512))
    for stage, count, width in stages:
        for index in range(1, count + 1):
            name = f"{stage}_{index}"
            x = n[f"conv{name}"] = L.Convolution(
                x, num_output=width, pad=1, kernel_size=3
            )
            x = n[f"relu{name}"] = L.ReLU(x, in_place=True)
        x = n[f"pool{stage}"] = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
    for index, width in ((6, 4096), (7, 4096)):
        x = n[f"fc{index}"] = L.InnerProduct(x, num_output=width)
        x = n[f"relu{index}"] = L.ReLU(x, in_place=True)
        x = n[f"drop{index}"] = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    n.fc8 = L.InnerProduct(x, num_output=1000)
    n.prob = L.Softmax(n.fc8)
    return n


def test_vgg_is_calls_of_stages():
    net = vgg16().to_proto()
    source = checked(net)
    assert "conv_relu" in functions(source)
    ours, theirs = lengths(net)
    assert ours < theirs / 4


def test_source_is_the_same_in_another_process(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(to_text(repeated(4).to_proto()))
    command = [sys.executable, "-m", "netspec.to_python", str(path)]
    for seed in ("1", "2"):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
        assert done.stdout == python_source(parse(path.read_text(), NetParameter))
