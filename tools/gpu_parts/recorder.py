"""A plugin of pytest that writes results as they come, so that none is lost.

`-p tools.gpu_parts.recorder --record FILE` writes a line of JSON for each test.
`--only-device` leaves out tests that use no backend, `--every N` takes one in N of the
rest, for tools under which each takes long, and `--no-pool` makes every array of
CuPy's an allocation of its own, whose bounds a sanitizer knows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FIXTURES = {"backend", "cuda"}  # which of them a test uses says where it runs
LONGEST = 6000  # characters of a failure


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("gpu")
    group.addoption("--record", type=Path, help="write results into this file")
    group.addoption("--only-device", action="store_true")
    group.addoption("--every", type=int, default=1, metavar="N")
    group.addoption("--no-pool", action="store_true")


def pytest_configure(config: pytest.Config) -> None:
    """Take records, in the process that has all of them."""
    if config.getoption("--no-pool"):
        import cupy

        cupy.cuda.set_allocator(None)
    path = config.getoption("--record")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(path))


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what does not run on the device, and all but one in so many."""
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    only, every = config.getoption("--only-device"), config.getoption("--every")
    count = 0
    for item in items:
        used = FIXTURES & set(getattr(item, "fixturenames", ()))
        count += bool(used or not only)
        taken = (used or not only) and count % every == 0
        (kept if taken else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


class Recorder:
    """Writes a line for each test when it is over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write what became of a test."""
        if report.when == "call" or report.outcome != "passed":
            self._write(report, report.duration)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write which file could not be read."""
        if report.failed:
            self._write(report, 0.0)

    def _write(self, report: Any, seconds: float) -> None:
        record = {"id": report.nodeid, "outcome": report.outcome, "seconds": seconds}
        text = report.longrepr
        if report.outcome == "failed":
            crash = getattr(text, "reprcrash", None)
            said = getattr(crash, "message", None) or str(text)[-300:]
            record |= {"said": said, "text": str(text)[-LONGEST:]}
        elif report.outcome == "skipped":
            record["said"] = str(text[-1] if isinstance(text, tuple) else text)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
