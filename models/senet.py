"""SE-ResNet and SE-ResNeXt of 50 to 152 layers, in their authors' form for Caffe.

    python -m netspec.export models/senet.py -o se_resnet50_train_val.prototxt
    python -m netspec.export models/senet.py --set depth=101 --deploy
    python -m netspec.export models/senet.py --set kind=resnext --deploy

Hu et al., Squeeze-and-excitation networks, arXiv:1709.01507. Behind every block of a
residual net two small layers weigh its channels by means over the image, and Axpy, a
layer of the authors' fork, multiplies by the weights and adds what goes past the block.
"""

from typing import Any, Literal

from netspec import TEST, TRAIN, NetSpec, Top, defaults, module
from netspec import layers as L

Depth = Literal[50, 101, 152]
Kind = Literal["resnet", "resnext"]
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # of every stage
GROUPS = 32  # of SE-ResNeXt, whose groups have 4 channels at first
REDUCTION = 16  # of the channels, between the two small layers


def senet(
    depth: Depth = 50,
    kind: Kind = "resnet",
    batch_size: int = 32,
    test_batch_size: int = 25,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec(name_of(depth, kind))
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in (train, test):
        images = dict(mirror=phase == TRAIN, crop_size=224, mean_value=[104, 117, 123])
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)
    classify(n, depth, kind, num_classes, dict(weight_filler="msra"), {})
    n.accuracy = L.Accuracy(n.classifier, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.classifier, n.label)
    return n


def deploy(
    depth: Depth = 50,
    kind: Kind = "resnet",
    batch_size: int = 1,
    num_classes: int = 1000,
) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec(name_of(depth, kind))
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    classify(n, depth, kind, num_classes, {}, dict(use_global_stats=True))
    n.prob = L.Softmax(n.classifier)
    return n


def name_of(depth: Depth, kind: Kind) -> str:
    """Return the name of a net."""
    return f"SE-ResNet-{depth}" if kind == "resnet" else f"SE-ResNeXt-{depth}"


def classify(
    n: NetSpec,
    depth: Depth,
    kind: Kind,
    num_classes: int,
    options: dict[str, Any],
    statistics: dict[str, Any],
) -> None:
    """Add the layers from `n.data` to the scores, `n.classifier`."""
    with defaults(L.Convolution, L.InnerProduct, **options):
        with defaults(L.BatchNorm, **statistics):
            x = trunk(n, depth, kind)
        n["pool5/7x7_s1"] = x = L.Pooling(x, pool="AVE", global_pooling=True)
        n.classifier = L.InnerProduct(x, num_output=num_classes)


def trunk(n: NetSpec, depth: Depth, kind: Kind) -> Top:
    """Add the convolutions; return what comes out of the last block."""
    n.conv1 = x = first(n.data)
    n["pool1/3x3_s2"] = x = L.Pooling(x, pool="MAX", kernel_size=3, stride=2)
    for stage, count in enumerate(BLOCKS[depth]):
        for place in range(count):
            stride = 2 if stage and not place else 1
            name = f"conv{stage + 2}_{place + 1}"
            n[name] = x = block(x, kind, 64 * 2**stage, stride, project=not place)
    return x


FIRST = {  # the published names of the first layers
    "conv": "7x7_s2",
    "bn": "7x7_s2/bn",
    "scale": "7x7_s2/bn/scale",
    "relu": "relu_7x7_s2",
}


def published(block: str, part: str) -> str:
    """Return the published name of a part of a block: of conv2_1, 3x3/conv.

    It is conv2_1_3x3 there, 3x3/scale is conv2_1_3x3/bn/scale, the sum is conv2_1.
    """
    path, _, kind = part.rpartition("/")
    name = f"{block}_{path}" if path else block
    if kind in ("conv", "sum"):
        return name
    if kind in ("bn", "relu"):
        return f"{name}/{kind}"
    return f"{name}/bn/scale" if kind == "scale" else f"{name}_{kind}"


@module(names=lambda block, part: f"{block}/{FIRST[part]}")
def first(x: Top) -> Top:
    """Return what comes out of the first convolution."""
    m = NetSpec()
    return relu(m, "", conv(m, "", x, 64, 7, pad=3, stride=2))


@module(names=published)
def block(x: Top, kind: Kind, width: int, stride: int, project: bool) -> Top:
    """Return `x` and three convolutions of it, with the weights of their channels."""
    m = NetSpec()
    inner = width if kind == "resnet" else 2 * width
    groups = {} if kind == "resnet" else dict(group=GROUPS)
    early, late = (stride, 1) if kind == "resnet" else (1, stride)
    y = relu(m, "1x1_reduce/", conv(m, "1x1_reduce/", x, inner, 1, stride=early))
    y = conv(m, "3x3/", y, inner, 3, pad=1, stride=late, **groups)
    y = conv(m, "1x1_increase/", relu(m, "3x3/", y), 4 * width, 1, stride=1)
    factors = weights(m, y, 4 * width)
    if project:
        x = conv(m, "1x1_proj/", x, 4 * width, 1, stride=stride)
    m.sum = L.Axpy(factors, y, x)
    return relu(m, "", m.sum)


def weights(m: NetSpec, x: Top, channels: int) -> Top:
    """Add the layers that weigh channels, between 0 and 1."""
    few = channels // REDUCTION
    m.global_pool = y = L.Pooling(x, pool="AVE", global_pooling=True)
    m["1x1_down/conv"] = y = L.Convolution(y, num_output=few, kernel_size=1)
    y = relu(m, "1x1_down/", y)
    m["1x1_up/conv"] = y = L.Convolution(y, num_output=channels, kernel_size=1)
    m.prob = L.Sigmoid(y, in_place=True)
    return m.prob


def conv(m: NetSpec, path: str, x: Top, width: int, kernel: int, **window: int) -> Top:
    """Add a convolution with BatchNorm and Scale in place."""
    window |= dict(num_output=width, kernel_size=kernel)
    m[f"{path}conv"] = x = L.Convolution(x, **window, bias_term=False)
    m[f"{path}bn"] = x = L.BatchNorm(x, in_place=True)
    m[f"{path}scale"] = x = L.Scale(x, bias_term=True, in_place=True)
    return x


def relu(m: NetSpec, path: str, x: Top) -> Top:
    """Add a ReLU in place."""
    m[f"{path}relu"] = x = L.ReLU(x, in_place=True)
    return x
