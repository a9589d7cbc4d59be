"""LeNet for handwritten digits, as published with Caffe (`examples/mnist`).

    python -m netspec.export models/lenet.py -o lenet_train_test.prototxt
    python -m netspec.export models/lenet.py --deploy -o lenet.prototxt

The images are 28 by 28 pixels of one channel, from 0 to 255.
"""

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L

LEARN = [dict(lr_mult=1), dict(lr_mult=2)]  # weights, bias
XAVIER = dict(param=LEARN, weight_filler="xavier", bias_filler="constant")


def lenet(
    batch_size: int = 64,
    test_batch_size: int = 100,
    num_classes: int = 10,
    source: str = "examples/mnist/mnist_train_lmdb",
    test_source: str = "examples/mnist/mnist_test_lmdb",
    backend: str = "LMDB",
) -> NetSpec:
    """Return the net for training and testing on databases of digits."""
    n = NetSpec("LeNet")
    for phase, path, size in (
        (TRAIN, source, batch_size),
        (TEST, test_source, test_batch_size),
    ):
        n.data, n.label = L.Data(
            name="mnist",
            source=path,
            batch_size=size,
            backend=backend,
            transform_param=dict(scale=1 / 256),
            include=phase,
            ntop=2,
        )
    classify(n, num_classes)
    n.accuracy = L.Accuracy(n.ip2, n.label, include=TEST)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n


def deploy(batch_size: int = 64, num_classes: int = 10) -> NetSpec:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("LeNet")
    n.data = L.Input(shape=[batch_size, 1, 28, 28])
    classify(n, num_classes)
    n.prob = L.Softmax(n.ip2)
    return n


def classify(n: NetSpec, num_classes: int) -> None:
    """Add the layers from `n.data` to the scores, `n.ip2`."""
    n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5, stride=1, **XAVIER)
    n.pool1 = L.Pooling(n.conv1, pool="MAX", kernel_size=2, stride=2)
    n.conv2 = L.Convolution(n.pool1, num_output=50, kernel_size=5, stride=1, **XAVIER)
    n.pool2 = L.Pooling(n.conv2, pool="MAX", kernel_size=2, stride=2)
    n.ip1 = L.InnerProduct(n.pool2, num_output=500, **XAVIER)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=num_classes, **XAVIER)
