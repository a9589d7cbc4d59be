"""The fork of Caffe in force, which decides what fields of several forks mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Force:
    word: str | None = None


_force = _Force()


def fork() -> str | None:
    """Return the word of the fork in force, or None where none was chosen."""
    return _force.word


def set_fork(word: str | None) -> None:
    """Put a fork in force, or none; `netspec.forks.use` is the way to do that."""
    _force.word = word
