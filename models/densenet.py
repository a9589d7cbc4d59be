"""DenseNets of 121 to 201 layers, in the form of shicai's for Caffe.

    python -m netspec.export models/densenet.py -o densenet121_train_val.prototxt
    python -m netspec.export models/densenet.py --set depth=161 --deploy

Huang et al., Densely connected convolutional networks, arXiv:1608.06993. Every layer
reads what all layers before it in its block made. The first pooling rounds down, by
`ceil_mode`, which is a word of forks.
"""

from typing import Any, Literal

from mobilenet import read

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

Depth = Literal[121, 161, 169, 201]
# Layers of every block, channels that each adds, and channels at first.
SIZES = {
    121: ((6, 12, 24, 16), 32, 64),
    161: ((6, 12, 36, 24), 48, 96),
    169: ((6, 12, 32, 32), 32, 64),
    201: ((6, 12, 48, 32), 32, 64),
}


def densenet(
    depth: Depth = 121,
    batch_size: int = 32,
    test_batch_size: int = 25,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec(f"DENSENET_{depth}")
    read(n, (TRAIN, source, batch_size), (TEST, test_source, test_batch_size))
    options = dict(weight_filler="msra")
    classify(n, depth, num_classes, options)
    n.loss = L.SoftmaxWithLoss(n.fc6, n.label)
    n.top1 = L.Accuracy(n.fc6, n.label, include=TEST)
    n.top5 = L.Accuracy(n.fc6, n.label, top_k=5, include=TEST)
    return n


def deploy(depth: Depth = 121, batch_size: int = 1, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, scores out."""
    n = NetSpec(f"DENSENET_{depth}")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    classify(n, depth, num_classes, {})
    return n


def classify(
    n: NetSpec, depth: Depth, num_classes: int, options: dict[str, Any]
) -> None:
    """Add the layers from `n.data` to the scores, `n.fc6`."""
    blocks, growth, channels = SIZES[depth]

    def conv(name: str, x: Top, width: int, **window: Any) -> Top:
        """Add a convolution without a bias."""
        window |= dict(bias_term=False, **options)
        n[name] = x = L.Convolution(x, num_output=width, **window)
        return x

    def norm(name: str, x: Top) -> Top:
        """Add what comes before a convolution, or behind the first."""
        n[f"{name}/bn"] = x = L.BatchNorm(x, eps=1e-5)
        n[f"{name}/scale"] = x = L.Scale(x, bias_term=True, in_place=True)
        n[name.replace("conv", "relu")] = x = L.ReLU(x, in_place=True)
        return x

    x = conv("conv1", n.data, channels, pad=3, kernel_size=7, stride=2)
    x = norm("conv1", x)
    window = dict(kernel_size=3, stride=2, pad=1, ceil_mode=False)
    n.pool1 = x = L.Pooling(x, pool="MAX", **window)
    for block, count in enumerate(blocks, 2):
        for place in range(1, count + 1):
            name = f"conv{block}_{place}"
            y = norm(f"{name}/x1", x)
            y = conv(f"{name}/x1", y, 4 * growth, kernel_size=1)
            y = norm(f"{name}/x2", y)
            y = conv(f"{name}/x2", y, growth, pad=1, kernel_size=3)
            n[f"concat_{block}_{place}"] = x = L.Concat(x, y)
        x = norm(f"conv{block}_blk", x)
        channels += count * growth
        if block - 1 < len(blocks):
            channels //= 2
            x = conv(f"conv{block}_blk", x, channels, kernel_size=1)
            n[f"pool{block}"] = x = L.Pooling(x, pool="AVE", kernel_size=2, stride=2)
    n.pool5 = L.Pooling(x, pool="AVE", global_pooling=True)
    n.fc6 = L.Convolution(n.pool5, num_output=num_classes, kernel_size=1, **options)
