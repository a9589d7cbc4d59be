"""DenseNets of 121 to 201 layers, in the form of shicai's for Caffe.

    python -m netspec.export models/densenet.py -o densenet121_train_val.prototxt
    python -m netspec.export models/densenet.py --set depth=161 --deploy

Huang et al., Densely connected convolutional networks, arXiv:1608.06993. Every layer
reads what all layers before it in its block made. The first pooling rounds down, by
`ceil_mode`, which is a word of forks.
"""

from typing import Any, Literal

from mobilenet import read

from netspec import TEST, TRAIN, NetSpec, Top, defaults, module
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
    with defaults(L.Convolution, **options):
        n.conv1 = x = first(n.data, channels)
        window = dict(kernel_size=3, stride=2, pad=1, ceil_mode=False)
        n.pool1 = x = L.Pooling(x, pool="MAX", **window)
        for block, count in enumerate(blocks, 2):
            n[f"block{block}"] = x = dense(x, block, count, growth)
            channels += count * growth
            last = block - 1 == len(blocks)
            channels //= 1 if last else 2
            n[f"conv{block}_blk"] = x = between(x, 0 if last else channels)
            if not last:
                pool = L.Pooling(x, pool="AVE", kernel_size=2, stride=2)
                n[f"pool{block}"] = x = pool
        n.pool5 = L.Pooling(x, pool="AVE", global_pooling=True)
        n.fc6 = L.Convolution(n.pool5, num_output=num_classes, kernel_size=1)


def published(block: str, part: str) -> str:
    """Return the published name of a part of a block: of block2, conv2_1/x1/conv.

    It is conv2_1/x1 there; conv2_1/x1/relu is relu2_1/x1, conv2_1/concat is concat_2_1.
    """
    path, _, kind = part.rpartition("/")
    path = path or block  # the first layers, and those between blocks
    if kind in ("bn", "scale"):
        return f"{path}/{kind}"
    return path.replace("conv", dict(relu="relu", concat="concat_").get(kind, "conv"))


@module(names=published)
def first(x: Top, width: int) -> Top:
    """Return what comes out of the first convolution."""
    m = NetSpec()
    m.conv = L.Convolution(
        x, num_output=width, pad=3, kernel_size=7, stride=2, bias_term=False
    )
    return norm(m, "", m.conv)


@module(names=published)
def dense(x: Top, block: int, count: int, growth: int) -> Top:
    """Return `x` and what `count` layers add, each of which reads all before it."""
    m = NetSpec()
    for place in range(1, count + 1):
        path = f"conv{block}_{place}/"
        y = norm(m, f"{path}x1/", x)
        wide = dict(num_output=4 * growth, kernel_size=1, bias_term=False)
        m[f"{path}x1/conv"] = y = L.Convolution(y, **wide)
        y = norm(m, f"{path}x2/", y)
        narrow = dict(num_output=growth, pad=1, kernel_size=3, bias_term=False)
        m[f"{path}x2/conv"] = y = L.Convolution(y, **narrow)
        m[f"{path}concat"] = x = L.Concat(x, y)
    return x


@module(names=published)
def between(x: Top, width: int) -> Top:
    """Return `x` normalised and, but at the end, made narrower."""
    m = NetSpec()
    x = norm(m, "", x)
    if width:
        m.conv = x = L.Convolution(x, num_output=width, kernel_size=1, bias_term=False)
    return x


def norm(m: NetSpec, path: str, x: Top) -> Top:
    """Add what comes before a convolution, or behind the first."""
    m[f"{path}bn"] = x = L.BatchNorm(x, eps=1e-5)
    m[f"{path}scale"] = x = L.Scale(x, bias_term=True, in_place=True)
    m[f"{path}relu"] = x = L.ReLU(x, in_place=True)
    return x
