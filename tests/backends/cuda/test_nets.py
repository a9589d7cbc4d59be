"""Whole nets, trained on the device and on the portable kernels."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.schema import SolverParameter

SOLVER = "base_lr: 0.05 momentum: 0.9 weight_decay: 0.001 lr_policy: 'fixed' "


def small(n: NetSpec) -> None:
    """A convolution, pooling, an aliased blob, layers in place, two branches."""
    n.data = L.Input(shape=[4, 3, 12, 10])
    n.label = L.Input(shape=[4])
    filler = dict(weight_filler=dict(type="xavier"))
    n.conv = L.Convolution(n.data, num_output=8, kernel_size=3, pad=1, **filler)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, kernel_size=2, stride=2)
    n.left = L.Convolution(n.pool, num_output=4, kernel_size=1, **filler)
    n.right = L.Convolution(n.pool, num_output=5, kernel_size=3, pad=1, **filler)
    n.act = L.TanH(n.right)
    n.both = L.Concat(n.left, n.act)
    n.flat = L.Flatten(n.both)
    n.ip = L.InnerProduct(n.flat, num_output=7, **filler)
    n.drop = L.Dropout(n.ip, dropout_ratio=0.3, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.drop, n.label)


def trained(backend: str, steps: int = 4, **options) -> tuple[list[float], runtime.Net]:
    n = NetSpec()
    small(n)
    param = SolverParameter(base_lr=0.05, momentum=0.9, lr_policy="fixed")
    param.weight_decay = 0.001
    param.net_param.CopyFrom(n.to_proto())
    solver = runtime.Solver(param, backend=backend, seed=3, **options)
    rng = np.random.default_rng(2)
    solver.net.blobs["data"].data[...] = rng.normal(size=(4, 3, 12, 10))
    solver.net.blobs["label"].data[...] = rng.integers(7, size=4)
    solver.step(steps)
    return [record.loss for record in solver.history.train], solver.net


@pytest.mark.parametrize(
    "precision, limit", [("float32", 1e-5), ("tf32", 2e-3), ("bf16", 0.1)]
)
@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
def test_training_is_that_of_the_portable_kernels(cuda, precision, limit, keep):
    want, net = trained("portable")
    got, other = trained(cuda.name, precision=precision, keep=keep)
    np.testing.assert_allclose(got, want, rtol=limit)
    for name, blobs in net.params.items():
        for slot, blob in enumerate(blobs):
            one = other.params[name][slot].data
            largest = np.abs(blob.data).max()
            np.testing.assert_allclose(one, blob.data, atol=limit * largest, rtol=0)
    if keep is None:
        for name, blob in net.blobs.items():
            largest = np.abs(blob.data).max() or 1
            got_blob = other.blobs[name].data
            np.testing.assert_allclose(got_blob, blob.data, atol=limit * largest)
