"""Residual nets of 18 to 152 layers, as published by their authors.

    python -m netspec.export models/resnet.py --set depth=101 -o train_val.prototxt
    python -m netspec.export models/resnet.py --set depth=101 --deploy
    python -m netspec.export models/resnet.py --set variant=torchvision --deploy

He et al., Deep residual learning for image recognition, arXiv:1512.03385. The authors
published the nets of 50, 101 and 152 layers for use (--deploy); those for training add
data, fillers and a loss, and let the phase choose the statistics. Those of 18 and 34
layers follow the paper, with names of the same kind.

The variant of torchvision is the net that its weights are for (docs/weights.md). It
differs in three points: blocks of nets of 50 layers and more take their stride in the
convolution of 3 x 3; the first pooling has a pad and drops a last window that would
start outside; and the first convolution never has a bias.
"""

from typing import Any, Literal

from netspec import TEST, TRAIN, NetSpec, Top, defaults, module
from netspec import layers as L

Depth = Literal[18, 34, 50, 101, 152]
Variant = Literal["authors", "torchvision"]
BLOCKS = {  # of every stage
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def resnet(
    depth: Depth = 50,
    batch_size: int = 32,
    test_batch_size: int = 25,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
    variant: Variant = "authors",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec(f"ResNet-{depth}")
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in (train, test):
        images = dict(mirror=phase == TRAIN, crop_size=224, mean_value=[104, 117, 123])
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)
    options = dict(weight_filler="msra")
    trunk(n, depth, convolution=options, normalization={}, variant=variant)
    n.fc1000 = L.InnerProduct(n.pool5, num_output=num_classes, weight_filler="msra")
    n.accuracy = L.Accuracy(n.fc1000, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.fc1000, n.label)
    return n


def deploy(
    depth: Depth = 50,
    batch_size: int = 1,
    num_classes: int = 1000,
    variant: Variant = "authors",
) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec(f"ResNet-{depth}")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    statistics = dict(use_global_stats=True)
    trunk(n, depth, convolution={}, normalization=statistics, variant=variant)
    n.fc1000 = L.InnerProduct(n.pool5, num_output=num_classes)
    n.prob = L.Softmax(n.fc1000)
    return n


def published(block: str, part: str) -> str:
    """Return the published name of a part of a block: of res2a, branch2a/bn.

    It is bn2a_branch2a there, and the sum of a block has the block's name.
    """
    branch, _, kind = part.rpartition("/")
    name = f"{block}_{branch}" if branch else block
    if kind in ("bn", "scale"):
        return kind + (name.removeprefix("res") if branch else f"_{name}")
    return f"{name}_relu" if kind == "relu" else name


def trunk(
    n: NetSpec,
    depth: int,
    convolution: dict[str, Any],
    normalization: dict[str, Any],
    variant: Variant,
) -> None:
    """Add the layers from `n.data` to the pooled features, `n.pool5`.

    convolution, normalization: options of all Convolution and BatchNorm layers.
    """
    # The authors' first convolution has a bias in the net of 50 layers only.
    bias = {} if (depth, variant) == (50, "authors") else dict(bias_term=False)
    pads = {} if variant == "authors" else dict(pad=1, round_mode="FLOOR")
    options = defaults(L.Convolution, **convolution)
    with options, defaults(L.BatchNorm, **normalization):
        n.conv1 = x = first(n.data, bias)
        x = n.pool1 = L.Pooling(x, pool="MAX", kernel_size=3, stride=2, **pads)
        for stage in (2, 3, 4, 5):
            width = 2 ** (stage + 4)
            for name in names(depth, stage):
                opens = name.endswith("a")
                stride = 2 if opens and stage > 2 else 1
                project = opens and (stage > 2 or depth >= 50)
                if depth < 50:
                    n[name] = x = basic(x, width, stride, project)
                else:
                    n[name] = x = bottleneck(x, width, stride, project, variant)
    n.pool5 = L.Pooling(x, pool="AVE", kernel_size=7, stride=1)


@module(names=published)
def first(x: Top, bias: dict[str, Any]) -> Top:
    """Return what comes out of the first convolution."""
    m = NetSpec()
    window = dict(kernel_size=7, pad=3, stride=2)
    m.relu = L.ReLU(conv_bn(m, "", x, 64, **window, **bias), in_place=True)
    return m.relu


@module(names=published)
def basic(x: Top, width: int, stride: int, project: bool) -> Top:
    """Return what two convolutions of 3 x 3 add to `x`."""
    m = NetSpec()
    around = shortcut(m, x, width, stride) if project else x
    y = branch(m, "branch2a/", x, width, 3, stride)
    m["branch2a/relu"] = y = L.ReLU(y, in_place=True)
    return joined(m, around, branch(m, "branch2b/", y, width, 3))


@module(names=published)
def bottleneck(x: Top, width: int, stride: int, project: bool, variant: Variant) -> Top:
    """Return what a narrow convolution of 3 x 3 between two of 1 x 1 adds to `x`."""
    m = NetSpec()
    around = shortcut(m, x, 4 * width, stride) if project else x
    early, late = (stride, 1) if variant == "authors" else (1, stride)
    y = branch(m, "branch2a/", x, width, 1, early)
    m["branch2a/relu"] = y = L.ReLU(y, in_place=True)
    y = branch(m, "branch2b/", y, width, 3, late)
    m["branch2b/relu"] = y = L.ReLU(y, in_place=True)
    return joined(m, around, branch(m, "branch2c/", y, 4 * width, 1))


def shortcut(m: NetSpec, x: Top, width: int, stride: int) -> Top:
    """Add a projection of `x` to what a block makes of it."""
    return branch(m, "branch1/", x, width, 1, stride)


def branch(
    m: NetSpec, path: str, x: Top, width: int, size: int, stride: int = 1
) -> Top:
    """Add a convolution that keeps the size of images but for its stride."""
    window = dict(kernel_size=size, pad=size // 2, stride=stride)
    return conv_bn(m, path, x, width, **window, bias_term=False)


def conv_bn(m: NetSpec, path: str, x: Top, width: int, **options: Any) -> Top:
    """Add a convolution, its normalisation and its scale, the last two in place."""
    m[f"{path}conv"] = x = L.Convolution(x, num_output=width, **options)
    m[f"{path}bn"] = x = L.BatchNorm(x, in_place=True)
    m[f"{path}scale"] = x = L.Scale(x, bias_term=True, in_place=True)
    return x


def joined(m: NetSpec, around: Top, x: Top) -> Top:
    """Add the sum of a block with what goes around it."""
    m.sum = L.Eltwise(around, x)
    m.relu = L.ReLU(m.sum, in_place=True)
    return m.relu


def names(depth: int, stage: int) -> list[str]:
    """Return the names of the blocks of a stage.

    They are res2a, res2b, res2c; where letters do not suffice, res4a, res4b1, res4b2.
    """
    blocks = BLOCKS[depth][stage - 2]
    if depth > 100 and stage in (3, 4):
        return [f"res{stage}a"] + [f"res{stage}b{k}" for k in range(1, blocks)]
    return [f"res{stage}{letter}" for letter in "abcdef"[:blocks]]
