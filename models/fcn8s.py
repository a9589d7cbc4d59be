"""FCN-8s for PASCAL VOC, as published by its authors.

    python -m netspec.export models/fcn8s.py -o train.prototxt
    python -m netspec.export models/fcn8s.py --set split=seg11valid -o val.prototxt
    python -m netspec.export models/fcn8s.py --deploy -o deploy.prototxt

Long, Shelhamer and Darrell, arXiv:1411.4038. FCN-16s, whose scores are enlarged twice
once more and added to scores of pool3 before they are enlarged 8 times. With --deploy:
an image in, 21 scores for every pixel out.
"""

from fcn16s import fuse_pool4
from fcn32s import crop, enlarge, judge, one_by_one, read

from netspec import NetSpec
from netspec import layers as L


def fcn8s(
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
    fuse_pool4(n, num_classes, dropout=dropout)
    n.upscore_pool4 = enlarge(n.fuse_pool4, num_classes, 2)
    n.score_pool3 = one_by_one(n.pool3, num_classes)
    n.score_pool3c = crop(n.score_pool3, n.upscore_pool4, 9)
    n.fuse_pool3 = L.Eltwise(n.upscore_pool4, n.score_pool3c, operation="SUM")
    n.upscore8 = enlarge(n.fuse_pool3, num_classes, 8)
    n.score = crop(n.upscore8, n.data, 31)
