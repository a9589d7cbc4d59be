"""A CIFAR-10 net with locally connected layers, after cuda-convnet's conv-local nets.

    python -m netspec.export models/cifar10_local.py -o train_test.prototxt
    python -m netspec.export models/cifar10_local.py --deploy -o deploy.prototxt

Krizhevsky, cuda-convnet (2011), layers-conv-local: the upper two layers see windows of
3 by 3 as convolutions do, but every place has filters of its own. Caffe has no such
layer; `local` makes it of layers that every Caffe has. The original was trained with
base_lr 0.001, momentum 0.9 and weight_decay 0.004. With --deploy: images in,
probabilities out.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

FREE = [dict(lr_mult=1, decay_mult=0), dict(lr_mult=2, decay_mult=0)]  # weights, bias
DECAY = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
HALF = dict(pool="MAX", kernel_size=3, stride=2)
NORM = dict(local_size=9, alpha=0.001, beta=0.75)
SIDE = 8  # of what the locally connected layers see: 32 halved twice


def cifar10_local(
    batch_size: int = 128,
    test_batch_size: int = 100,
    num_classes: int = 10,
    source: str = "examples/cifar10/cifar10_train_lmdb",
    test_source: str = "examples/cifar10/cifar10_test_lmdb",
    mean_file: str = "examples/cifar10/mean.binaryproto",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("CIFAR10_local")
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in (train, test):
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        images = dict(mean_file=mean_file)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)
    classify(n, num_classes)
    n.accuracy = L.Accuracy(n.fc10, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.fc10, n.label)
    return n


def deploy(batch_size: int = 1, num_classes: int = 10) -> NetSpec:
    """Return the net for use."""
    n = NetSpec("CIFAR10_local")
    n.data = L.Input(shape=[batch_size, 3, 32, 32])
    classify(n, num_classes)
    n.prob = L.Softmax(n.fc10)
    return n


def classify(n: NetSpec, num_classes: int) -> None:
    """Add the layers from `n.data` to the scores, `n.fc10`."""
    window = dict(num_output=64, kernel_size=5, pad=2, param=FREE)
    n.conv1 = L.Convolution(n.data, **window, **normal(0.0001))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, **HALF)
    n.norm1 = L.LRN(n.pool1, **NORM)
    n.conv2 = L.Convolution(n.norm1, **window, **normal(0.01))
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.norm2 = L.LRN(n.relu2, **NORM)
    n.pool2 = L.Pooling(n.norm2, **HALF)
    n.local3 = local(n.pool2, 64)
    n.local4 = local(n.local3, 32)
    n.fc10 = L.InnerProduct(
        n.local4, num_output=num_classes, param=DECAY, **normal(0.01)
    )


def local(x: Top | NetSpec, width: int) -> NetSpec:
    """Return a locally connected layer and its ReLU: 3 by 3, each place by itself.

        y[o, p] = relu(sum over k of w[p, o, k] x_k(p) + b[p, o])

    where x_k(p) are the values of the window around place p. The windows are laid out
    one after the other as channels, and a convolution of as many groups as places
    multiplies each by its own filters. Slice and Concat change the order of axes, for
    which Caffe has no layer of its own.

    Shapes: x (N, C, 8, 8) -> y (N, width, 8, 8). It costs as many multiplications as a
    convolution and has 64 times its weights. The windows take 9 times the memory of x,
    and there are four copies of them, whose making takes most of the time.
    """
    n = NetSpec()
    n.windows = L.Im2col(x, kernel_size=3, pad=1)  # (N, 9 C, 8, 8)
    rows = cut(n, "row", n.windows, SIDE, axis=2)
    places = []
    for number, row in enumerate(rows):
        places += cut(n, f"window{number}_", row, SIDE, axis=3)
    n.in_turn = L.Concat(*places, axis=1)  # (N, 64 * 9 C, 1, 1)
    n.filters = L.Convolution(
        n.in_turn,
        num_output=width * len(places),
        group=len(places),
        kernel_size=1,
        param=DECAY,
        **normal(0.04),
    )
    n.relu = L.ReLU(n.filters, in_place=True)
    parts = cut(n, "place", n.relu, len(places), axis=1)
    n.side_by_side = L.Concat(*parts, axis=2)  # (N, width, 64, 1)
    n.output = L.Reshape(n.side_by_side, shape=[0, 0, SIDE, SIDE])
    return n


def cut(n: NetSpec, name: str, x: Top, parts: int, axis: int) -> list[Top]:
    """Add a layer that cuts `x` into equal parts along an axis, and return them."""
    tops = list(L.Slice(x, axis=axis, ntop=parts))
    for number, top in enumerate(tops):
        n[f"{name}{number}"] = top
    return tops


def normal(std: float) -> dict[str, Any]:
    """Return how parameters start: normal weights, no bias."""
    return dict(weight_filler=dict(type="gaussian", std=std), bias_filler=0)
