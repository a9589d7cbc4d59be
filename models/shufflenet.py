"""ShuffleNet with 3 groups, in the form of farmingyard's for Caffe.

    python -m netspec.export models/shufflenet.py -o shufflenet_train_val.prototxt
    python -m netspec.export models/shufflenet.py --deploy

Zhang et al., ShuffleNet, arXiv:1707.01083. Convolutions of 1 x 1 in groups, between
which ShuffleChannel, a layer of a fork, mixes the groups, and depthwise convolutions.
"""

from typing import Any

from mobilenet import read

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

GROUPS = 3
STAGES = ((240, 4), (480, 8), (960, 4))  # channels, and blocks


def shufflenet(
    batch_size: int = 64,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("shufflenet")
    read(n, (TRAIN, source, batch_size), (TEST, test_source, test_batch_size))
    classify(n, num_classes, {})
    n.loss = L.SoftmaxWithLoss(n.fc1000, n.label)
    n.top1 = L.Accuracy(n.fc1000, n.label, include=TEST)
    n.top5 = L.Accuracy(n.fc1000, n.label, top_k=5, include=TEST)
    return n


def deploy(batch_size: int = 1, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("shufflenet")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    classify(n, num_classes, dict(use_global_stats=True))
    n.prob = L.Softmax(n.fc1000)
    return n


def classify(n: NetSpec, num_classes: int, statistics: dict[str, Any]) -> None:
    """Add the layers from `n.data` to the scores, `n.fc1000`."""

    def norm(name: str, x: Top, *, relu: bool) -> Top:
        """Add what follows a convolution in place."""
        n[f"{name}_bn"] = x = L.BatchNorm(x, **statistics, in_place=True)
        n[f"{name}_scale"] = x = L.Scale(x, bias_term=True, in_place=True)
        if relu:
            n[f"{name}_relu"] = x = L.ReLU(x, in_place=True)
        return x

    def conv(name: str, x: Top, width: int, *, relu: bool = True, **more: Any) -> Top:
        """Add a convolution and what follows it."""
        more |= dict(bias_term=False, weight_filler="msra")
        n[name] = x = L.Convolution(x, num_output=width, **more)
        return norm(name, x, relu=relu)

    def depthwise(name: str, x: Top, width: int, stride: int) -> Top:
        """Add a convolution of every channel by itself."""
        more = dict(bias_term=False, weight_filler="msra")
        n[name] = x = L.DepthwiseConvolution(
            x,
            num_output=width,
            group=width,
            kernel_size=3,
            pad=1,
            stride=stride,
            **more,
        )
        return norm(name, x, relu=False)

    x, channels = conv("conv1", n.data, 24, pad=1, kernel_size=3, stride=2), 24
    n.pool1 = x = L.Pooling(x, pool="MAX", kernel_size=3, stride=2)
    number = 0
    for width, count in STAGES:
        for place in range(count):
            number += 1
            name, inner = f"resx{number}", width // 4
            added = width if place else width - channels
            groups = dict(group=GROUPS) if number > 1 else {}
            y = conv(f"{name}_conv1", x, inner, kernel_size=1, **groups)
            if number > 1:
                n[f"shuffle{number}"] = y = L.ShuffleChannel(y, group=GROUPS)
            y = depthwise(f"{name}_conv2", y, inner, 1 if place else 2)
            one = dict(kernel_size=1, group=GROUPS, relu=False)
            y = conv(f"{name}_conv3", y, added, **one)
            if place:
                n[f"{name}_elewise"] = x = L.Eltwise(x, y, operation="SUM")
            else:
                n[f"{name}_match_conv"] = past = L.Pooling(
                    x, pool="AVE", kernel_size=3, stride=2
                )
                n[f"{name}_concat"] = x = L.Concat(past, y)
            n[f"{name}_relu"] = x = L.ReLU(x, in_place=True)
        channels = width
    n.pool_ave = L.Pooling(x, pool="AVE", global_pooling=True)
    n.fc1000 = L.Convolution(
        n.pool_ave, num_output=num_classes, kernel_size=1, weight_filler="msra"
    )
