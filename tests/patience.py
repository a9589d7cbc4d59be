"""How long tests wait, and how they tell slow code from a busy machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 600  # for what takes seconds on an idle machine; a hang still ends


@contextmanager
def processor_seconds(limit: float) -> Iterator[None]:
    """Fail if the block keeps its thread busy for longer; waiting does not count."""
    start = time.thread_time()
    yield
    assert time.thread_time() - start < limit
