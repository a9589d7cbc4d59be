"""Caffe's log, which its Python interface writes as well: lines to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

LEVEL_VARIABLE = "GLOG_minloglevel"  # Caffe's: 0 shows all, 1 and more only warnings
MICROSECONDS = 1_000_000


def write_log(message: str, file: str = "solver", line: int = 1) -> None:
    """Write a message behind level, time, thread and place, as glog does.

    Nothing is written where `GLOG_minloglevel` is above 0. A reader who is gone does
    not end a training.
    """
    if _minimum_level() > 0:
        return
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    fraction = int(now % 1 * MICROSECONDS)
    head = f"I{stamp}.{fraction:06} {threading.get_native_id():5} {file}.cpp:{line}] "
    with contextlib.suppress(OSError):
        print(head + message, file=sys.stderr, flush=True)


def _minimum_level() -> int:
    text = os.environ.get(LEVEL_VARIABLE, "0")
    return int(text) if text.isdecimal() else 0
