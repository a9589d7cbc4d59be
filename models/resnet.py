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

from netspec import TEST, TRAIN, NetSpec, Top
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

    def conv_bn(name: str, x: Top, width: int, size: int, **window: Any) -> Top:
        """Add a convolution, its normalisation and its scale, the last two in place."""
        stem = name.removeprefix("res") if name != "conv1" else "_conv1"
        n[name] = L.Convolution(
            x, num_output=width, kernel_size=size, **window, **convolution
        )
        n["bn" + stem] = L.BatchNorm(n[name], **normalization, in_place=True)
        n["scale" + stem] = L.Scale(n["bn" + stem], bias_term=True, in_place=True)
        return n["scale" + stem]

    def relu(name: str, x: Top) -> Top:
        n[name + "_relu"] = L.ReLU(x, in_place=True)
        return n[name + "_relu"]

    def block(name: str, x: Top, width: int, stride: int, project: bool) -> Top:
        """Add the convolutions of a block and the sum with what goes around them."""
        around = x
        if project:
            wide = width if depth < 50 else 4 * width
            around = conv_bn(
                f"{name}_branch1", x, wide, 1, pad=0, stride=stride, bias_term=False
            )
        parts, strided = [(width, 3), (width, 3)], "a"
        if depth >= 50:
            parts = [(width, 1), (width, 3), (4 * width, 1)]
            strided = "b" if variant == "torchvision" else "a"
        for letter, (outputs, size) in zip("abc", parts, strict=False):
            part = f"{name}_branch2{letter}"
            window = dict(pad=size // 2, stride=stride if letter == strided else 1)
            x = conv_bn(part, x, outputs, size, **window, bias_term=False)
            if letter != "abc"[len(parts) - 1]:
                x = relu(part, x)
        n[name] = L.Eltwise(around, x)
        return relu(name, n[name])

    # The authors' first convolution has a bias in the net of 50 layers only.
    bias = {} if (depth, variant) == (50, "authors") else dict(bias_term=False)
    pads = {} if variant == "authors" else dict(pad=1, round_mode="FLOOR")
    x = relu("conv1", conv_bn("conv1", n.data, 64, 7, pad=3, stride=2, **bias))
    x = n.pool1 = L.Pooling(x, pool="MAX", kernel_size=3, stride=2, **pads)
    for stage in (2, 3, 4, 5):
        for name in names(depth, stage):
            first = name.endswith("a")
            stride = 2 if first and stage > 2 else 1
            project = first and (stage > 2 or depth >= 50)
            x = block(name, x, 2 ** (stage + 4), stride, project)
    n.pool5 = L.Pooling(x, pool="AVE", kernel_size=7, stride=1)


def names(depth: int, stage: int) -> list[str]:
    """Return the names of the blocks of a stage.

    They are res2a, res2b, res2c; where letters do not suffice, res4a, res4b1, res4b2.
    """
    blocks = BLOCKS[depth][stage - 2]
    if depth > 100 and stage in (3, 4):
        return [f"res{stage}a"] + [f"res{stage}b{k}" for k in range(1, blocks)]
    return [f"res{stage}{letter}" for letter in "abcdef"[:blocks]]
