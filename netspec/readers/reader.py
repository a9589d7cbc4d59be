"""The programs that read these files, with the versions in which they were tried."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.errors import SpecError, did_you_mean


@dataclass(frozen=True)
class Reader:
    """A program that reads nets of this format.

    name: for the option `--for`. title: as its authors write it. version: with which
    the tables here were made; other versions may do better or worse. common: whether
    the plain export warns of what it gets wrong without a word.
    """

    name: str
    title: str
    version: str
    common: bool = False

    def __str__(self) -> str:
        return f"{self.title} {self.version}"


READERS = {
    reader.name: reader
    for reader in (
        Reader("caffe", "Caffe", "1.0"),
        Reader("opencv", "OpenCV", "4.14.0", common=True),
        Reader("mnn", "MNN", "3.6.1", common=True),
        Reader("ncnn", "ncnn", "1.0.20261020", common=True),
        Reader("openvino", "OpenVINO", "2024.6.0"),
        Reader("rknn", "RKNN-Toolkit2", "2.5.0"),
        Reader("x2paddle", "X2Paddle", "1.6.0"),
    )
}


def reader_named(name: str) -> Reader:
    """Return a reader; raises `SpecError` for a name that none has."""
    if not isinstance(name, str):
        raise SpecError(
            f"a reader is given by its name, one of {', '.join(READERS)}, behind the "
            f"net; got a {type(name).__name__}"
        )
    if name not in READERS:
        raise SpecError(
            f"there is no reader {name!r}{did_you_mean(name, READERS)}; known are "
            f"{', '.join(READERS)}"
        )
    return READERS[name]
