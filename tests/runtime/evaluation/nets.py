"""Small nets of every kind, and data for them."""

import numpy as np

import runtime
from netspec import NetSpec
from netspec import layers as L

FILLED = {"weight_filler": "xavier", "bias_filler": {"type": "gaussian", "std": 0.5}}
ITEMS, CLASSES = 23, 5


def images(seed=0, items=ITEMS):
    """Images (N, 3, 5, 4) and labels (N,) of classes of which one does not occur."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(items, 3, 5, 4)).astype(np.float32)
    y = rng.choice([0, 1, 2, 4], items)
    return x, y


def classifier(batch=8, loss=True, **options):
    """A net with BatchNorm and Dropout, a loss, and an Accuracy in tests."""
    n = NetSpec("small")
    n.data = L.Input(shape=[batch, 3, 5, 4])
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3, **FILLED)
    n.bn = L.BatchNorm(n.conv, in_place=True, moving_average_fraction=0.5)
    n.drop = L.Dropout(n.bn, in_place=True, dropout_ratio=0.4)
    n.fc = L.InnerProduct(n.drop, num_output=CLASSES, **FILLED)
    if loss:
        n.label = L.Input(shape=[batch])
        n.loss = L.SoftmaxWithLoss(n.fc, n.label, **options)
        n.acc = L.Accuracy(n.fc, n.label, include="TEST")
    else:
        n.prob = L.Softmax(n.fc)
    return n


def untrained(n=None, seed=4):
    """A `Net` of it with statistics of its BatchNorm, as if it had been trained."""
    net = runtime.Net(n or classifier(), seed=seed)
    for blob, values in zip(
        net.params["bn"], ([0.5, -1, 0, 0.25], [2, 3, 4, 1], [2]), strict=True
    ):
        blob.data[...] = values
    return net


def softmax(x):
    """Probabilities along axis 1, in float64."""
    x = np.asarray(x, np.float64)
    each = np.exp(x - x.max(axis=1, keepdims=True))
    return each / each.sum(axis=1, keepdims=True)
