"""What a real kernel shows while it trains, and what Stop does."""

import os
import queue
import re
import time
from pathlib import Path

import pytest

pytest.importorskip("ipykernel")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
jupyter_client = pytest.importorskip("jupyter_client.manager")

ROOT = Path(__file__).resolve().parents[4]
TIMEOUT_S = 300
MAKE = """
import runtime

NET = '''
name: "noise"
layer { name: "data" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: 5 dim: 7 } shape { dim: 5 dim: 2 }
                           data_filler { type: "gaussian" std: 1.5 } } }
layer { name: "out" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
'''

def make(options):
    text = 'base_lr: 0.02 lr_policy: "fixed" snapshot_after_train: false ' + options
    return runtime.get_solver(text + " net_param { " + NET + " }", backend="portable")
"""


@pytest.fixture(autouse=True)
def path_of_the_kernel(monkeypatch):
    before = os.environ.get("PYTHONPATH")
    paths = [str(ROOT), *([before] if before else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def executed(*cells):
    """The outputs of cells that ran in one kernel, a list for each."""
    made = [nbformat.v4.new_code_cell(cell) for cell in (MAKE, *cells)]
    notebook = nbformat.v4.new_notebook(cells=made)
    client = nbclient.NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3")
    client.execute()
    return [cell.outputs for cell in notebook.cells[1:]]


def test_every_cell_shows_its_training_in_one_output_of_its_own():
    solve = "solver = make('max_iter: 30 test_interval: 10 test_iter: 2 display: 5')\n"
    first, loop, again, bar, quiet, last, later = executed(
        solve + "history = solver.solve()",
        "for _ in range(7):\n    solver.step(1)",
        "solver.step(5)\n_ = solver.test()\nother = make('')\nother.step(3)",
        "solver.step(4, progress='bar')",
        "solver.step(2, progress=False)",
        "solver.param.max_iter = solver.iter + 2\nsolver.solve()",
        "history",
    )
    (shown,) = first
    assert shown.output_type == "display_data"
    html, text = shown.data["text/html"], shown.data["text/plain"]
    assert "30 of 30" in html
    assert html.count("<svg") == 1
    assert "test at" in html
    assert "smoothed loss" in html
    assert "done in" in html
    assert re.search(r"iteration 30 of 30, loss [\d.]+, .*images/s", text)
    assert "<script" not in html
    assert "display_id" not in html
    assert len(html) < 30_000
    (looped,) = loop
    assert "iteration 37, loss" in looped.data["text/plain"]
    assert "37 of" not in looped.data["text/html"]
    one, two = again
    assert "iteration 42 of 42" in one.data["text/plain"]
    assert "iteration 3 of 3" in two.data["text/plain"]
    assert all("data" not in one or "svg" not in str(one.data) for one in bar)
    assert bar
    assert quiet == []
    (line,) = (one.data for one in last if one.output_type == "execute_result")
    assert list(line) == ["text/plain"]  # its curves are in the other output
    assert sum("svg" in str(one.get("data")) for one in last) == 1
    assert "<svg" in later[0].data["text/html"]


class Kernel:
    """A kernel that can be interrupted."""

    def __init__(self):
        self.manager, self.client = jupyter_client.start_new_kernel(
            kernel_name="python3"
        )

    def run(self, code, stop=None):
        """Run code; return displays, updates and errors. stop: interrupt after it."""
        asked = self.client.execute(code)
        found, until = [], time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return found
            if kind in ("display_data", "update_display_data", "error", "stream"):
                found.append((kind, content))
            if kind == "update_display_data" and stop:
                self.manager.interrupt_kernel()
                stop = False
        raise TimeoutError(code)


@pytest.fixture
def kernel():
    started = Kernel()
    yield started
    started.client.stop_channels()
    started.manager.shutdown_kernel(now=True)


def test_stop_keeps_everything_and_the_cell_goes_on(kernel):
    kernel.run(MAKE + "solver = make('max_iter: 100000000')")
    ends = []
    for _ in range(2):
        found = kernel.run("solver.solve()", stop=True)
        kinds = [kind for kind, _ in found]
        assert kinds.count("display_data") == 1
        assert kinds[-1] == "error" or kinds[-2] == "error"
        ids = {c["transient"]["display_id"] for k, c in found if "display" in k}
        assert len(ids) == 1
        last = [c for kind, c in found if kind == "update_display_data"][-1]
        said = re.search(
            r"stopped after iteration (\d+); run the cell again to go on",
            last["data"]["text/html"],
        )
        ends.append(int(said[1]))
        (error,) = (content for kind, content in found if kind == "error")
        assert error["ename"] == "KeyboardInterrupt"
        assert error["evalue"] == f"training stopped after iteration {ends[-1]}"
        trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error["traceback"]))
        assert "solver.solve()" in trace
        assert ".py" not in trace
    assert 0 < ends[0] < ends[1]
    (told,) = kernel.run(
        "h = solver.history.train\n"
        "print(solver.iter, [r.iteration for r in h] == list(range(solver.iter)))"
    )
    assert told[1]["text"] == f"{ends[1]} True\n"


def test_what_a_callback_raises_is_shown_with_the_code_of_the_user_alone(kernel):
    kernel.run(MAKE + "solver = make('max_iter: 9')")
    found = kernel.run(
        "@solver.on_step\ndef mine(record):\n    raise RuntimeError('own <b>')\n"
        "solver.solve()"
    )
    (error,) = (content for kind, content in found if kind == "error")
    trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error["traceback"]))
    assert ".py" not in trace
    assert "in mine(record)" in trace
    last = [c for kind, c in found if kind == "update_display_data"][-1]
    said = "ended after iteration 1 by RuntimeError: own &lt;b&gt;"
    assert said in last["data"]["text/html"]
