"""Nets as functions: those of `models/`, by name.

    import netspec

    netspec.models.list()                          # names, a line to each
    n = netspec.models.googlenet(batch_size=64)    # a NetSpec, for training and testing
    n = netspec.models.googlenet(deploy=True)      # the net for use
    print(netspec.models.source("googlenet"))      # the Python file

Each is a module too, with what its file has: `from netspec.models.vgg16 import stage`.
"""

from __future__ import annotations

from typing import Any

from netspec.models.loading import get, names
from netspec.models.loading import path as path
from netspec.models.loading import source as source
from netspec.models.loading import table as list  # noqa: A004


def __getattr__(name: str) -> Any:
    return get(name)


def __dir__() -> list[str]:  # type: ignore[valid-type]
    return sorted([*names(), "list", "path", "source"])
