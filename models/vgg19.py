"""VGG-19, as published by its authors: VGG-16 with three more convolutions.

    python -m netspec.export models/vgg19.py -o vgg19_train_val.prototxt
    python -m netspec.export models/vgg19.py --deploy -o vgg19.prototxt

Simonyan and Zisserman, arXiv:1409.1556. With --deploy: images in, probabilities out.
"""

from vgg16 import START, classify, judge, read

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L

DEPTHS = (2, 2, 4, 4, 4)  # convolutions of every stage


def vgg19(
    batch_size: int = 64,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("VGG_ILSVRC_19_layers")
    read(n, (TRAIN, source, batch_size), (TEST, test_source, test_batch_size))
    classify(n, DEPTHS, num_classes, **START)
    judge(n)
    return n


def deploy(batch_size: int = 10, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("VGG_ILSVRC_19_layers")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    classify(n, DEPTHS, num_classes)
    n.prob = L.Softmax(n.fc8)
    return n
