"""The commands that read and write files of forks."""

import numpy as np
import pytest
from google.protobuf import text_format

import netspec
from netspec import export, flatten
from netspec.forks import __main__ as forks_command
from netspec.forks.chosen import in_force, schema_named
from netspec.forks.files import message_class
from netspec.summary.__main__ import main as summary
from netspec.to_python.__main__ import main as to_python
from netspec.weights import read_weights
from netspec.weights.__main__ import main as weights
from runtime.__main__ import main as runtime

SEGNET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "u" type: "Upsample" bottom: "a" bottom: "m" top: "u"
        upsample_param { scale: 2 upsample_h: 45 } }
layer { name: "b" type: "BN" bottom: "u" top: "b" bn_param { bn_mode: INFERENCE }
        blobs { shape { dim: 3 } data: [1, 2, 3] } }
"""
ROUNDED = """
layer { name: "x" type: "Input" top: "x"
        input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer { name: "p" type: "Pooling" bottom: "x" top: "p"
        pooling_param { kernel_size: 3 stride: 2 ceil_mode: false } }
"""
C3D = """
layers { name: "c" type: CONVOLUTION3D bottom: "a" top: "c"
         blobs { num: 2 channels: 1 length: 1 height: 3 width: 1
                 data: [1, 2, 3, 4, 5, 6] } }
"""


def file_of(tmp_path, fork, text):
    theirs = message_class(schema_named(fork), "NetParameter")()
    path = tmp_path / f"{fork}.caffemodel"
    path.write_bytes(text_format.Parse(text, theirs).SerializeToString())
    return path


def without_blobs(fork, path):
    theirs = message_class(schema_named(fork), "NetParameter").FromString(
        path.read_bytes()
    )
    for layer in theirs.layer:
        layer.ClearField("blobs")
    return theirs


@pytest.mark.parametrize("command", [flatten.main, export.main])
def test_binary_to_binary_keeps_the_numbers_of_the_fork(tmp_path, command):
    path, out = file_of(tmp_path, "segnet", SEGNET), tmp_path / "out.caffemodel"
    assert command([str(path), "-o", str(out)]) == 0
    assert without_blobs("segnet", out) == without_blobs("segnet", path)


def test_weights_keep_the_net_and_the_values(tmp_path, capsys):
    path, out = file_of(tmp_path, "segnet", SEGNET), tmp_path / "out.caffemodel"
    assert weights([str(path), str(out)]) == 0, capsys.readouterr().err
    assert without_blobs("segnet", out) == without_blobs("segnet", path)
    np.testing.assert_array_equal(read_weights(out)["b"][0], [1, 2, 3])


def test_weights_of_c3d_are_found(tmp_path):
    found = read_weights(file_of(tmp_path, "c3d-v1.0", C3D))
    np.testing.assert_array_equal(found["c"][0], np.arange(1, 7).reshape(2, 1, 1, 3, 1))


def test_numbers_in_the_place_of_plain_bytes_are_of_another_fork(tmp_path):
    text = """layer { name: "c" type: "Convolution"
              blobs { format: 3 shape { dim: 2 } data: [4, 5] } }"""
    found = read_weights(file_of(tmp_path, "vitis-ai", text))
    np.testing.assert_array_equal(found["c"][0], [4, 5])


def test_fork_is_an_option_of_the_commands(tmp_path, capsys):
    path, out = file_of(tmp_path, "rfcn-priv", ROUNDED), tmp_path / "net.prototxt"
    assert flatten.main([str(path), "-o", str(out), "--fork", "rfcn-priv"]) == 0
    assert "ceil_mode: false" in out.read_text()
    assert in_force() is None
    assert summary([str(path), "--fork", "rfcn-priv"]) == 0
    assert to_python([str(path), "--fork", "rfcn-priv"]) == 0
    assert "ceil_mode=False" in capsys.readouterr().out


def test_fork_is_an_option_of_the_runtime(tmp_path, capsys):
    path = file_of(tmp_path, "segnet", ROUNDED.replace("ceil_mode: false", ""))
    assert runtime(["check", str(path), "--fork", "segnet"]) == 0
    assert runtime(["check", str(path), "--fork", "nobody"]) == 1
    assert "there is no fork 'nobody'" in capsys.readouterr().err


def test_a_fork_that_the_file_is_not_of_is_an_error(tmp_path, capsys):
    path = file_of(tmp_path, "segnet", SEGNET)
    assert flatten.main([str(path), "--fork", "pspnet"]) == 1
    assert "is no NetParameter of PSPNet" in capsys.readouterr().err


def test_a_fork_can_be_given_to_load(tmp_path):
    path = file_of(tmp_path, "rfcn-priv", ROUNDED)
    net = netspec.load(path, fork="rfcn-priv").to_proto()
    assert "ceil_mode" in str(net.layer[1].pooling_param)


def test_the_list_has_all_forks(capsys):
    assert forks_command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 90
    assert any("weiliu89/caffe" in line and "SSD" in line for line in lines)


def test_the_fork_of_a_file_is_told(tmp_path, capsys):
    files = {
        "segnet": SEGNET,
        "rfcn-priv": ROUNDED,
        "bvlc": ROUNDED.replace("ceil_mode: false", ""),
    }
    paths = [str(file_of(tmp_path, fork, text)) for fork, text in files.items()]
    assert forks_command.main(paths) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith(": of segnet")
    assert "in doubt: field 13 of PoolingParameter is round_mode" in second
    assert third.endswith(": Caffe's own")
    (tmp_path / "broken.caffemodel").write_bytes(b"\x0f")
    assert forks_command.main([str(tmp_path / "broken.caffemodel")]) == 1
