"""ResNet-152, as published by its authors.

    python -m netspec.export models/resnet152.py -o resnet152_train_val.prototxt
    python -m netspec.export models/resnet152.py --deploy -o resnet152.prototxt

He et al., arXiv:1512.03385; the layers are in `resnet.py`. With --deploy: images in,
probabilities out.
"""

import resnet

from netspec import NetSpec


def resnet152(
    batch_size: int = 32,
    test_batch_size: int = 25,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    return resnet.resnet(
        152, batch_size, test_batch_size, num_classes, source, test_source
    )


def deploy(batch_size: int = 1, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    return resnet.deploy(152, batch_size, num_classes)
