"""SE-ResNet and SE-ResNeXt of 50 to 152 layers, in their authors' form for Caffe.

    python -m netspec.export models/senet.py -o se_resnet50_train_val.prototxt
    python -m netspec.export models/senet.py --set depth=101 --deploy
    python -m netspec.export models/senet.py --set kind=resnext --deploy

Hu et al., Squeeze-and-excitation networks, arXiv:1709.01507. Behind every block of a
residual net two small layers weigh its channels by means over the image, and Axpy, a
layer of the authors' fork, multiplies by the weights and adds what goes past the block.
"""

from typing import Any, Literal

from netspec import TEST, TRAIN, NetSpec, Top
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

    def conv(name: str, x: Top, width: int, kernel: int, **more: Any) -> Top:
        """Add a convolution with BatchNorm and Scale in place."""
        more |= dict(kernel_size=kernel, bias_term=False, **options)
        n[name] = x = L.Convolution(x, num_output=width, **more)
        n[f"{name}/bn"] = x = L.BatchNorm(x, **statistics, in_place=True)
        n[f"{name}/bn/scale"] = x = L.Scale(x, bias_term=True, in_place=True)
        return x

    def relu(name: str, x: Top) -> Top:
        """Add a ReLU in place."""
        n[name] = x = L.ReLU(x, in_place=True)
        return x

    def weights(name: str, x: Top, channels: int) -> Top:
        """Add the layers that weigh channels, between 0 and 1."""
        n[f"{name}_global_pool"] = y = L.Pooling(x, pool="AVE", global_pooling=True)
        few = channels // REDUCTION
        n[f"{name}_1x1_down"] = y = L.Convolution(
            y, num_output=few, kernel_size=1, **options
        )
        y = relu(f"{name}_1x1_down/relu", y)
        n[f"{name}_1x1_up"] = y = L.Convolution(
            y, num_output=channels, kernel_size=1, **options
        )
        n[f"{name}_prob"] = y = L.Sigmoid(y, in_place=True)
        return y

    def block(name: str, x: Top, width: int, stride: int, project: bool) -> Top:
        """Add three convolutions and the weights of their channels."""
        inner = width if kind == "resnet" else 2 * width
        groups = {} if kind == "resnet" else dict(group=GROUPS)
        early, late = (stride, 1) if kind == "resnet" else (1, stride)
        y = conv(f"{name}_1x1_reduce", x, inner, 1, stride=early)
        y = relu(f"{name}_1x1_reduce/relu", y)
        y = conv(f"{name}_3x3", y, inner, 3, pad=1, stride=late, **groups)
        y = relu(f"{name}_3x3/relu", y)
        y = conv(f"{name}_1x1_increase", y, 4 * width, 1, stride=1)
        factors = weights(name, y, 4 * width)
        if project:
            x = conv(f"{name}_1x1_proj", x, 4 * width, 1, stride=stride)
        n[name] = y = L.Axpy(factors, y, x)
        return relu(f"{name}/relu", y)

    x = conv("conv1/7x7_s2", n.data, 64, 7, pad=3, stride=2)
    x = relu("conv1/relu_7x7_s2", x)
    n["pool1/3x3_s2"] = x = L.Pooling(x, pool="MAX", kernel_size=3, stride=2)
    for stage, count in enumerate(BLOCKS[depth]):
        for place in range(count):
            stride = 2 if stage and not place else 1
            name = f"conv{stage + 2}_{place + 1}"
            x = block(name, x, 64 * 2**stage, stride, project=not place)
    n["pool5/7x7_s1"] = x = L.Pooling(x, pool="AVE", global_pooling=True)
    n.classifier = L.InnerProduct(x, num_output=num_classes, **options)
