"""The pool of threads holds whatever exception comes around a walk."""

import _thread
import ctypes
import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import runtime
from tests.patience import PATIENCE_S

pytest.importorskip("llvmlite")

from runtime.backends import by_name
from runtime.backends.cpu import CpuBackend
from runtime.backends.cpu.machine import thread_pool

NET = """
layer { name: "data" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: [8, 3, 20, 20] } shape { dim: [8, 6, 18, 18] }
                           data_filler { type: "gaussian" std: 1.5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "y"
        convolution_param { num_output: 6 kernel_size: 3
                            weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "y" top: "y" }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""


class Disturbed(Exception):
    """What comes in the middle."""


@pytest.fixture
def net(monkeypatch):
    """A net on a backend of its own, whose pool has three threads."""
    backend = CpuBackend(threads=3)
    monkeypatch.setattr(by_name, "_made", lambda name: backend)
    net = runtime.Net(NET, runtime.TRAIN)
    assert net.backend is backend
    return net


def gradients(net, passes=0):
    net.clock.value = passes
    net.forward_backward()
    return net.params["conv"][0].diff.copy()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_exception_before_or_after_a_walk(net, monkeypatch, moment):
    expected = gradients(net)
    run = thread_pool.walk.native

    def disturbed(*arguments):
        if moment == "after":
            run(*arguments)
        raise Disturbed

    for _ in range(3):
        monkeypatch.setattr(thread_pool, "walk", SimpleNamespace(native=disturbed))
        with pytest.raises(Disturbed):
            gradients(net)
        monkeypatch.setattr(thread_pool, "walk", SimpleNamespace(native=run))
        np.testing.assert_array_equal(gradients(net), expected)


def test_an_exception_while_helpers_are_started(net, monkeypatch):
    expected = gradients(net)
    net.backend.thread_pool._process = 0  # as in a process that was forked
    start = thread_pool._Helper.start

    def disturbed(helper):
        start(helper)
        raise Disturbed

    monkeypatch.setattr(thread_pool._Helper, "start", disturbed)
    with pytest.raises(Disturbed):
        gradients(net)
    monkeypatch.setattr(thread_pool._Helper, "start", start)
    np.testing.assert_array_equal(gradients(net), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_was_forked_amid_a_walk_does_not_wait_for_its_end(net):
    expected = gradients(net)
    with net.backend.thread_pool._busy:  # as another thread has it
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if np.array_equal(gradients(net), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_helper_that_died_at_its_start_is_started_again(net, monkeypatch):
    expected = gradients(net)
    monkeypatch.setattr(thread_pool, "START_S", 0.1)
    start, lost = _thread.start_new_thread, []

    def start_nothing_once(*arguments):
        if lost:
            return start(*arguments)
        lost.append(arguments)
        return 0

    monkeypatch.setattr(_thread, "start_new_thread", start_nothing_once)
    net.backend.thread_pool._process = 0
    np.testing.assert_array_equal(gradients(net), expected)
    assert lost


# Python may give an exception to the thread that is just being started.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exceptions_that_another_thread_raises(net):
    expected = gradients(net)
    raised = ctypes.pythonapi.PyThreadState_SetAsyncExc
    stop = time.monotonic() + PATIENCE_S
    seen = 0
    ready = threading.Event()

    def work():
        nonlocal seen
        while seen < 60 and time.monotonic() < stop:
            try:
                ready.set()
                while True:
                    net.forward_backward()
            except Disturbed:
                seen += 1

    thread = threading.Thread(target=work)
    thread.start()
    rng = np.random.default_rng(4)
    ready.wait(PATIENCE_S)
    while thread.is_alive():
        time.sleep(rng.uniform(0, 0.003))
        if seen < 60:
            raised(ctypes.c_ulong(thread.ident), ctypes.py_object(Disturbed))
        thread.join(0.001)
    assert seen == 60
    np.testing.assert_array_equal(gradients(net), expected)
