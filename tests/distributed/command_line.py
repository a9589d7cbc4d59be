"""A net that trains in a moment, and `python -m runtime` on several ranks."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.distributed.launching import Ended, launch

# A layer that fails as FAIL says, "how rank pass", and else lets its bottom through.
LAYER = """
import os, signal, sys
import numpy as np
import runtime

how, rank, at = (os.environ.get("FAIL") or "not -1 -1").split()
own = os.environ.get("PMI_RANK", "0")


class Through(runtime.Layer):
    def setup(self, bottom, top):
        self.passes = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data
        self.passes += 1
        if own == rank and self.passes == int(at):
            print(f"{how} comes", file=sys.stderr)
            if how == "raise":
                raise RuntimeError("broken on purpose")
            if how == "exit":
                sys.exit(0)
            if how == "nan":
                top[0].data[...] = np.nan
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
"""
NET = """
name: "small"
layer { name: "data" type: "DummyData" top: "x" top: "label"
        dummy_data_param { shape { dim: [6, 3, 5, 4] } shape { dim: 6 }
                           data_filler { type: "gaussian" std: 1.5 }
                           data_filler { type: "constant" value: 2 } } }
layer { name: "through" type: "Python" bottom: "x" top: "t"
        python_param { module: "failing" layer: "Through" } }
layer { name: "conv" type: "Convolution" bottom: "t" top: "c"
        convolution_param { num_output: 7 kernel_size: 3
                            weight_filler { type: "msra" } } }
layer { name: "drop" type: "Dropout" bottom: "c" top: "c" }
layer { name: "y" type: "InnerProduct" bottom: "c" top: "y"
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.003 lr_policy: "fixed" momentum: 0.9 random_seed: 7
test_iter: 2 test_interval: 4 display: 5 snapshot: 5 snapshot_prefix: "s"
"""
TRAIN = ("train", "--solver", "solver.prototxt", "--allow-python", "failing")


def write_files(folder: Path, net: str = NET) -> None:
    """Write what `TRAIN` trains."""
    (folder / "failing.py").write_text(textwrap.dedent(LAYER))
    (folder / "net.prototxt").write_text(net)
    (folder / "solver.prototxt").write_text(SOLVER)


def command(ranks: int, folder: Path, *words: object, fail: str = "") -> Ended:
    """Run a command of `python -m runtime` on some ranks."""
    program = ["-m", "runtime", *map(str, words)]
    given = {"FAIL": fail} if fail else None
    return launch(ranks, program, folder=folder, given=given)
