"""The quick CIFAR-10 net, as published with Caffe (`examples/cifar10`).

    python -m netspec.export models/cifar10_quick.py -o train_test.prototxt
    python -m netspec.export models/cifar10_quick.py --deploy -o deploy.prototxt

It has no normalisation and learns in minutes. With --deploy: images in, probabilities
out.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L

LEARN = [dict(lr_mult=1), dict(lr_mult=2)]  # weights, bias


def cifar10_quick(
    batch_size: int = 100,
    test_batch_size: int = 100,
    num_classes: int = 10,
    source: str = "examples/cifar10/cifar10_train_lmdb",
    test_source: str = "examples/cifar10/cifar10_test_lmdb",
    mean_file: str = "examples/cifar10/mean.binaryproto",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("CIFAR10_quick")
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in (train, test):
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        images = dict(mean_file=mean_file)
        n.data, n.label = L.Data(
            name="cifar", **reading, transform_param=images, ntop=2
        )
    classify(n, num_classes, fillers=True)
    n.accuracy = L.Accuracy(n.ip2, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n


def deploy(batch_size: int = 1, num_classes: int = 10) -> NetSpec:
    """Return the net for use, which does not say how its weights start."""
    n = NetSpec("CIFAR10_quick_test")
    n.data = L.Input(shape=[batch_size, 3, 32, 32])
    classify(n, num_classes, fillers=False)
    n.prob = L.Softmax(n.ip2)
    return n


def classify(n: NetSpec, num_classes: int, *, fillers: bool) -> None:
    """Add the layers from `n.data` to the scores, `n.ip2`."""

    def learning(std: float) -> dict[str, Any]:
        gaussian = dict(type="gaussian", std=std)
        start = dict(weight_filler=gaussian, bias_filler="constant") if fillers else {}
        return dict(param=LEARN, **start)

    window = dict(kernel_size=5, pad=2, stride=1)
    half = dict(kernel_size=3, stride=2)
    n.conv1 = L.Convolution(n.data, num_output=32, **window, **learning(0.0001))
    n.pool1 = L.Pooling(n.conv1, pool="MAX", **half)
    n.relu1 = x = L.ReLU(n.pool1, in_place=True)
    for number, width in ((2, 32), (3, 64)):
        x = L.Convolution(x, num_output=width, **window, **learning(0.01))
        n[f"conv{number}"] = x
        n[f"relu{number}"] = x = L.ReLU(x, in_place=True)
        n[f"pool{number}"] = x = L.Pooling(x, pool="AVE", **half)
    n.ip1 = L.InnerProduct(x, num_output=64, **learning(0.1))
    n.ip2 = L.InnerProduct(n.ip1, num_output=num_classes, **learning(0.1))
