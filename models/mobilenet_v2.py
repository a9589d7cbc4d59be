"""MobileNet v2, as published for Caffe by shicai.

    python -m netspec.export models/mobilenet_v2.py -o mobilenet_v2_train_val.prototxt
    python -m netspec.export models/mobilenet_v2.py --deploy -o mobilenet_v2.prototxt

Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks,
arXiv:1801.04381. The net for use (--deploy) is published; the one for training adds
data and a loss, and lets the phase choose the statistics.
"""

from typing import Any

import mobilenet
from mobilenet import FIXED, LEARN, SCALE, judge, read, score

from netspec import TEST, TRAIN, NetSpec, Top, defaults, module
from netspec import layers as L

# Names of the blocks, their widths, and those that halve the image.
BLOCKS = [("2_1", 16), ("2_2", 24), ("3_1", 24), ("3_2", 32), ("4_1", 32), ("4_2", 32)]
BLOCKS += [("4_3", 64), ("4_4", 64), ("4_5", 64), ("4_6", 64), ("4_7", 96)]
BLOCKS += [("5_1", 96), ("5_2", 96), ("5_3", 160), ("6_1", 160), ("6_2", 160)]
BLOCKS += [("6_3", 320)]
HALVING = ("2_2", "3_2", "4_7", "5_3")


def mobilenet_v2(
    batch_size: int = 64,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("MOBILENET_V2")
    read(n, (TRAIN, source, batch_size), (TEST, test_source, test_batch_size))
    classify(n, num_classes, dict(eps=0.00001))
    judge(n)
    return n


def deploy(batch_size: int = 1, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("MOBILENET_V2")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    classify(n, num_classes, dict(eps=0.00001, use_global_stats=True))
    n.prob = L.Softmax(n.fc7)
    return n


def published(block: str, part: str) -> str:
    """Return the published name of a part of a block: of conv2_1, dwise/conv.

    It is conv2_1/dwise there, and the sum of conv3_1 is block_3_1.
    """
    if part == "sum":
        return block.replace("conv", "block_")
    return mobilenet.published(block, part)


def classify(n: NetSpec, num_classes: int, normalization: dict[str, Any]) -> None:
    """Add the layers from `n.data` to the scores, `n.fc7`."""
    with defaults(L.BatchNorm, **normalization):
        window = dict(kernel_size=3, pad=1, stride=2)
        n.conv1 = x = plain(n.data, 32, **window)
        channels = 32
        for name, width in BLOCKS:
            stride = dict(stride=2) if name in HALVING else {}
            wide = channels if name == "2_1" else 6 * channels
            n[f"conv{name}"] = x = bottleneck(x, channels, wide, width, stride)
            channels = width
        n.conv6_4 = x = plain(x, 1280, kernel_size=1)
    score(n, x, num_classes)


@module(names=published)
def plain(x: Top, width: int, **window: int) -> Top:
    """Return what comes out of a convolution and its ReLU."""
    return conv_relu(NetSpec(), "", x, width, **window)


@module(names=published)
def bottleneck(
    x: Top, channels: int, wide: int, width: int, stride: dict[str, int]
) -> Top:
    """Return `x` through a bottleneck inside out, whose end has no ReLU.

    It is made wide, seen channel by channel, and made narrow; `x` is added to what has
    as many channels.
    """
    m = NetSpec()
    window = dict(kernel_size=3, pad=1, group=wide, engine="CAFFE", **stride)
    y = conv_relu(m, "expand/", x, wide, kernel_size=1)
    y = conv_relu(m, "dwise/", y, wide, **window)
    y = conv(m, "linear/", y, width, kernel_size=1)
    if width == channels:
        m.sum = y = L.Eltwise(x, y)
    return y


def conv(m: NetSpec, path: str, x: Top, width: int, **options: Any) -> Top:
    """Add a convolution, its normalisation, and the scale of that in place."""
    options |= dict(bias_term=False, weight_filler="msra", param=LEARN)
    m[f"{path}conv"] = x = L.Convolution(x, num_output=width, **options)
    m[f"{path}bn"] = x = L.BatchNorm(x, param=FIXED)
    m[f"{path}scale"] = x = L.Scale(x, param=SCALE, bias_term=True, in_place=True)
    return x


def conv_relu(m: NetSpec, path: str, x: Top, width: int, **options: Any) -> Top:
    """Add the same with a ReLU in place."""
    x = conv(m, path, x, width, **options)
    m[f"{path}relu"] = x = L.ReLU(x, in_place=True)
    return x
