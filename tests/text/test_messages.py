"""Reading and writing messages as files, and what is taken for a net."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from netspec.errors import FileError, SpecError, TextError
from netspec.schema import (
    BlobProto,
    LayerParameter,
    NetParameter,
    SolverParameter,
)
from netspec.text import (
    ReadNet,
    as_net,
    as_read_net,
    read_message,
    read_net,
    to_text,
    write_message,
)
from tests.text.test_parsing import CONV


@pytest.mark.parametrize("name", ["net.prototxt", "net.caffemodel", "net"])
def test_what_is_written_is_read_again(tmp_path, name):
    path = tmp_path / name
    write_message(path, CONV)
    assert read_net(path) == CONV
    assert list(tmp_path.iterdir()) == [path]
    binary = name.endswith(".caffemodel")
    expected = CONV.SerializeToString() if binary else to_text(CONV).encode()
    assert path.read_bytes() == expected


@pytest.mark.parametrize("name", ["net.binaryproto", "net.caffemodel", "net", "a.b.v2"])
def test_binary_files_are_known_by_suffix_or_contents(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CONV.SerializeToString())
    assert read_message(str(path), NetParameter) == CONV


def test_another_message_is_read_by_its_class(tmp_path):
    mean = BlobProto(num=1, channels=3, height=2, width=1, data=[0.5] * 6)
    write_message(tmp_path / "mean.binaryproto", mean)
    assert read_message(tmp_path / "mean.binaryproto", BlobProto) == mean


def test_mistakes_in_files_name_the_file(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text("name: 'x'\nlayer { nam: 'y' }")
    with pytest.raises(TextError, match="net.prototxt:2:9: .* did you mean 'name'"):
        read_net(path)


def test_comments_may_be_in_another_encoding(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# \xce\xd2\xb5\xc4\nname: 'x'")
    assert read_net(path).name == "x"


def test_strings_must_be_utf_8(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# c\nname: 'caf\xe9'")
    with pytest.raises(TextError, match="2:7: byte 0xe9 in a string is not UTF-8"):
        read_net(path)


def test_names_must_be_utf_8(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# \xff\nnet: 'x' # \xfc\nsolver_type: \xfe\xff")
    with pytest.raises(TextError, match="3:14: byte 0xfe is not UTF-8 text"):
        read_message(path, SolverParameter)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ((100, 3), r"layer\[0\]\.bottom"),
        ((1,), "name"),
    ],
)
def test_texts_of_a_binary_file_must_be_utf_8(tmp_path, fields, place):
    data = b"a\xff"
    for number in reversed(fields):
        data = bytes([*varint(number << 3 | 2), *varint(len(data))]) + data
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.raises(FileError, match=f"the text of {place}.* is not UTF-8"):
        read_net(path)


def varint(value):
    return [value] if value < 128 else [value & 127 | 128, *varint(value >> 7)]


@pytest.mark.parametrize(
    ("contents", "place"),
    [("name: 'x'".encode("utf-16"), "1:4"), (CONV.SerializeToString(), "2:1")],
)
def test_a_binary_file_with_a_text_suffix_is_an_error(tmp_path, contents, place):
    path = tmp_path / "net.prototxt"
    path.write_bytes(contents)
    with pytest.raises(TextError, match=f"{place}: byte 0x.* is not UTF-8 text"):
        read_net(path)


@pytest.mark.parametrize(
    "contents",
    [
        CONV.SerializeToString()[:-3],
        b"name: 'x'",
        b"\xa3\x06" * 20_000,
        b"\xa2\x06\xff\xff\xff\xff\x07",
    ],
    ids=["cut", "text", "nested", "long"],
)
def test_broken_binary_files_are_refused(tmp_path, contents):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(contents)
    with pytest.raises(FileError, match="net.caffemodel: is not a binary NetParameter"):
        read_net(path)


def test_an_hdf5_file_is_no_net(tmp_path):
    path = tmp_path / "net.caffemodel.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(FileError, match="is an HDF5 file; expected a NetParameter"):
        read_net(path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(FileError, match="missing.prototxt: cannot be read: No such"):
        read_net(tmp_path / "missing.prototxt")
    with pytest.raises(FileError, match="cannot be read"):
        read_net(tmp_path)


@pytest.mark.parametrize("place", ["no/such/folder/net.prototxt", "file/net.prototxt"])
def test_files_that_cannot_be_written_are_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="net.prototxt: cannot be written"):
        write_message(tmp_path / place, CONV)


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "net.prototxt"
    path.write_text("name: 'old'")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="net.prototxt: cannot be written: No space"):
        write_message(path, CONV)
    assert read_net(path).name == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_an_error():
    with pytest.raises(FileError, match="/dev/full: cannot be written: No space"):
        write_message("/dev/full", CONV)


def test_incomplete_messages_are_not_written(tmp_path):
    net = NetParameter(layer=[{"clip_param": {"max": 2.5}}])
    path = tmp_path / "net.prototxt"
    with pytest.raises(SpecError, match=r"layer\[0\]\.clip_param\.min must be given"):
        write_message(path, net)
    assert not path.exists()


# ---------------------------------------------------------------- as_net


class Spec:
    """Anything that makes a net."""

    def to_proto(self) -> NetParameter:
        return CONV


def test_a_net_is_read_with_its_text_and_what_messages_call_it(tmp_path):
    text = f"# caf\u00e9\n{to_text(CONV)}"
    path = tmp_path / "net.prototxt"
    path.write_text(text, encoding="utf-8")
    binary = tmp_path / "net.caffemodel"
    write_message(binary, CONV)
    assert as_read_net(text) == ReadNet(CONV, "<text>", text)
    assert as_read_net(path) == ReadNet(CONV, str(path), text)
    assert as_read_net(str(path)) == ReadNet(CONV, str(path), text)
    assert as_read_net(binary) == ReadNet(CONV, str(binary), None)
    assert as_read_net(CONV) == ReadNet(CONV, "<net>", None)
    assert as_read_net(Spec()) == ReadNet(CONV, "<net>", None)


def test_a_net_may_be_a_path_a_text_a_message_or_a_spec(tmp_path):
    path = tmp_path / "net.prototxt"
    write_message(path, CONV)
    for net in (path, str(path), to_text(CONV), "name: 'tiny'\n", CONV, Spec()):
        assert as_net(net).name == "tiny"
    assert as_net(CONV) is CONV
    with pytest.raises(SpecError, match="expected a net: .* got ''"):
        as_net("")


@pytest.mark.parametrize("net", [None, 5, LayerParameter(name="x"), b"name: 'x'"])
def test_anything_else_is_no_net(net):
    with pytest.raises(SpecError, match="expected a net: a path, prototxt text"):
        as_net(net)
