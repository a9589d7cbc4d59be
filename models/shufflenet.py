"""ShuffleNet with 3 groups, in the form of farmingyard's for Caffe.

    python -m netspec.export models/shufflenet.py -o shufflenet_train_val.prototxt
    python -m netspec.export models/shufflenet.py --deploy

Zhang et al., ShuffleNet, arXiv:1707.01083. Convolutions of 1 x 1 in groups, between
which ShuffleChannel, a layer of a fork, mixes the groups, and depthwise convolutions.
"""

from typing import Any

from mobilenet import read

from netspec import TEST, TRAIN, NetSpec, Top, defaults, module
from netspec import layers as L

GROUPS = 3
PLAIN: dict[str, Any] = dict(bias_term=False, weight_filler="msra")
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
    with defaults(L.BatchNorm, **statistics):
        n.conv1 = x = first(n.data)
        n.pool1 = x = L.Pooling(x, pool="MAX", kernel_size=3, stride=2)
        channels, number = 24, 0
        for width, count in STAGES:
            for place in range(count):
                number += 1
                unit = same if place else halved
                added = width if place else width - channels
                n[f"resx{number}"] = x = unit(x, width // 4, added, number > 1)
            channels = width
    n.pool_ave = L.Pooling(x, pool="AVE", global_pooling=True)
    n.fc1000 = L.Convolution(
        n.pool_ave, num_output=num_classes, kernel_size=1, weight_filler="msra"
    )


def published(block: str, part: str) -> str:
    """Return the published name of a part of a unit: of resx2, conv1_bn.

    It is resx2_conv1_bn there, and shuffle is shuffle2.
    """
    if part == "shuffle":
        return block.replace("resx", "shuffle")
    return f"{block}_{part}"


@module(names=lambda block, part: block + part.removeprefix("conv"))
def first(x: Top) -> Top:
    """Return what comes out of the first convolution."""
    return conv(NetSpec(), "conv", x, 24, pad=1, kernel_size=3, stride=2)


@module(names=published)
def same(x: Top, inner: int, width: int, grouped: bool) -> Top:
    """Return `x` and what a unit adds to it."""
    m = NetSpec()
    m.elewise = L.Eltwise(x, unit(m, x, inner, width, grouped, 1), operation="SUM")
    m.relu = L.ReLU(m.elewise, in_place=True)
    return m.relu


@module(names=published)
def halved(x: Top, inner: int, width: int, grouped: bool) -> Top:
    """Return `x` and, as further channels, what a unit makes, at half the size."""
    m = NetSpec()
    y = unit(m, x, inner, width, grouped, 2)
    m.match_conv = L.Pooling(x, pool="AVE", kernel_size=3, stride=2)
    m.concat = L.Concat(m.match_conv, y)
    m.relu = L.ReLU(m.concat, in_place=True)
    return m.relu


def unit(m: NetSpec, x: Top, inner: int, width: int, grouped: bool, stride: int) -> Top:
    """Add the three convolutions of a unit, with channels mixed in between.

    grouped: not in the first unit, which sees few channels and mixes none.
    """
    groups = dict(group=GROUPS) if grouped else {}
    x = conv(m, "conv1", x, inner, kernel_size=1, **groups)
    if grouped:
        m.shuffle = x = L.ShuffleChannel(x, group=GROUPS)
    window = dict(kernel_size=3, pad=1, stride=stride, **PLAIN)
    m.conv2 = L.DepthwiseConvolution(x, num_output=inner, group=inner, **window)
    x = norm(m, "conv2", m.conv2, relu=False)
    return conv(m, "conv3", x, width, kernel_size=1, group=GROUPS, relu=False)


def conv(
    m: NetSpec, name: str, x: Top, width: int, *, relu: bool = True, **window: int
) -> Top:
    """Add a convolution and what follows it."""
    m[name] = x = L.Convolution(x, num_output=width, **window, **PLAIN)
    return norm(m, name, x, relu=relu)


def norm(m: NetSpec, name: str, x: Top, *, relu: bool) -> Top:
    """Add what follows a convolution in place."""
    m[f"{name}_bn"] = x = L.BatchNorm(x, in_place=True)
    m[f"{name}_scale"] = x = L.Scale(x, bias_term=True, in_place=True)
    if relu:
        m[f"{name}_relu"] = x = L.ReLU(x, in_place=True)
    return x
