"""`python -m runtime`: what every command prints, and how each one fails."""

import re
from pathlib import Path

import pytest

from runtime.__main__ import main
from tests.runtime.cli.command_line import fail, start
from tests.runtime.training.test_solver import NOISE

# ---------------------------------------------------------------- test


def test_test_prints_the_mean_of_every_output(trained, capsys):
    capsys.readouterr()
    arguments = ["test", "--model", "net.prototxt", "--iterations", "4"]
    assert main([*arguments, "--weights", "solver_iter_6.caffemodel"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^4 batches of 5 in [\d.]+ s \([\d,]+ images/s\)$", out, re.M)
    loss = re.search(r"^loss = ([\d.]+) \(loss, weight 1\)$", out, re.MULTILINE)
    assert f"objective = {loss.group(1)}\n" in out


def test_test_lists_small_outputs_and_sums_up_large_ones(trained, capsys):
    net = NOISE + (
        'layer { name: "small" type: "Reshape" bottom: "y" top: "small" '
        "reshape_param { shape { dim: 10 } } }"
        'layer { name: "large" type: "DummyData" top: "large" '
        "dummy_data_param { shape { dim: 101 } data_filler { value: 1.5 } } }"
    )
    Path("net.prototxt").write_text(net)
    capsys.readouterr()
    arguments = ["test", "--model", "net.prototxt", "--iterations", "2"]
    assert main([*arguments, "--weights", "solver_iter_6.caffemodel"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^small\[\d\] = ", out, re.MULTILINE)) == 10
    assert "large (101,): mean 1.5\n" in out


def test_test_refuses_a_net_that_nothing_feeds(trained, capsys):
    net = NOISE.replace(
        'type: "DummyData" top: "x" top: "t"', 'type: "Input" top: "x" top: "t"'
    ).replace("dummy_data_param", "input_param")
    net = re.sub(r"data_filler \{[^}]*\}", "", net)
    Path("net.prototxt").write_text(net)
    error = fail(
        capsys,
        *("test", "--model", "net.prototxt"),
        *("--weights", "solver_iter_6.caffemodel"),
    )
    assert "nothing feeds the net's inputs x, t; test needs a net with a data" in error


@pytest.mark.parametrize(
    "model, weight_file, message",
    [
        ("lost.prototxt", "solver_iter_6.caffemodel", "lost.prototxt: cannot be read"),
        ("net.prototxt", "lost.caffemodel", "lost.caffemodel: cannot be read: No such"),
        ("net.prototxt", "solver.prototxt", "solver.prototxt: is no weight file"),
        ("broken.prototxt", "solver_iter_6.caffemodel", "broken.prototxt:1:"),
    ],
)
def test_test_refuses_bad_files(trained, capsys, model, weight_file, message):
    Path("broken.prototxt").write_text("layer { name: ")
    arguments = ("test", "--model", model, "--weights", weight_file)
    assert message in fail(capsys, *arguments)


# ---------------------------------------------------------------- time, check, devices


def test_time_prints_a_row_for_every_layer(folder, capsys):
    assert main(["time", "--model", "net.prototxt", "--iterations", "3"]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^(\S+) +(\S+) +[\d.]+ +[\d.]+ +[\d.]+%$", out, re.MULTILINE)
    assert rows == [
        ("data", "DummyData"),
        ("ip", "InnerProduct"),
        ("drop", "Dropout"),
        ("out", "InnerProduct"),
        ("loss", "EuclideanLoss"),
    ]
    assert re.search(r"^mean of 3 passes on numpy: [\d.]+ ms for 5 images", out, re.M)


def test_time_refuses_a_missing_net(folder, capsys):
    assert "lost.prototxt" in fail(capsys, "time", "--model", "lost.prototxt")


def test_check_describes_the_net_of_both_phases(folder, capsys):
    assert main(["check", "net.prototxt"]) == 0
    assert capsys.readouterr().out == (
        "net.prototxt: noise\n"
        "  TRAIN: 5 layers, 62 parameters; data data (DummyData); outputs loss; losses "
        "loss\n"
        "  TEST: 5 layers, 62 parameters; data data (DummyData); outputs loss; losses "
        "loss\n"
    )


def test_check_says_what_is_wrong_in_which_phase(folder, capsys):
    rule = "include { phase: TEST } inner_product_param { num_output: 3 } }"
    Path("net.prototxt").write_text(
        NOISE
        + f'layer {{ name: "extra" type: "InnerProduct" bottom: "z" top: "w" {rule}'
    )
    capsys.readouterr()
    assert main(["check", "net.prototxt"]) == 1
    shown = capsys.readouterr()
    assert "  TRAIN: 5 layers" in shown.out
    assert "  TEST: cannot be built" in shown.out
    assert re.fullmatch(r"error: net.prototxt:13: layer 'extra' .*'z'.*\n", shown.err)


DATABASE = """
layer { name: "data" type: "Data" top: "x" top: "t"
        data_param { source: "lost" batch_size: 4 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 } }
"""


def test_check_without_the_data_needs_its_shapes(folder, capsys):
    pytest.importorskip("lmdb")
    Path("net.prototxt").write_text(DATABASE)
    assert "layer 'data' (Data): the shapes of its" in fail(
        capsys, "check", "net.prototxt"
    )
    shapes = ("--shape", "x=4,2,5,5", "--shape", "t=4")
    assert main(["check", "net.prototxt", *shapes]) == 0
    assert "TRAIN: 2 layers, 153 parameters; data data" in capsys.readouterr().out


def test_check_notes_a_database_that_is_not_there(folder, capsys):
    pytest.importorskip("lmdb")
    crop = "transform_param { crop_size: 5 force_color: true } data_param"
    Path("net.prototxt").write_text(DATABASE.replace("data_param", crop))
    assert main(["check", "net.prototxt"]) == 0
    out = capsys.readouterr().out
    assert "TEST: 2 layers, 228 parameters" in out
    assert "    note: layer 'data' (Data): database lost does not exist\n" in out


def test_check_names_a_layer_without_arithmetic(folder, capsys):
    Path("net.prototxt").write_text(
        NOISE + 'layer { name: "odd" type: "DetectionOutput" bottom: "y" bottom: "y" '
        'bottom: "y" top: "z" detection_output_param { num_classes: 2 } }'
    )
    assert "layer 'odd' (DetectionOutput)" in fail(capsys, "check", "net.prototxt")


def test_devices_lists_backends_and_libraries(capsys):
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^numpy: .*\d+ cores", out, re.MULTILINE)
    assert re.search(r"^cupy: ", out, re.MULTILINE)
    assert re.search(r"^protobuf: \d", out, re.MULTILINE)


def test_missing_device_is_one_line(folder, capsys):
    pytest.importorskip("numpy")
    try:
        import cupy  # noqa: F401
    except ImportError:
        arguments = ("time", "--model", "net.prototxt", "--backend", "cupy")
        assert "install the extra netspec[cuda]" in fail(capsys, *arguments)
    else:
        pytest.skip("CuPy is installed")


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "the following arguments are required: COMMAND"),
        (("trian",), "invalid choice: 'trian'"),
        (("train",), "the following arguments are required: --solver"),
        (("train", "--solver", "s", "--max-iter", "0"), "a number above 0, got '0'"),
        (("check", "n", "--shape", "x=4,a"), "as in data=1,3,224,224; got 'x=4,a'"),
        (("time", "--model", "n", "--phase", "tset"), "invalid choice: 'TSET'"),
        (("train", "--solver", "s", "--backend", "torch"), "unknown backend 'torch'"),
    ],
)
def test_bad_command_line_is_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert re.fullmatch(r"python -m runtime.*: error: .* \(see --help\)\n", error)


@pytest.mark.parametrize("command", [(), ("train",), ("test",), ("time",), ("check",)])
def test_help_is_there(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: python -m runtime" in capsys.readouterr().out


def test_full_standard_output_is_one_line(folder):
    with (
        Path("/dev/full").open("w") as full,
        start("check", "net.prototxt", stdout=full) as process,
    ):
        _, error = process.communicate()
    assert process.returncode == 1
    assert error == "error: No space left on device\n"
