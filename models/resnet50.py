"""ResNet-50, as published by its authors.

    python -m netspec.export models/resnet50.py -o resnet50_train_val.prototxt
    python -m netspec.export models/resnet50.py --deploy -o resnet50.prototxt

He et al., Deep residual learning for image recognition, arXiv:1512.03385. The authors
published the net for use; the one for training adds data, fillers and a loss, and lets
the phase choose the statistics.
"""

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L

BLOCKS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}  # of every stage


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
    trunk(n, convolution=dict(weight_filler="msra"), normalization={})
    n.fc1000 = L.InnerProduct(n.pool5, num_output=num_classes, weight_filler="msra")
    n.accuracy = L.Accuracy(n.fc1000, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.fc1000, n.label)
    return n


def deploy(batch_size: int = 1, num_classes: int = 1000) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("ResNet-50")
    n.data = L.Input(shape=[batch_size, 3, 224, 224], name="input")
    trunk(n, convolution={}, normalization=dict(use_global_stats=True))
    n.fc1000 = L.InnerProduct(n.pool5, num_output=num_classes)
    n.prob = L.Softmax(n.fc1000)
    return n


def trunk(n, convolution, normalization):
    """Add the layers from `n.data` to the pooled features, `n.pool5`.

    convolution, normalization: options of all Convolution and BatchNorm layers.
    """

    def conv_bn(name, x, width, size, **window):
        """Add a convolution, its normalisation and its scale, the last two in place."""
        stem = name.removeprefix("res") if name != "conv1" else "_conv1"
        n[name] = L.Convolution(
            x, num_output=width, kernel_size=size, **window, **convolution
        )
        n["bn" + stem] = L.BatchNorm(n[name], **normalization, in_place=True)
        n["scale" + stem] = L.Scale(n["bn" + stem], bias_term=True, in_place=True)
        return n["scale" + stem]

    def relu(name, x):
        n[name + "_relu"] = L.ReLU(x, in_place=True)
        return n[name + "_relu"]

    def bottleneck(name, x, width, stride, project):
        """Add three convolutions and the sum with what goes around them."""
        entry = dict(pad=0, stride=stride, bias_term=False)
        inner = dict(stride=1, bias_term=False)
        around = x
        if project:
            around = conv_bn(f"{name}_branch1", x, 4 * width, 1, **entry)
        x = relu(f"{name}_branch2a", conv_bn(f"{name}_branch2a", x, width, 1, **entry))
        x = conv_bn(f"{name}_branch2b", x, width, 3, pad=1, **inner)
        x = relu(f"{name}_branch2b", x)
        x = conv_bn(f"{name}_branch2c", x, 4 * width, 1, pad=0, **inner)
        n[name] = L.Eltwise(around, x)
        return relu(name, n[name])

    x = conv_bn("conv1", n.data, 64, 7, pad=3, stride=2)
    x = n.pool1 = L.Pooling(relu("conv1", x), pool="MAX", kernel_size=3, stride=2)
    for stage, letters in BLOCKS.items():
        for letter in letters:
            first = letter == "a"
            stride = 2 if first and stage > 2 else 1
            width = 32 * 2 ** (stage - 1)
            x = bottleneck(f"res{stage}{letter}", x, width, stride, project=first)
    n.pool5 = L.Pooling(x, pool="AVE", kernel_size=7, stride=1)
