"""Files are read whole or not at all, and what has no end is refused."""

from pathlib import Path

import pytest

from netspec.errors import FileError, MachineError
from netspec.files import read_bytes, replacing


def test_a_file_or_its_start_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_bytes(tmp_path / "file") == b"0123456789"
    assert read_bytes(tmp_path / "file", limit=4) == b"0123"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_device_that_never_ends_is_refused(tmp_path):
    (tmp_path / "mean").symlink_to("/dev/zero")
    with pytest.raises(FileError, match=r"mean: is a device; give the name of a file"):
        read_bytes(tmp_path / "mean")


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "gone"])
def test_names_that_no_file_can_have_are_an_error_of_ours(name):
    with pytest.raises(FileError, match="cannot be read: "):
        read_bytes(name)


def test_more_than_fits_into_memory_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"0")

    def too_much(self):
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", too_much)
    with pytest.raises(MachineError, match="file: there is not enough memory to read"):
        read_bytes(tmp_path / "file")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with (
        pytest.raises(FileError, match="there is no folder .*lost; make it first"),
        replacing(tmp_path / "lost/a.txt"),
    ):
        pass
