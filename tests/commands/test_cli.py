"""What all commands share: one line for whatever goes wrong."""

import argparse

import pytest

from netspec.commands.cli import Parser, positive, run
from netspec.commands.net_argument import named_shape
from netspec.errors import FileError, ShapeError


def failing(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    "error, status, line",
    [
        (ShapeError("layer 'a':\n  wrong"), 1, "error: layer 'a': wrong\n"),
        (FileError("x: cannot be read"), 1, "error: x: cannot be read\n"),
        (OSError(28, "No space left", "y"), 1, "error: y: No space left\n"),
        (OSError(28, "No space left"), 1, "error: No space left\n"),
        (MemoryError(), 1, "error: out of memory\n"),
        (MemoryError("of 9 GiB"), 1, "error: out of memory: of 9 GiB\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (
            TypeError("oops"),
            1,
            "error: internal error: TypeError: oops; NETSPEC_DEBUG=1 shows where\n",
        ),
    ],
)
def test_whatever_goes_wrong_is_one_line(capsys, error, status, line):
    assert run(failing(error)) == status
    assert capsys.readouterr() == ("", line)


def test_traceback_is_kept_for_those_who_ask(monkeypatch):
    monkeypatch.setenv("NETSPEC_DEBUG", "1")
    with pytest.raises(TypeError, match="oops"):
        run(failing(TypeError("oops")))


def test_status_is_that_of_the_command(capsys):
    assert run(lambda: None) == 0
    assert run(lambda: 7) == 7
    assert capsys.readouterr().err == ""


def test_bad_option_is_one_line_with_the_way_to_help(capsys):
    parser = Parser(prog="tool")
    parser.add_argument("--count", type=positive)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--count", "-3"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "tool: error: argument --count: expected a number above 0, got '-3' "
        "(see --help)\n"
    )


def test_positive_reads_numbers_above_zero():
    assert positive("12") == 12
    for text in ("0", "-1", "1.5", "many"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"got '{text}'"):
            positive(text)


def test_named_shape_reads_a_name_and_sizes():
    assert named_shape("data=1,3,224,225") == ("data", (1, 3, 224, 225))
    for text in ("data", "=1,2", "data=", "data=1,x", "data=1,-2"):
        with pytest.raises(argparse.ArgumentTypeError, match="sizes, as in data=1,3"):
            named_shape(text)
