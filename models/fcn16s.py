"""FCN-16s for PASCAL VOC, as published by its authors.

    python -m netspec.export models/fcn16s.py -o train.prototxt
    python -m netspec.export models/fcn16s.py --set split=seg11valid -o val.prototxt
    python -m netspec.export models/fcn16s.py --deploy -o deploy.prototxt

Long, Shelhamer and Darrell, arXiv:1411.4038. FCN-32s, whose scores are enlarged twice
and added to scores of the finer pool4 before they are enlarged 16 times. With --deploy:
an image in, 21 scores for every pixel out.
"""

from fcn32s import crop, enlarge, judge, one_by_one, read, trunk

from netspec import NetSpec
from netspec import layers as L


def fcn16s(
    split: str = "train",
    num_classes: int = 21,
    sbdd_dir: str = "../../data/sbdd/dataset",
    voc_dir: str = "../../data/pascal/VOC2011",
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
    n.upscore16 = enlarge(n.fuse_pool4, num_classes, 16)
    n.score = crop(n.upscore16, n.data, 27)


def fuse_pool4(n: NetSpec, num_classes: int, *, dropout: bool) -> None:
    """Add the layers from `n.data` to scores that pool4 has refined, `n.fuse_pool4`."""
    n.score_fr = one_by_one(trunk(n, dropout=dropout), num_classes)
    n.upscore2 = enlarge(n.score_fr, num_classes, 2)
    n.score_pool4 = one_by_one(n.pool4, num_classes)
    n.score_pool4c = crop(n.score_pool4, n.upscore2, 5)
    n.fuse_pool4 = L.Eltwise(n.upscore2, n.score_pool4c, operation="SUM")
