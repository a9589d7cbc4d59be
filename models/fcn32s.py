"""FCN-32s for PASCAL VOC, as published by its authors.

    python -m netspec.export models/fcn32s.py -o train.prototxt
    python -m netspec.export models/fcn32s.py --set split=seg11valid -o val.prototxt
    python -m netspec.export models/fcn32s.py --deploy -o deploy.prototxt

Long, Shelhamer and Darrell, Fully convolutional networks for semantic segmentation,
arXiv:1411.4038; Shelhamer et al., arXiv:1605.06211. VGG-16 with convolutions in the
place of its fully connected layers, and scores brought back to the size of the image by
one deconvolution of stride 32. Data come from the authors' Python layers (`voc_layers`,
which must be importable). With --deploy: an image in, 21 scores for every pixel out.
"""

from typing import Any

from vgg16 import DEPTHS, LEARN, features

from netspec import NetSpec, Top
from netspec import layers as L

MEAN = (104.00699, 116.66877, 122.67892)  # blue, green, red
CONV = dict(stride=1, param=LEARN)


def fcn32s(
    split: str = "train",
    num_classes: int = 21,
    sbdd_dir: str = "../data/sbdd/dataset",
    voc_dir: str = "../data/pascal/VOC2011",
) -> NetSpec:
    """Return the net that learns from split "train", or tests with another split."""
    n = NetSpec()
    read(n, split, sbdd_dir, voc_dir)
    segment(n, num_classes)
    judge(n)
    return n


def deploy(height: int = 500, width: int = 500, num_classes: int = 21) -> NetSpec:
    """Return the net for use: an image in, scores of its pixels out."""
    n = NetSpec()
    n.data = L.Input(shape=[1, 3, height, width], name="input")
    segment(n, num_classes, dropout=False)
    return n


def segment(n: NetSpec, num_classes: int, *, dropout: bool = True) -> None:
    """Add the layers from `n.data` to the scores, `n.score`."""
    n.score_fr = one_by_one(trunk(n, dropout=dropout), num_classes)
    n.upscore = enlarge(n.score_fr, num_classes, 32)
    n.score = crop(n.upscore, n.data, 19)


def read(n: NetSpec, split: str, sbdd_dir: str, voc_dir: str) -> None:
    """Add an image and its labels: those of SBDD to train, those of VOC to test."""
    layer, folder = "VOCSegDataLayer", dict(voc_dir=voc_dir)
    if split == "train":
        layer, folder = "SBDDSegDataLayer", dict(sbdd_dir=sbdd_dir)
    options = str(folder | dict(seed=1337, split=split, mean=MEAN))
    n.data, n.label = L.Python(
        module="voc_layers", layer=layer, param_str=options, ntop=2
    )


def judge(n: NetSpec) -> None:
    """Add the loss, a sum over all pixels that have a label."""
    n.loss = L.SoftmaxWithLoss(
        n.score, n.label, loss_param=dict(ignore_label=255, normalize=False)
    )


def trunk(n: NetSpec, *, dropout: bool) -> Top:
    """Add VGG-16 over `n.data`, without its scores, and return its features.

    The padding of 100 lets every size of image have features; `crop` takes it back.
    """
    x = features(n, n.data, DEPTHS, pad=100, **CONV)
    for number, size in ((6, 7), (7, 1)):
        x = L.Convolution(x, num_output=4096, kernel_size=size, pad=0, **CONV)
        n[f"fc{number}"] = x
        n[f"relu{number}"] = x = L.ReLU(x, in_place=True)
        if dropout:
            n[f"drop{number}"] = x = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    return x


def one_by_one(x: Top, num_classes: int) -> Top:
    """Return scores of the classes at every place of `x`."""
    return L.Convolution(x, num_output=num_classes, kernel_size=1, pad=0, param=LEARN)


def enlarge(x: Top, num_classes: int, factor: int) -> Top:
    """Return `x` enlarged by an interpolation that is not learned.

    The authors set its bilinear weights by net surgery; they are not in the file.
    """
    window: dict[str, Any] = dict(kernel_size=2 * factor, stride=factor)
    return L.Deconvolution(
        x,
        convolution_param=dict(num_output=num_classes, bias_term=False, **window),
        param=[dict(lr_mult=0)],
    )


def crop(x: Top, like: Top, offset: int) -> Top:
    """Return the part of `x` that lies over `like`."""
    return L.Crop(x, like, axis=2, offset=offset)
