"""`python -m runtime check-gradients`: what it prints, and when it fails."""

from pathlib import Path

import pytest

from runtime.__main__ import main
from runtime.layers.activation import TanH
from tests.runtime.cli.command_line import fail

NET = """
name: "small"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "h"
  inner_product_param { num_output: 5 } }
layer { name: "t" type: "TanH" bottom: "h" top: "y" include { phase: TRAIN } }
layer { name: "s" type: "Sigmoid" bottom: "h" top: "y" include { phase: TEST } }
"""
MODEL = """
from netspec import NetSpec, layers as L

def small():
    n = NetSpec("small")
    n.data, n.label = L.Data(source="gone", batch_size=2, backend="LMDB", ntop=2)
    n.loss = L.SoftmaxWithLoss(n.data, n.label)
    return n
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("small.py").write_text(MODEL)
    return tmp_path


def lines(capsys, *arguments, status=0):
    assert main(["check-gradients", *arguments]) == status
    return capsys.readouterr().out.splitlines()


def test_it_prints_a_table_and_succeeds(folder, capsys):
    out = lines(capsys, "net.prototxt")
    assert out[0].startswith("net 'small': all gradients are right")
    assert [line.split()[0] for line in out[2:]] == ["x", "ip[0]", "ip[1]"]


def test_the_exit_status_is_1_where_a_gradient_is_wrong(folder, capsys, monkeypatch):
    right = TanH.gradient

    def gradient(self, dx):
        right(self, dx)
        dx *= 2

    monkeypatch.setattr(TanH, "gradient", gradient)
    out = lines(capsys, "net.prototxt", status=1)
    assert out[0].startswith("net 'small': WRONG: x, ip[0], ip[1] (eps")
    assert all("WRONG" in line for line in out[2:5])
    lines(capsys, "net.prototxt", "--phase", "TEST")  # has no TanH
    lines(capsys, "net.prototxt", "--rtol", "0.6")


def test_options_say_what_to_check_and_how(folder, capsys):
    out = lines(
        capsys,
        *("net.prototxt", "--wrt", "ip[1]", "--wrt", "h", "--samples", "3"),
        *("--eps", "1e-4", "--rtol", "1e-3", "--shape", "x=7,2", "--seed", "5"),
    )
    assert "(eps 0.0001, rtol 0.001)" in out[0]
    assert [line.split()[:2] for line in out[2:]] == [["h", "7x5"], ["ip[1]", "5"]]
    assert " of 35 " in out[2]


def test_a_model_file_is_checked_without_its_data(folder, capsys):
    out = lines(capsys, "small.py", "--shape", "data=4,3", "--shape", "label=4")
    assert out[2].split()[:2] == ["data", "4x3"]
    error = fail(capsys, "check-gradients", "small.py")
    assert "give the shapes of its tops (--shape)" in error


def test_nothing_to_check_is_a_failure(folder, capsys):
    Path("none.prototxt").write_text(
        'layer { name: "a" type: "ArgMax" bottom: "x" top: "y" }'
    )
    arguments = ("check-gradients", "none.prototxt", "--shape", "x=2,3")
    assert "none.prototxt: no gradient to check" in fail(capsys, *arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["lost.prototxt"], "lost.prototxt: cannot be read"),
        (["net.prototxt", "--wrt", "ipp"], "wrt: 'ipp' is no blob and no parameter"),
        (["net.prototxt", "--shape", "z=3"], "shapes: 'z' is no blob"),
        (["net.prototxt", "--eps", "2"], "eps is 2.0; expected"),
        (["net.prototxt", "--weights", "lost.h5"], "lost.h5"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, arguments, message):
    assert message in fail(capsys, "check-gradients", *arguments)
