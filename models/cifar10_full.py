"""The CIFAR-10 net, as published with Caffe (`examples/cifar10`).

python -m netspec.export models/cifar10_full.py -o cifar10_full_train_test.prototxt
python -m netspec.export models/cifar10_full.py --deploy -o cifar10_full.prototxt
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

LEARN = [dict(lr_mult=1), dict(lr_mult=2)]  # weights, bias
SCORES = [dict(lr_mult=1, decay_mult=250), dict(lr_mult=2, decay_mult=0)]
NORM = dict(local_size=3, alpha=0.00005, beta=0.75, norm_region="WITHIN_CHANNEL")


def cifar10_full(
    batch_size: int = 100,
    test_batch_size: int = 100,
    num_classes: int = 10,
    source: str = "examples/cifar10/cifar10_train_lmdb",
    test_source: str = "examples/cifar10/cifar10_test_lmdb",
    mean_file: str = "examples/cifar10/mean.binaryproto",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("CIFAR10_full")
    for phase, path, size in (
        (TRAIN, source, batch_size),
        (TEST, test_source, test_batch_size),
    ):
        n.data, n.label = L.Data(
            name="cifar",
            source=path,
            batch_size=size,
            backend="LMDB",
            transform_param=dict(mean_file=mean_file),
            include=phase,
            ntop=2,
        )
    classify(n, num_classes, fillers=True)
    n.accuracy = L.Accuracy(n.ip1, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.ip1, n.label)
    return n


def deploy(batch_size: int = 1, num_classes: int = 10) -> NetSpec:
    """Return the net for use, which does not say how its weights start."""
    n = NetSpec("CIFAR10_full_deploy")
    n.data = L.Input(shape=[batch_size, 3, 32, 32])
    classify(n, num_classes, fillers=False)
    n.prob = L.Softmax(n.ip1)
    return n


def classify(n: NetSpec, num_classes: int, *, fillers: bool) -> None:
    """Add the layers from `n.data` to the scores, `n.ip1`."""

    def start(std: float) -> dict[str, Any]:
        gaussian = dict(type="gaussian", std=std)
        return dict(weight_filler=gaussian, bias_filler="constant") if fillers else {}

    n.conv1 = conv(n.data, 32, param=LEARN, **start(0.0001))
    n.pool1 = L.Pooling(n.conv1, pool="MAX", kernel_size=3, stride=2)
    n.relu1 = L.ReLU(n.pool1, in_place=True)
    n.norm1 = L.LRN(n.relu1, **NORM)
    n.conv2 = conv(n.norm1, 32, param=LEARN, **start(0.01))
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = L.Pooling(n.relu2, pool="AVE", kernel_size=3, stride=2)
    n.norm2 = L.LRN(n.pool2, **NORM)
    n.conv3 = conv(n.norm2, 64, **start(0.01))
    n.relu3 = L.ReLU(n.conv3, in_place=True)
    n.pool3 = L.Pooling(n.relu3, pool="AVE", kernel_size=3, stride=2)
    n.ip1 = L.InnerProduct(n.pool3, num_output=num_classes, param=SCORES, **start(0.01))


def conv(bottom: Top, num_output: int, **options: Any) -> Top:
    """Return a 5 by 5 convolution that keeps the size of images."""
    return L.Convolution(
        bottom, num_output=num_output, kernel_size=5, pad=2, stride=1, **options
    )
