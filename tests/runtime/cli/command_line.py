"""Ways to run `python -m runtime`, and a solver for it."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.__main__ import main
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
SOLVER = """
net: "net.prototxt" base_lr: 0.02 lr_policy: "fixed" momentum: 0.8
max_iter: 6 test_iter: 2 test_interval: 3 display: 2 snapshot: 4
"""
ERROR = re.compile(r"error: [^\n]+\n")  # one line, and no traceback


def fail(capsys, *arguments, status=1) -> str:
    """Run a command that must fail with one line; return it."""
    capsys.readouterr()
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert ERROR.fullmatch(error), error
    return error


@contextmanager
def start(*arguments: str, **more) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a process of its own, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "runtime", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        text=True,
        **{"stderr": subprocess.PIPE, **more},
    ) as process:
        watch = threading.Timer(PATIENCE_S, process.kill)
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()
            process.kill()
