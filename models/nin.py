"""Network in network for ImageNet, as published by its authors in the model zoo.

    python -m netspec.export models/nin.py -o nin_train_val.prototxt
    python -m netspec.export models/nin.py --deploy -o nin.prototxt

Lin et al., Network in network, arXiv:1312.4400. Every convolution is followed by two of
1 by 1, which are a small net at every pixel; there is no fully connected layer. With
--deploy: images in, probabilities out.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, bias
MAX = dict(pool="MAX", kernel_size=3, stride=2)
PIXEL = dict(kernel_size=1, stride=1)


def nin(
    batch_size: int = 64,
    test_batch_size: int = 89,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
    mean_file: str = "data/ilsvrc12/imagenet_mean.binaryproto",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("nin_imagenet")
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in train, test:
        images = dict(mirror=phase == TRAIN, crop_size=224, mean_file=mean_file)
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)
    classify(n, num_classes)
    n.accuracy = L.Accuracy(n.pool4, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.pool4, n.label, include=TRAIN)
    return n


def deploy(batch_size: int = 10, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("nin_imagenet")
    n.data = L.Input(shape=[batch_size, 3, 224, 224])
    classify(n, num_classes)
    n.prob = L.Softmax(n.pool4)
    return n


def classify(n: NetSpec, num_classes: int) -> None:
    """Add the layers from `n.data` to the scores, `n.pool4`."""
    # The numbers of ReLUs and pools are the authors'.
    x = mlpconv(n, 1, n.data, 96, 0.01, "012", kernel_size=11, stride=4)
    n.pool0 = x = L.Pooling(x, **MAX)
    x = mlpconv(n, 2, x, 256, 0.05, "356", kernel_size=5, pad=2, stride=1)
    n.pool2 = x = L.Pooling(x, **MAX)
    x = mlpconv(n, 3, x, 384, 0.01, "789", kernel_size=3, pad=1, stride=1)
    n.pool3 = x = L.Pooling(x, **MAX)
    n.drop = x = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    n.conv4 = conv(x, 1024, 0.05, name="conv4-1024", kernel_size=3, pad=1, stride=1)
    n.relu10 = x = L.ReLU(n.conv4, in_place=True)
    n.cccp7 = conv(x, 1024, 0.05, name="cccp7-1024", **PIXEL)
    n.relu11 = x = L.ReLU(n.cccp7, in_place=True)
    n.cccp8 = conv(x, num_classes, 0.01, name="cccp8-1024", **PIXEL)
    n.relu12 = x = L.ReLU(n.cccp8, in_place=True)
    n.pool4 = L.Pooling(x, pool="AVE", kernel_size=6, stride=1)


def mlpconv(
    n: NetSpec, stage: int, x: Top, width: int, std: float, relus: str, **window: int
) -> Top:
    """Add a convolution and two of 1 by 1 over it, each with its ReLU."""
    n[f"conv{stage}"] = x = conv(x, width, std, **window)
    n[f"relu{relus[0]}"] = x = L.ReLU(x, in_place=True)
    for number, relu in zip((2 * stage - 1, 2 * stage), relus[1:], strict=True):
        n[f"cccp{number}"] = x = conv(x, width, 0.05, **PIXEL)
        n[f"relu{relu}"] = x = L.ReLU(x, in_place=True)
    return x


def conv(x: Top, width: int, std: float, **options: Any) -> Top:
    """Return a convolution whose weights start normal with this deviation."""
    start = dict(
        weight_filler=dict(type="gaussian", mean=0, std=std), bias_filler=0, param=LEARN
    )
    return L.Convolution(x, num_output=width, **options, **start)
