"""What tests of `fit` share: a small net, data that it can learn."""

import numpy as np

from netspec import NetSpec
from netspec import layers as L

COUNT = 100


def spec(batch=16, *, dropout=False, extra_output=False):
    n = NetSpec("small")
    n.data = L.Input(shape=[batch, 1, 6, 6])
    n.label = L.Input(shape=[batch])
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3, weight_filler="xavier")
    n.relu = below = L.ReLU(n.conv, in_place=True)
    if dropout:
        n.drop = below = L.Dropout(n.relu, in_place=True)
    n.score = L.InnerProduct(below, num_output=2, weight_filler="xavier")
    n.accuracy = L.Accuracy(n.score, n.label, include="TEST")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    if extra_output:
        n.prob = L.Softmax(n.score, include="TEST")
    return n


def arrays(count=COUNT):
    """Return images whose upper or lower half is brighter, and which."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(count, 1, 6, 6)).astype(np.float32)
    y = rng.integers(0, 2, count)
    x[y == 0, :, :3] += 1
    x[y == 1, :, 3:] += 1
    return x, y


def losses(history):
    return [record.loss for record in history.train]


def parameters(net):
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


def assert_same_run(one, other):
    """Check that two runs have the same losses, tests and parameters, bit for bit."""
    assert losses(one) == losses(other)
    assert [t.scalars() for t in one.tests] == [t.scalars() for t in other.tests]
    for mine, its in zip(parameters(one.net), parameters(other.net), strict=True):
        np.testing.assert_array_equal(mine, its)
