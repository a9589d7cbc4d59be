"""MobileNet, as published for Caffe by shicai.

    python -m netspec.export models/mobilenet.py -o mobilenet_train_val.prototxt
    python -m netspec.export models/mobilenet.py --deploy -o mobilenet.prototxt

Howard et al., MobileNets: efficient convolutional neural networks for mobile vision
applications, arXiv:1704.04861. The net for use (--deploy) is published; the one for
training adds data and a loss, and lets the phase choose the statistics.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top, defaults, module
from netspec import layers as L

# Names, widths and strides of the separable convolutions.
SEPARABLE = [("2_1", 64, 1), ("2_2", 128, 2), ("3_1", 128, 1), ("3_2", 256, 2)]
SEPARABLE += [("4_1", 256, 1), ("4_2", 512, 2)]
SEPARABLE += [(f"5_{k}", 512, 1) for k in range(1, 6)]
SEPARABLE += [("5_6", 1024, 2), ("6", 1024, 1)]

LEARN = [dict(lr_mult=1, decay_mult=1)]
FIXED = [dict(lr_mult=0, decay_mult=0)] * 3  # statistics are not learned by descent
SCALE = [dict(lr_mult=1, decay_mult=0)] * 2
SCORES = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]


def mobilenet(
    batch_size: int = 64,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("MOBILENET")
    read(n, (TRAIN, source, batch_size), (TEST, test_source, test_batch_size))
    classify(n, num_classes, dict(eps=0.00001))
    judge(n)
    return n


def deploy(batch_size: int = 1, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("MOBILENET")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    classify(n, num_classes, dict(eps=0.00001, use_global_stats=True))
    n.prob = L.Softmax(n.fc7)
    return n


def read(n: NetSpec, *databases: tuple[int, str, int]) -> None:
    """Add images and labels: for each phase a database and its batch size."""
    for phase, path, size in databases:
        images = dict(mirror=phase == TRAIN, crop_size=224, scale=0.017)
        images["mean_value"] = [103.94, 116.78, 123.68]
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)


def published(block: str, part: str) -> str:
    """Return the published name of a part of a block: of conv2_1, dw/conv.

    It is conv2_1/dw there; dw/bn is conv2_1/dw/bn, and dw/relu is relu2_1/dw.
    """
    branch, _, kind = part.rpartition("/")
    name = f"{block}/{branch}" if branch else block
    if kind == "relu":
        return name.replace("conv", "relu")
    return name if kind == "conv" else f"{name}/{kind}"


def classify(n: NetSpec, num_classes: int, normalization: dict[str, Any]) -> None:
    """Add the layers from `n.data` to the scores, `n.fc7`."""
    with defaults(L.BatchNorm, **normalization):
        n.conv1 = x = first(n.data, 32)
        channels = 32
        for name, width, stride in SEPARABLE:
            n[f"conv{name}"] = x = separable(x, channels, width, stride)
            channels = width
    score(n, x, num_classes)


@module(names=published)
def first(x: Top, width: int) -> Top:
    """Return what comes out of the first convolution."""
    return conv(NetSpec(), "", x, width, kernel_size=3, pad=1, stride=2)


@module(names=published)
def separable(x: Top, channels: int, width: int, stride: int) -> Top:
    """Return what a convolution of each channel, and one of 1 x 1, make of `x`."""
    m = NetSpec()
    window = dict(kernel_size=3, pad=1, stride=stride)
    x = conv(m, "dw/", x, channels, **window, group=channels, engine="CAFFE")
    return conv(m, "sep/", x, width, kernel_size=1, pad=0, stride=1)


def conv(m: NetSpec, path: str, x: Top, width: int, **options: Any) -> Top:
    """Add a convolution and what follows it in place; return what comes out."""
    options |= dict(bias_term=False, weight_filler="msra", param=LEARN)
    m[f"{path}conv"] = x = L.Convolution(x, num_output=width, **options)
    m[f"{path}bn"] = x = L.BatchNorm(x, param=FIXED, in_place=True)
    ones = dict(filler=dict(value=1), bias_term=True, bias_filler=dict(value=0))
    m[f"{path}scale"] = x = L.Scale(x, param=SCALE, **ones, in_place=True)
    m[f"{path}relu"] = x = L.ReLU(x, in_place=True)
    return x


def score(n: NetSpec, x: Top, num_classes: int) -> None:
    """Add the average over each image and the scores, `n.fc7`."""
    n.pool6 = L.Pooling(x, pool="AVE", global_pooling=True)
    options = dict(kernel_size=1, weight_filler="msra", bias_filler=0, param=SCORES)
    n.fc7 = L.Convolution(n.pool6, num_output=num_classes, **options)


def judge(n: NetSpec) -> None:
    """Add the loss, and how often the right class is the best or among the best."""
    n.loss = L.SoftmaxWithLoss(n.fc7, n.label)
    n.top1 = L.Accuracy(n.fc7, n.label, include=TEST)
    n.top5 = L.Accuracy(n.fc7, n.label, top_k=5, include=TEST)
