"""SqueezeNet v1.1 or v1.0, as published by its authors.

    python -m netspec.export models/squeezenet.py -o squeezenet_train_val.prototxt
    python -m netspec.export models/squeezenet.py --set version=1.0
    python -m netspec.export models/squeezenet.py --deploy -o squeezenet.prototxt

Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters,
arXiv:1602.07360. Version 1.1 is as accurate as 1.0 with 2.4 times less computation.
With --deploy: images in, probabilities out.
"""

from typing import Any, Literal

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

Version = Literal["1.0", "1.1"]
# The first convolution, the modules with a pooling behind them, the last convolution.
FIRST = {"1.0": dict(num_output=96, kernel_size=7)}
FIRST["1.1"] = dict(num_output=64, kernel_size=3)
POOLED = {"1.0": (4, 8), "1.1": (3, 5)}
LAST = {"1.0": dict(pad=1), "1.1": dict()}


def squeezenet(
    version: Version = "1.1",
    batch_size: int = 32,
    test_batch_size: int = 25,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec()
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in (train, test):
        images = dict(crop_size=227, mean_value=[104, 117, 123])
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)
    gaussian = dict(weight_filler=dict(type="gaussian", mean=0, std=0.01))
    trunk(n, version, num_classes, dict(weight_filler="xavier"), gaussian)
    # Version 1.1 also measures the loss in testing and the accuracy in training.
    in_training, in_testing = (
        (dict(include=TRAIN), dict(include=TEST)) if version == "1.0" else ({}, {})
    )
    n.loss = L.SoftmaxWithLoss(n.pool10, n.label, **in_training)
    n.accuracy = L.Accuracy(n.pool10, n.label, **in_testing)
    n.accuracy_top5 = L.Accuracy(n.pool10, n.label, top_k=5, **in_testing)
    return n


def deploy(
    version: Version = "1.1", batch_size: int = 10, num_classes: int = 1000
) -> NetSpec:
    """Return the net for use, which does not say how its weights start."""
    n = NetSpec()
    name = "input" if version == "1.0" else "data"
    n.data = L.Input(shape=[batch_size, 3, 227, 227], name=name)
    trunk(n, version, num_classes, {}, {})
    n.prob = L.Softmax(n.pool10)
    return n


def trunk(
    n: NetSpec,
    version: Version,
    num_classes: int,
    start: dict[str, Any],
    last_start: dict[str, Any],
) -> None:
    """Add the layers from `n.data` to the scores, `n.pool10`."""
    half = dict(pool="MAX", kernel_size=3, stride=2)
    n.conv1 = L.Convolution(n.data, stride=2, **FIRST[version], **start)
    n.relu_conv1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = x = L.Pooling(n.relu_conv1, **half)
    for number in range(2, 10):
        squeeze = 16 * (number // 2)
        n[f"fire{number}"] = module = fire(x, squeeze, 4 * squeeze, start)
        x = module.concat
        if number in POOLED[version]:
            n[f"pool{number}"] = x = L.Pooling(x, **half)
    n.drop9 = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    n.conv10 = L.Convolution(
        n.drop9, num_output=num_classes, kernel_size=1, **LAST[version], **last_start
    )
    n.relu_conv10 = L.ReLU(n.conv10, in_place=True)
    n.pool10 = L.Pooling(n.relu_conv10, pool="AVE", global_pooling=True)


def fire(x: Top, squeeze: int, expand: int, start: dict[str, Any]) -> NetSpec:
    """Return a narrow layer, and two wide ones over it side by side."""
    n = NetSpec()

    def conv(name: str, x: Top, width: int, **window: int) -> Top:
        n[name] = L.Convolution(x, num_output=width, **window, **start)
        n[f"relu_{name}"] = L.ReLU(n[name], in_place=True)
        return n[f"relu_{name}"]

    x = conv("squeeze1x1", x, squeeze, kernel_size=1)
    a = conv("expand1x1", x, expand, kernel_size=1)
    b = conv("expand3x3", x, expand, kernel_size=3, pad=1)
    n.concat = L.Concat(a, b)
    return n
