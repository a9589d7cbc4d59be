"""A CIFAR-10 net with locally connected layers, after cuda-convnet's conv-local nets.

    python -m netspec.export models/cifar10_local.py -o train_test.prototxt
    python -m netspec.export models/cifar10_local.py --deploy -o deploy.prototxt

Krizhevsky, cuda-convnet (2011), layers-conv-local: the upper two layers see windows of
3 by 3 as convolutions do, but every place has filters of its own. Caffe has no such
layer; `netspec.blocks.local` makes it of layers that every Caffe has. The original was
trained with base_lr 0.001, momentum 0.9 and weight_decay 0.004. With --deploy: images
in, probabilities out.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L
from netspec.blocks import local

FREE = [dict(lr_mult=1, decay_mult=0), dict(lr_mult=2, decay_mult=0)]  # weights, bias
DECAY = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
HALF = dict(pool="MAX", kernel_size=3, stride=2)
NORM = dict(local_size=9, alpha=0.001, beta=0.75)


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
    window = dict(kernel_size=3, pad=1, image=(8, 8))  # 32 halved twice
    each = dict(activation=L.ReLU, param=DECAY, **normal(0.04))
    n.local3 = local(n.pool2, 64, **window, **each)
    n.local4 = local(n.local3, 32, **window, **each)
    n.fc10 = L.InnerProduct(
        n.local4, num_output=num_classes, param=DECAY, **normal(0.01)
    )


def normal(std: float) -> dict[str, Any]:
    """Return how parameters start: normal weights, no bias."""
    return dict(weight_filler=dict(type="gaussian", std=std), bias_filler=0)
