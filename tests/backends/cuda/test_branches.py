"""A net of branches trained on the device and on the portable kernels.

Its blobs lie where the layers choose: some are read by layers of different wishes.
"""

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.schema import SolverParameter
from runtime.backends.cuda.converted import bare
from runtime.backends.cuda.layer import CudaLayer

HAS_NO_KERNEL = {"Input", "Flatten", "Reshape"}


def branches(n):
    filler = dict(weight_filler=dict(type="xavier"))
    n.data = L.Input(shape=[4, 3, 13, 11])
    n.label = L.Input(shape=[4])
    n.conv = L.Convolution(n.data, num_output=16, kernel_size=3, pad=1, **filler)
    n.norm = L.LRN(n.conv, local_size=3, alpha=0.5)
    n.max = L.Pooling(n.norm, kernel_size=3, stride=2)
    n.mean = L.Pooling(n.norm, kernel_size=3, stride=2, pool="AVE")
    n.both = L.Concat(n.max, n.mean)
    n.one, n.two = L.Slice(n.both, slice_point=8, ntop=2)
    n.small = L.Convolution(n.two, num_output=8, kernel_size=1, **filler)
    n.sum = L.Eltwise(n.one, n.small, coeff=[1, -0.5])
    n.most = L.Eltwise(n.one, n.small, n.sum, operation="MAX")
    n.scaled = L.Scale(n.most, axis=2, num_axes=1, bias_term=True)
    n.shifted = L.Bias(n.scaled, in_place=True)
    n.within = L.LRN(n.shifted, local_size=3, norm_region="WITHIN_CHANNEL")
    n.like = L.Pooling(n.within, kernel_size=2, stride=1)
    n.cut = L.Crop(n.within, n.like, axis=2, offset=[1, 0])
    n.product = L.Eltwise(n.cut, n.like, operation="PROD")
    n.twice = L.Tile(n.product, axis=1, tiles=2)
    n.whole = L.Pooling(n.twice, global_pooling=True, pool="AVE")
    n.score = L.InnerProduct(n.whole, num_output=5, **filler)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    n.dense = L.Softmax(n.twice)
    n.best = L.ArgMax(n.dense, axis=1)
    n.right = L.Accuracy(n.score, n.label, top_k=2)


def trained(backend, **options):
    n = NetSpec()
    branches(n)
    param = SolverParameter(base_lr=0.05, momentum=0.9, lr_policy="fixed")
    param.net_param.CopyFrom(n.to_proto())
    solver = runtime.Solver(param, backend=backend, seed=3, **options)
    rng = np.random.default_rng(2)
    solver.net.blobs["data"].data[...] = rng.normal(size=(4, 3, 13, 11))
    solver.net.blobs["label"].data[...] = rng.integers(5, size=4)
    solver.step(4)
    return [record.loss for record in solver.history.train], solver.net


@pytest.mark.parametrize("precision, limit", [("float32", 1e-4), ("bf16", 0.05)])
@pytest.mark.parametrize("keep", [None, ()], ids=["kept", "not kept"])
def test_training_is_that_of_the_portable_kernels(cuda, precision, limit, keep):
    want, net = trained("portable")
    got, other = trained(cuda.name, precision=precision, keep=keep)
    np.testing.assert_allclose(got, want, rtol=limit)
    for kernel in other.plan.kernels:
        own = isinstance(bare(kernel), CudaLayer)
        assert own or kernel.node.type in HAS_NO_KERNEL, kernel.node.type
    if precision != "float32":
        return
    for name, blobs in net.params.items():
        for slot, blob in enumerate(blobs):
            largest = np.abs(blob.data).max()
            one = other.params[name][slot].data
            np.testing.assert_allclose(one, blob.data, atol=limit * largest, rtol=0)


def test_two_runs_give_the_same_bits(cuda):
    runs = [trained(cuda.name, precision="bf16") for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    for name, blobs in runs[0][1].params.items():
        for slot, blob in enumerate(blobs):
            other = runs[1][1].params[name][slot]
            np.testing.assert_array_equal(blob.data, other.data)
