"""`python -m netspec.draw`: what it writes, and its errors."""

import re

import pytest

from netspec.draw import draw
from netspec.draw.__main__ import main
from tests.draw.nets import NET, texts


def test_the_command_writes_the_file_and_names_it(tmp_path, capsys):
    source = tmp_path / "net.prototxt"
    source.write_text(NET)
    target = tmp_path / "net.svg"
    assert main([str(source), "-o", str(target), "--phase", "TEST"]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert target.read_text() == draw(source, phase="TEST")
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_the_command_writes_svg_to_standard_output(tmp_path, capsys):
    source = tmp_path / "net.prototxt"
    source.write_text(NET)
    assert main([str(source)]) == 0
    assert capsys.readouterr().out == draw(NET)


def test_the_command_takes_shapes_and_python_files(tmp_path, capsys):
    model = tmp_path / "pair.py"
    model.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def pair(deploy=False):\n"
        "    n = NetSpec()\n"
        "    data = dict(source='s', batch_size=5)\n"
        "    n.x = L.Input(shape=[4, 3]) if deploy else L.HDF5Data(**data)\n"
        "    n.y = L.InnerProduct(n.x, num_output=6)\n"
        "    return n\n"
    )
    assert main([str(model), "--shape", "x=5,2"]) == 0
    assert "5×6" in texts(capsys.readouterr().out)
    assert main([str(model), "--deploy"]) == 0
    assert "4×6" in texts(capsys.readouterr().out)


def test_the_command_derives_the_net_for_use_of_a_python_file(tmp_path, capsys):
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
    assert main([str(model), "--deploy"]) == 1
    assert "--shape" in capsys.readouterr().err
    assert main([str(model), "--deploy", "--shape", "x=5,2"]) == 0
    drawn = texts(capsys.readouterr().out)
    assert "prob" in drawn
    assert "loss" not in drawn


def test_the_net_for_use_of_a_prototxt_is_derived(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "x" type: "HDF5Data" top: "x" top: "y"'
        ' hdf5_data_param { source: "list" batch_size: 3 } }'
        'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"'
        " inner_product_param { num_output: 2 } }"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" }'
    )
    assert main([str(path), "--deploy"]) == 1
    assert "--shape" in capsys.readouterr().err
    assert main([str(path), "--deploy", "--shape", "x=5,2"]) == 0
    drawn = texts(capsys.readouterr().out)
    assert "prob" in drawn
    assert "loss" not in drawn


def test_a_bad_shape_is_an_error_of_usage(capsys):
    with pytest.raises(SystemExit) as left:
        main(["net.prototxt", "--shape", "data=one"])
    assert left.value.code == 2
    assert "as in data=1,3,224,224; got 'data=one'" in capsys.readouterr().err


def test_a_missing_net_is_one_line_and_not_a_traceback(tmp_path, capsys):
    assert main([str(tmp_path / "absent.prototxt")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.match("error: .*absent.prototxt", lines[0])


def test_a_net_with_data_for_training_alone_is_drawn_without_a_mistake(
    tmp_path, capsys
):
    path = tmp_path / "train.prototxt"
    path.write_text(
        'layer { name: "in" type: "DummyData" top: "x" include { phase: TRAIN }'
        "  dummy_data_param { shape { dim: [2, 3] } } }"
        'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"'
        "  inner_product_param { num_output: 4 } }"
    )
    assert main([str(path)]) == 0
    assert "TRAIN" in texts(capsys.readouterr().out)
    assert main([str(path), "--phase", "TEST"]) == 1
    assert "('x') is not the top of an earlier layer" in capsys.readouterr().err
