"""VGG-16, as published by its authors.

    python -m netspec.export models/vgg16.py -o vgg16_train_val.prototxt
    python -m netspec.export models/vgg16.py --deploy -o vgg16.prototxt

Simonyan and Zisserman, Very deep convolutional networks for large-scale image
recognition, arXiv:1409.1556. The authors published the net for use (--deploy); the one
for training adds data, fillers and a loss. Other files build on the functions here:
`vgg19.py`, `fcn32s.py` and its relatives, `fast_rcnn.py`, `ssd300.py`.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

DEPTHS = (2, 2, 3, 3, 3)  # convolutions of every stage
WIDTHS = (64, 128, 256, 512, 512)
LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, bias
START = dict(param=LEARN, weight_filler="msra", bias_filler=0)


def vgg16(
    batch_size: int = 64,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("VGG_ILSVRC_16_layers")
    read(n, (TRAIN, source, batch_size), (TEST, test_source, test_batch_size))
    classify(n, DEPTHS, num_classes, **START)
    judge(n)
    return n


def deploy(batch_size: int = 10, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("VGG_ILSVRC_16_layers")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    classify(n, DEPTHS, num_classes)
    n.prob = L.Softmax(n.fc8)
    return n


def read(n: NetSpec, *databases: tuple[int, str, int]) -> None:
    """Add images and labels: for each phase a database and its batch size."""
    for phase, path, size in databases:
        images = dict(mirror=phase == TRAIN, crop_size=224, mean_value=[104, 117, 123])
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)


def classify(
    n: NetSpec, depths: tuple[int, ...], num_classes: int, **options: Any
) -> None:
    """Add the layers from `n.data` to the scores, `n.fc8`."""
    x = dense(n, features(n, n.data, depths, **options), **options)
    n.fc8 = L.InnerProduct(x, num_output=num_classes, **options)


def features(
    n: NetSpec, x: Top, depths: tuple[int, ...], pad: int = 1, **options: Any
) -> Top:
    """Add the stages, each with a pooling behind it, and return the last one.

    pad: of the first convolution. options: of all convolutions.
    """
    for number, depth in enumerate(depths, start=1):
        x = stage(n, x, number, depth, pad, **options)
        n[f"pool{number}"] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
        pad = 1
    return x


def stage(
    n: NetSpec, x: Top, number: int, depth: int, pad: int = 1, **options: Any
) -> Top:
    """Add the convolutions of one stage; `pad` is that of the first."""
    for k in range(1, depth + 1):
        window = dict(kernel_size=3, pad=pad if k == 1 else 1)
        x = L.Convolution(x, num_output=WIDTHS[number - 1], **window, **options)
        n[f"conv{number}_{k}"] = x
        n[f"relu{number}_{k}"] = x = L.ReLU(x, in_place=True)
    return x


def dense(n: NetSpec, x: Top, **options: Any) -> Top:
    """Add the two fully connected layers before the scores."""
    for number in (6, 7):
        n[f"fc{number}"] = x = L.InnerProduct(x, num_output=4096, **options)
        n[f"relu{number}"] = x = L.ReLU(x, in_place=True)
        n[f"drop{number}"] = x = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    return x


def judge(n: NetSpec) -> None:
    """Add the loss, and how often the right class is the best or among the best."""
    n.loss = L.SoftmaxWithLoss(n.fc8, n.label)
    n["accuracy/top1"] = L.Accuracy(n.fc8, n.label, include=TEST)
    n["accuracy/top5"] = L.Accuracy(n.fc8, n.label, top_k=5, include=TEST)
