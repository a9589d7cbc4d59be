"""CaffeNet, as published with Caffe (`models/bvlc_reference_caffenet`).

    python -m netspec.export models/caffenet.py -o caffenet_train_val.prototxt
    python -m netspec.export models/caffenet.py --deploy -o caffenet.prototxt

It is AlexNet with pooling before normalisation: Krizhevsky et al., ImageNet
classification with deep convolutional neural networks (2012).
"""

from collections.abc import Callable
from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

Learning = Callable[[float, float], dict[str, Any]]  # of std and bias

LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, bias


def caffenet(
    batch_size: int = 256,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
    mean_file: str = "data/ilsvrc12/imagenet_mean.binaryproto",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("CaffeNet")
    for phase, path, size in (
        (TRAIN, source, batch_size),
        (TEST, test_source, test_batch_size),
    ):
        images = dict(mirror=phase == TRAIN, crop_size=227, mean_file=mean_file)
        reading = dict(source=path, batch_size=size, backend="LMDB")
        n.data, n.label = L.Data(
            **reading, transform_param=images, include=phase, ntop=2
        )
    classify(n, num_classes, gaussian)
    n.accuracy = L.Accuracy(n.fc8, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.fc8, n.label)
    return n


def deploy(batch_size: int = 10, num_classes: int = 1000) -> NetSpec:
    """Return the net for use, which does not say how its weights were learned."""
    n = NetSpec("CaffeNet")
    n.data = L.Input(shape=[batch_size, 3, 227, 227])
    classify(n, num_classes, lambda std, bias: {})
    n.prob = L.Softmax(n.fc8)
    return n


def gaussian(std: float, bias: float) -> dict[str, Any]:
    """Return how parameters learn, and start: normal weights, a constant bias."""
    return dict(
        param=LEARN, weight_filler=dict(type="gaussian", std=std), bias_filler=bias
    )


def classify(n: NetSpec, num_classes: int, learning: Learning) -> None:
    """Add the layers from `n.data` to the scores, `n.fc8`."""
    n.conv1 = L.Convolution(
        n.data, num_output=96, kernel_size=11, stride=4, **learning(0.01, 0)
    )
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = max_pool(n.relu1)
    n.norm1 = L.LRN(n.pool1, local_size=5, alpha=0.0001, beta=0.75)
    n.conv2 = L.Convolution(
        n.norm1, num_output=256, kernel_size=5, pad=2, group=2, **learning(0.01, 1)
    )
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = max_pool(n.relu2)
    n.norm2 = L.LRN(n.pool2, local_size=5, alpha=0.0001, beta=0.75)
    n.conv3 = L.Convolution(
        n.norm2, num_output=384, kernel_size=3, pad=1, **learning(0.01, 0)
    )
    n.relu3 = L.ReLU(n.conv3, in_place=True)
    n.conv4 = L.Convolution(
        n.relu3, num_output=384, kernel_size=3, pad=1, group=2, **learning(0.01, 1)
    )
    n.relu4 = L.ReLU(n.conv4, in_place=True)
    n.conv5 = L.Convolution(
        n.relu4, num_output=256, kernel_size=3, pad=1, group=2, **learning(0.01, 1)
    )
    n.relu5 = L.ReLU(n.conv5, in_place=True)
    n.pool5 = max_pool(n.relu5)
    n.fc6 = L.InnerProduct(n.pool5, num_output=4096, **learning(0.005, 1))
    n.relu6 = L.ReLU(n.fc6, in_place=True)
    n.drop6 = L.Dropout(n.relu6, dropout_ratio=0.5, in_place=True)
    n.fc7 = L.InnerProduct(n.drop6, num_output=4096, **learning(0.005, 1))
    n.relu7 = L.ReLU(n.fc7, in_place=True)
    n.drop7 = L.Dropout(n.relu7, dropout_ratio=0.5, in_place=True)
    n.fc8 = L.InnerProduct(n.drop7, num_output=num_classes, **learning(0.01, 0))


def max_pool(bottom: Top) -> Top:
    """Return the maxima of overlapping windows."""
    return L.Pooling(bottom, pool="MAX", kernel_size=3, stride=2)
