"""Reading ahead: a thread of its own, errors where they are asked for."""

import gc
import signal
import subprocess
import sys
import threading

import pytest

from netspec.errors import FileError, SpecError
from runtime.data.source import ReadAhead
from tests.patience import PATIENCE_S


class Numbers:
    """Delivers the number of the batch, and fails at batch 3."""

    shapes = ((1,),)

    def __init__(self):
        self.threads = set()

    def read(self, batch, out):
        self.threads.add(threading.current_thread())
        if batch == 3:
            raise FileError("batch 3 is broken")
        out[0][0] = batch

    def close(self):
        pass


def test_reading_ahead_happens_in_a_thread_that_ends_with_the_source():
    reader = Numbers()
    source = ReadAhead(reader, "d")
    assert [source.next()[0][0] for _ in range(2)] == [0, 1]
    source.close()
    assert threading.current_thread() not in reader.threads
    assert not any(thread.is_alive() for thread in reader.threads)


def test_error_of_the_reader_is_raised_where_its_batch_is_asked_for():
    source = ReadAhead(Numbers(), "d")
    assert [source.next()[0][0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FileError, match="batch 3 is broken"):
        source.next()
    source.seek(7)
    assert source.next()[0][0] == 7
    source.close()


def test_a_delivered_batch_stays_until_the_next_is_asked_for():
    source = ReadAhead(Numbers(), "d")
    (first,) = source.next()
    source._ahead.result()  # the next batch has been read
    assert first[0] == 0
    source.close()


class Slow:
    """Takes a while to read."""

    shapes = ((1,),)

    def __init__(self):
        self.started = threading.Event()
        self.go = threading.Event()

    def read(self, batch, out):
        self.started.set()
        self.go.wait(PATIENCE_S)
        out[0][0] = batch

    def close(self):
        pass


def test_interrupt_while_waiting_loses_no_batch():
    reader = Slow()
    source = ReadAhead(reader, "d")

    def interrupt():
        reader.started.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    # A shell that runs the tests in the background has signals of this kind ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        source.next()
    signal.signal(signal.SIGINT, before)
    thread.join()
    reader.go.set()
    assert [float(source.next()[0][0]) for _ in range(3)] == [0, 1, 2]
    source.close()


def test_program_ends_without_closing_its_sources():
    program = (
        "import numpy\n"
        "from runtime.data.source import ReadAhead\n"
        "class Zeros:\n"
        "    shapes = ((2,),)\n"
        "    def read(self, batch, out): out[0][...] = 0\n"
        "source = ReadAhead(Zeros(), 'd')\n"
        "source.next()\n"
        "print('end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        timeout=PATIENCE_S,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("end\n", "")


def test_sources_that_nobody_holds_leave_no_thread():
    source = ReadAhead(Numbers(), "forgotten")
    source.next()
    assert any("forgotten" in thread.name for thread in threading.enumerate())
    del source
    gc.collect()
    for thread in threading.enumerate():
        if "forgotten" in thread.name:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_closed_source_says_so_and_closes_twice():
    source = ReadAhead(Numbers(), "d")
    source.next()
    source.close()
    source.close()
    with pytest.raises(SpecError, match="layer 'd': its source of data is closed"):
        source.next()
