"""AlexNet, as published with Caffe (`models/bvlc_alexnet`).

    python -m netspec.export models/alexnet.py -o alexnet_train_val.prototxt
    python -m netspec.export models/alexnet.py --deploy -o alexnet.prototxt

Krizhevsky et al., ImageNet classification with deep convolutional neural networks
(2012). The convolutions in two groups were those of the authors' two GPUs. With
--deploy: images in, probabilities out.
"""

from collections.abc import Callable
from typing import Any

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L

Learning = Callable[[float, float], dict[str, Any]]  # of std and bias

LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, bias
# Width, bias at the start, and window of every convolution.
CONVOLUTIONS = (
    (96, 0, dict(kernel_size=11, stride=4)),
    (256, 0.1, dict(kernel_size=5, pad=2, group=2)),
    (384, 0, dict(kernel_size=3, pad=1)),
    (384, 0.1, dict(kernel_size=3, pad=1, group=2)),
    (256, 0.1, dict(kernel_size=3, pad=1, group=2)),
)


def alexnet(
    batch_size: int = 256,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
    mean_file: str = "data/ilsvrc12/imagenet_mean.binaryproto",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("AlexNet")
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in (train, test):
        images = dict(mirror=phase == TRAIN, crop_size=227, mean_file=mean_file)
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)
    classify(n, num_classes, gaussian)
    n.accuracy = L.Accuracy(n.fc8, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.fc8, n.label)
    return n


def deploy(batch_size: int = 10, num_classes: int = 1000) -> NetSpec:
    """Return the net for use, which does not say how its weights start."""
    n = NetSpec("AlexNet")
    n.data = L.Input(shape=[batch_size, 3, 227, 227])
    classify(n, num_classes, lambda std, bias: dict(param=LEARN))
    n.prob = L.Softmax(n.fc8)
    return n


def gaussian(std: float, bias: float) -> dict[str, Any]:
    """Return how parameters learn, and start: normal weights, a constant bias."""
    start = dict(type="gaussian", std=std)
    return dict(param=LEARN, weight_filler=start, bias_filler=bias)


def classify(n: NetSpec, num_classes: int, learning: Learning) -> None:
    """Add the layers from `n.data` to the scores, `n.fc8`."""
    x = n.data
    for number, (width, bias, window) in enumerate(CONVOLUTIONS, start=1):
        x = L.Convolution(x, num_output=width, **window, **learning(0.01, bias))
        n[f"conv{number}"] = x
        n[f"relu{number}"] = x = L.ReLU(x, in_place=True)
        if number <= 2:
            x = L.LRN(x, local_size=5, alpha=0.0001, beta=0.75)
            n[f"norm{number}"] = x
        if number in (1, 2, 5):
            x = L.Pooling(x, pool="MAX", kernel_size=3, stride=2)
            n[f"pool{number}"] = x
    for number in (6, 7):
        x = L.InnerProduct(x, num_output=4096, **learning(0.005, 0.1))
        n[f"fc{number}"] = x
        n[f"relu{number}"] = x = L.ReLU(x, in_place=True)
        n[f"drop{number}"] = x = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    n.fc8 = L.InnerProduct(x, num_output=num_classes, **learning(0.01, 0))
