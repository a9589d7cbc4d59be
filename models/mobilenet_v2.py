"""MobileNet v2, as published for Caffe by shicai.

    python -m netspec.export models/mobilenet_v2.py -o mobilenet_v2_train_val.prototxt
    python -m netspec.export models/mobilenet_v2.py --deploy -o mobilenet_v2.prototxt

Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks,
arXiv:1801.04381. The net for use (--deploy) is published; the one for training adds
data and a loss, and lets the phase choose the statistics.
"""

from typing import Any

from mobilenet import FIXED, LEARN, SCALE, judge, read, score

from netspec import TEST, TRAIN, NetSpec, Top
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


def classify(n: NetSpec, num_classes: int, normalization: dict[str, Any]) -> None:
    """Add the layers from `n.data` to the scores, `n.fc7`."""

    def conv(name: str, x: Top, width: int, **options: Any) -> Top:
        """Add a convolution, its normalisation, and the scale of that in place."""
        options |= dict(bias_term=False, weight_filler="msra", param=LEARN)
        n[name] = L.Convolution(x, num_output=width, **options)
        n[f"{name}/bn"] = L.BatchNorm(n[name], param=FIXED, **normalization)
        scale = L.Scale(n[f"{name}/bn"], param=SCALE, bias_term=True, in_place=True)
        n[f"{name}/scale"] = scale
        return scale

    def conv_relu(name: str, x: Top, width: int, **options: Any) -> Top:
        x = conv(name, x, width, **options)
        n[name.replace("conv", "relu")] = x = L.ReLU(x, in_place=True)
        return x

    def block(name: str, x: Top, channels: int, expand: int, width: int) -> Top:
        """Add a bottleneck inside out: wide, depthwise, narrow without a ReLU."""
        around, wide = x, expand * channels
        window = dict(kernel_size=3, pad=1, group=wide, engine="CAFFE")
        if name in HALVING:
            window["stride"] = 2
        x = conv_relu(f"conv{name}/expand", x, wide, kernel_size=1)
        x = conv_relu(f"conv{name}/dwise", x, wide, **window)
        x = conv(f"conv{name}/linear", x, width, kernel_size=1)
        if width == channels:
            n[f"block_{name}"] = x = L.Eltwise(around, x)
        return x

    x, channels = conv_relu("conv1", n.data, 32, kernel_size=3, pad=1, stride=2), 32
    for name, width in BLOCKS:
        x = block(name, x, channels, 1 if name == "2_1" else 6, width)
        channels = width
    score(n, conv_relu("conv6_4", x, 1280, kernel_size=1), num_classes)
