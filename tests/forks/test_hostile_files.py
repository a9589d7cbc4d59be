"""Broken binary files of forks are read, or refused by an error of ours."""

import random
import warnings

import pytest

from netspec.errors import NetspecError
from netspec.forks import __main__ as command
from netspec.schema import NetParameter
from netspec.text import parse, read_net
from tools import fork_nets

FORKS = fork_nets.forks()


def broken(data, seed):
    """Change, drop, double or cut a few bytes."""
    draw = random.Random(seed)
    found = bytearray(data)
    for _ in range(draw.randrange(1, 6)):
        place = draw.randrange(len(found))
        way = draw.randrange(4)
        if way == 0:
            found[place] = draw.randrange(256)
        elif way == 1:
            del found[place : place + draw.randrange(1, 9)]
        elif way == 2:
            piece = found[place : place + draw.randrange(1, 30)]
            found[place:place] = piece
        else:
            found[place] ^= 1 << draw.randrange(8)
        if not found:
            return b"\x08"
    return bytes(found)


def refusal(read, source, *more, **options):
    """Return the error of ours that reading ends with; the source if it is read."""
    try:
        read(source, *more, **options)
    except NetspecError as error:
        return str(error)
    return f"{source} <text>"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("word", ["ssd", "segnet", "c3d-v1.0", "cambricon", "arcface"])
def test_a_broken_binary_file_is_read_or_refused(tmp_path, word, seed):
    (fork,) = [each for each in FORKS if each.word == word]
    data = fork_nets.net_of(fork).SerializeToString(deterministic=True)
    path = tmp_path / "net.caffemodel"
    for again in range(6):
        path.write_bytes(broken(data, seed * 100 + again))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for values in (True, False):
                assert str(path) in refusal(read_net, path, values=values)
            assert command.main([str(path)]) in (0, 1)


@pytest.mark.parametrize("depth", [10, 200, 5000])
def test_deep_nesting_is_no_trouble(tmp_path, depth):
    data = b""
    for _ in range(depth):  # cambricon's SegmentInfo holds nets
        inner = b"\x1a" + _length(data) + data
        data = b"\xa2\x06" + _length(inner) + inner
        if len(data) > 1 << 16:
            break
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert str(path) in refusal(read_net, path)


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "x" type: "CPMData" cpm_transform_param { stride: 8 ',
        'layer { name: "x" type: "CPMData" cpm_transform_param: 8 }',
        'layer { name: "x" type: "CPMData" cpm_transform_param [ { }, 3 ] }',
    ],
)
def test_broken_text_of_forks_is_refused(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "<text>" in refusal(parse, text, NetParameter)


def _length(data):
    size, found = len(data), bytearray()
    while size > 0x7F:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*found, size])
