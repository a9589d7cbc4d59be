"""Modules in the net text: where they are read, and `python -m netspec.flatten`."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import netspec
from netspec.errors import TextError
from netspec.flatten import main
from netspec.nets.upgrade import upgrade_text
from netspec.schema import NetParameter, SolverParameter
from netspec.text import parse, read_net, to_text, write_message
from netspec.text.modules import has_modules
from tests.patience import PATIENCE_S
from tests.reference import needs_reference, reference_dir
from tests.schema.random_messages import messages
from tests.test_architecture import ROOT
from tests.text.modules.test_flatten import CONV, USE, flat, same, write

GOOGLENET = ROOT / "models" / "googlenet_modules.prototxt"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("module { }", True),
        ("name: 'x' import: 'y'", True),
        ("layer { module: 'x' }", True),
        ("layer { python_param { module: 'x' } }", False),
        ("layer < a < module: 'x' > > layer: < module: 'y' >", True),
        ("# module {\nname: 'module { '", False),
        ("layer { name: 'module' import: 3 }", False),
        ("submodule { }", False),
    ],
)
def test_modules_are_seen(text, found):
    assert has_modules(text) is found


@needs_reference
def test_googlenet_of_modules_is_the_published_one():
    published = "BVLC__caffe/models__bvlc_googlenet__train_val.prototxt"
    text = (reference_dir() / "zoo" / published).read_text()
    assert read_net(GOOGLENET) == parse(text, NetParameter)
    assert len(GOOGLENET.read_text().splitlines()) < len(text.splitlines()) / 6


def test_googlenet_of_modules_is_that_of_the_model_file():
    from netspec.commands.model_files import load_model

    assert read_net(GOOGLENET) == load_model(ROOT / "models" / "googlenet.py")


def test_the_examples_of_the_docs_mean_what_they_say():
    page = (ROOT / "docs" / "modules-in-text.md").read_text()
    first, meaning, siamese, _ = re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)
    same(first, meaning)
    net = flat(siamese)
    names = [[spec.name for spec in layer.param] for layer in net.layer]
    assert names[1] == names[4] == ["tower/ip1_w", "tower/ip1_b"]
    assert netspec.summarize(net).num_params == 784 * 500 + 500 + 500 * 2 + 2
    assert f"{len(GOOGLENET.read_text().splitlines())} lines" in page


def test_the_command_writes_the_flat_net(tmp_path, capsys):
    path = write(tmp_path, net=CONV + USE + "values { width: 3 } }")
    assert main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert parse(printed, NetParameter) == read_net(path)
    assert "module" not in printed
    for name in ("flat.prototxt", "flat.binaryproto"):
        assert main([str(path), "-o", str(tmp_path / name)]) == 0
        assert read_net(tmp_path / name) == read_net(path)
    path.write_text(CONV + USE + "}")
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}:17:1: module 'Conv' needs width")
    assert said.count("\n") == 1


def test_a_net_without_modules_flattens_to_itself(tmp_path, capsys):
    from hypothesis import HealthCheck, given, settings

    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
        ],
    )
    @given(messages("NetParameter"))
    def check(net):
        write_message(tmp_path / "net.prototxt", net)
        assert main([str(tmp_path / "net.prototxt")]) == 0
        assert capsys.readouterr().out == to_text(net)

    check()


def test_other_commands_read_modules(tmp_path):
    text = """
    layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 2, 5, 5] } }
    }
    """
    path = write(tmp_path, net=CONV + text + USE + "values { width: 3 } }")
    assert netspec.summarize(path).num_params == 3 * 2 * 9 + 3
    assert 'name: "a/relu"' in upgrade_text(path.read_text())
    for command in (
        ["netspec.summary", path],
        ["netspec.draw", path],
        ["runtime", "check", path],
    ):
        arguments = [sys.executable, "-m", *map(str, command)]
        done = subprocess.run(
            arguments, cwd=ROOT, capture_output=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr.decode()
        assert b"a/conv" in done.stdout or command[1] == "check"


def test_solvers_have_no_modules():
    with pytest.raises(TextError, match="SolverParameter has no field 'module'"):
        parse("module { }", SolverParameter)
