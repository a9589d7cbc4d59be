"""`held`: signals wait until a block is whole."""

import signal
import threading
import traceback

import pytest

from runtime import interrupts
from runtime.interrupts import at_once, held, whole


@pytest.fixture(autouse=True)
def handlers():
    """The handlers as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_is_noted_and_the_block_goes_on():
    done = []
    with held() as signals:
        signal.raise_signal(signal.SIGINT)
        done.append("rest")
    assert done == ["rest"]
    assert signals.interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_happens_without_a_signal():
    with held() as signals:
        assert not signals.stops()
    assert not signals.interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_ones_own_is_called_after_the_block_and_restored():
    order = []

    def handle(number, frame):
        order.append((number, frame is not None, signal.getsignal(number) is handle))

    signal.signal(signal.SIGTERM, handle)
    with held() as signals:
        signal.raise_signal(signal.SIGTERM)
        order.append("block")
    assert order == ["block", (signal.SIGTERM, True, True)]
    assert not signals.interrupted
    assert signal.getsignal(signal.SIGTERM) is handle


def test_what_a_handler_raises_comes_out_of_the_block():
    class TimeIsUp(Exception):
        pass

    def handle(*_):
        raise TimeIsUp

    signal.signal(signal.SIGALRM, handle)
    done = []
    with pytest.raises(TimeIsUp), held():
        signal.raise_signal(signal.SIGALRM)
        done.append("rest")
    assert done == ["rest"]
    assert signal.getsignal(signal.SIGALRM) is handle


def test_the_block_may_ask_in_between():
    called = []
    signal.signal(signal.SIGTERM, lambda *_: called.append("term"))
    with held() as signals:
        signal.raise_signal(signal.SIGTERM)
        assert not signals.stops()
        assert called == ["term"]
        signal.raise_signal(signal.SIGTERM)  # and it is held again
        assert called == ["term"]
        signal.raise_signal(signal.SIGINT)
        assert signals.stops()
    assert called == ["term", "term"]
    assert signals.interrupted


def test_a_block_within_a_block_is_part_of_it():
    with held() as outer:
        with held() as inner:
            signal.raise_signal(signal.SIGINT)
            assert not inner.stops()
        assert not inner.interrupted
    assert outer.interrupted


def test_a_second_signal_soon_after_is_the_same():
    with held() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signals.interrupted


def test_a_second_signal_later_does_not_wait(monkeypatch):
    monkeypatch.setattr(interrupts, "ABORT_AFTER_S", 0)
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the block went on")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_must_be_whole_is_whole_even_then(monkeypatch):
    monkeypatch.setattr(interrupts, "ABORT_AFTER_S", 0)

    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return "whole"

    with held() as signals:
        assert signals.whole(twice) == "whole"
    assert signals.interrupted


def test_an_error_of_the_block_shows_as_the_reason():
    with pytest.raises(KeyboardInterrupt) as caught, held():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("no")
    assert str(caught.value.__cause__) == "no"


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_signals_without_a_handler_in_python_stay_as_they_are(handler):
    signal.signal(signal.SIGINT, handler)
    with held():
        assert signal.getsignal(signal.SIGINT) is handler
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_handler_set_within_the_block_stays():
    def mine(*_):
        pass

    with held():
        signal.signal(signal.SIGINT, mine)
    assert signal.getsignal(signal.SIGINT) is mine


def test_a_handler_that_only_notes_need_not_wait():
    called = []

    @at_once
    def note(*_):
        called.append(1)

    signal.signal(signal.SIGTERM, note)
    with held():
        signal.raise_signal(signal.SIGTERM)
        assert called == [1]


def test_other_threads_hold_nothing():
    seen = []

    def work():
        with held() as signals:
            seen.append((signal.getsignal(signal.SIGINT), signals.stops()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(signal.default_int_handler, False)]


def test_a_whole_function_raises_from_a_frame_of_its_name():
    done = []

    @whole
    def passes(one, *, two):
        """Do it."""
        signal.raise_signal(signal.SIGINT)
        done.append((one, two))
        return one + two

    with pytest.raises(KeyboardInterrupt) as caught:
        passes(1, two=2)
    assert done == [(1, 2)]
    assert passes.__doc__ == "Do it."
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[1:] == ["passes"]
