"""Backends by name, and GPUs by number."""

import argparse
import sys

import pytest

import runtime.backends.cuda
from netspec.errors import MachineError, SpecError
from runtime.backends import by_name, full_name, get_backend
from runtime.backends.cuda.machine.cupy_device import CupyDevice
from runtime.cli.options import add_backend, add_precision, add_ways, ways
from tests.backends.cuda.fake_cupy import fake_cupy


@pytest.fixture
def made(monkeypatch):
    """The numbers of GPUs for which a backend was made, of a machine with three."""
    numbers = []

    def cupy_backend(number=0, **options):
        if number > 2:
            raise MachineError(f"there is no device {number}")
        numbers.append(number if not options else (number, options))
        return object()

    monkeypatch.setattr(runtime.backends.cuda, "cupy_backend", cupy_backend)
    by_name._made.cache_clear()
    yield numbers
    by_name._made.cache_clear()


def test_every_gpu_has_one_backend_of_its_own(made):
    first, second = get_backend("cupy"), get_backend("cupy:1")
    assert made == [0, 1]
    assert first is not second
    assert get_backend("cupy:0") is first
    assert get_backend("cupy:01") is second
    assert get_backend("cupy:2") is not second
    assert made == [0, 1, 2]


def test_a_gpu_that_was_missing_is_asked_for_again(made):
    for _ in range(2):
        with pytest.raises(MachineError, match="no device 3"):
            get_backend("cupy:3")


def test_backends_of_the_processor_are_made_once():
    assert get_backend("numpy") is get_backend("numpy")
    assert get_backend("numpy") is not get_backend("portable")


@pytest.mark.parametrize(
    "name, message",
    [
        ("cuda", "unknown backend 'cuda'; write 'cupy' for it"),
        (
            "opencl",
            "unknown backend 'opencl'; expected one of numpy, cupy, portable, o",
        ),
        ("cupi", "unknown backend 'cupi'; did you mean 'cupy'"),
        ("cupy:", "a colon and the number of a GPU may follow, from 0, as in 'cupy:1'"),
        ("cupy:-1", "unknown backend 'cupy:-1': after 'cupy'"),
        ("cupy:0,1", "unknown backend 'cupy:0,1': after 'cupy'"),
        ("cupy:٣", "unknown backend 'cupy:٣': after 'cupy'"),
        ("cupy:" + "9" * 5000, "unknown backend 'cupy:999"),
        ("numpy:1", "unknown backend 'numpy:1': after 'cupy', and only there"),
        ("what:1", "unknown backend 'what:1'; expected"),
    ],
)
def test_a_name_that_is_none_is_refused(name, message):
    with pytest.raises(SpecError, match=message):
        full_name(name)
    with pytest.raises(SpecError, match=message):
        get_backend(name)


@pytest.mark.parametrize("count, number", [(1, 1), (2, 7)])
def test_a_number_that_is_too_large_says_how_many_there_are(monkeypatch, count, number):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(["GPU"] * count))
    with pytest.raises(
        MachineError,
        match=f"there is no device {number}; this process sees {count}, numbered from",
    ):
        CupyDevice(number)


def parse(*words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_backend(parser)
    return parser.parse_args(words).backend


def test_the_command_line_names_a_backend_or_the_number_of_a_gpu():
    assert parse() == "numpy"
    assert parse("--backend", "portable") == "portable"
    assert parse("--backend", "cupy") == parse("--gpu", "0") == "cupy:0"
    assert parse("--backend", "cupy:1") == parse("--gpu", "1") == "cupy:1"


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ("--gpu", "all"),
            "number of one GPU, from 0, not 'all'; `python -m runtime d",
        ),
        (("--gpu", "0,1"), "number of one GPU, from 0, not '0,1'"),
        (("--gpu", "-1"), "expected"),
        (("--backend", "cupi"), "did you mean 'cupy'"),
        (("--backend", "cupy", "--gpu", "1"), "not allowed with"),
    ],
)
def test_the_command_line_refuses(words, message):
    with pytest.raises(argparse.ArgumentError, match=message):
        parse(*words)


def test_kernels_and_graphs_are_chosen_for_a_gpu(made):
    plain = get_backend("cupy")
    assert get_backend("cupy", kernels="own", graphs=True) is plain
    portable = get_backend("cupy:1", kernels="portable")
    assert get_backend("cupy:1", kernels="portable") is portable
    get_backend("cupy", graphs=False)
    assert made == [
        0,
        (1, {"own_kernels": False, "graphs": True}),
        (0, {"own_kernels": True, "graphs": False}),
    ]


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"kernels": "portabel"},
            "unknown kernels 'portabel'; did you mean 'portable'",
        ),
        (
            {"kernels": "portable"},
            "kernels='portable' is for a GPU, but the backend is",
        ),
        ({"graphs": False}, "graphs=False is for a GPU, but the backend is 'numpy'"),
    ],
)
def test_kernels_and_graphs_that_cannot_be(options, message):
    with pytest.raises(SpecError, match=message):
        get_backend("numpy", **options)


def test_the_command_line_says_how_a_gpu_computes():
    parser = argparse.ArgumentParser(exit_on_error=False)
    for add in (add_backend, add_precision, add_ways):
        add(parser)
    plain = parser.parse_args(["--gpu", "1"])
    assert ways(plain) == {
        "backend": "cupy:1",
        "kernels": "own",
        "graphs": True,
        "precision": "float32",
    }
    words = ["--no-graph", "--kernels", "portable", "--precision", "bf16"]
    other = {"kernels": "portable", "graphs": False, "precision": "bf16"}
    assert ways(parser.parse_args(words)) == {"backend": "numpy", **other}
    with pytest.raises(argparse.ArgumentError, match="invalid choice: 'slow'"):
        parser.parse_args(["--kernels", "slow"])
