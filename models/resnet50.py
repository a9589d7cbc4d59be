"""ResNet-50, as published by its authors.

    python -m netspec.export models/resnet50.py -o resnet50_train_val.prototxt
    python -m netspec.export models/resnet50.py --deploy -o resnet50.prototxt

He et al., Deep residual learning for image recognition, arXiv:1512.03385. The authors
published the net for use; the one for training adds data, fillers and a loss, and lets
the phase choose the statistics.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

BLOCKS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}  # stage: its blocks


def resnet50(
    batch_size: int = 32,
    test_batch_size: int = 25,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("ResNet-50")
    for phase, path, size in (
        (TRAIN, source, batch_size),
        (TEST, test_source, test_batch_size),
    ):
        images = dict(mirror=phase == TRAIN, crop_size=224, mean_value=[104, 117, 123])
        reading = dict(source=path, batch_size=size, backend="LMDB")
        n.data, n.label = L.Data(
            **reading, transform_param=images, include=phase, ntop=2
        )
    Residual(n, convolution=dict(weight_filler="msra"), normalization={}).build()
    n.fc1000 = L.InnerProduct(n.pool5, num_output=num_classes, weight_filler="msra")
    n.accuracy = L.Accuracy(n.fc1000, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.fc1000, n.label)
    return n


def deploy(batch_size: int = 1, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("ResNet-50")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    Residual(n, convolution={}, normalization=dict(use_global_stats=True)).build()
    n.fc1000 = L.InnerProduct(n.pool5, num_output=num_classes)
    n.prob = L.Softmax(n.fc1000)
    return n
