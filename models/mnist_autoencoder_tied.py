"""A deep autoencoder of digits whose decoder has its encoder's weights, transposed.

    python -m netspec.export models/mnist_autoencoder_tied.py -o tied.prototxt
    python -m netspec.export models/mnist_autoencoder_tied.py --deploy

The net of `mnist_autoencoder.py` with one weight matrix for each depth: the two layers
of a depth have one `param { name }`, that of the decoder `transpose: true`, and the
gradients of both uses add up. It has 1,420,814 parameters in the place of 2,837,314.
With --deploy: digits in, what is decoded from their codes out.
"""

from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

WIDTHS = (1000, 500, 250, 30)  # from the first layer to the code
PIXELS = 28 * 28
START = dict(weight_filler=dict(type="gaussian", std=1, sparse=15), bias_filler=0)


def mnist_autoencoder_tied(
    batch_size: int = 100,
    widths: tuple[int, ...] = WIDTHS,
    source: str = "examples/mnist/mnist_train_lmdb",
    test_source: str = "examples/mnist/mnist_test_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec("MNISTAutoencoderTied")
    for phase, path in ((TRAIN, source), (TEST, test_source)):
        reading = dict(source=path, batch_size=batch_size, backend="LMDB")
        n.data = L.Data(**reading, transform_param=dict(scale=1 / 255), include=phase)
    n.flatdata = L.Flatten(n.data)
    output = rebuild(n, widths)
    n.cross_entropy_loss = L.SigmoidCrossEntropyLoss(output, n.flatdata)
    n.pixels = L.Sigmoid(output)
    n.l2_error = L.EuclideanLoss(n.pixels, n.flatdata, loss_weight=0)
    return n


def deploy(batch_size: int = 1, widths: tuple[int, ...] = WIDTHS) -> NetSpec:
    """Return the net for use: digits in, pixels from 0 to 1 out."""
    n = NetSpec("MNISTAutoencoderTied")
    n.data = L.Input(shape=[batch_size, 1, 28, 28])
    n.pixels = L.Sigmoid(rebuild(n, widths))
    return n


def rebuild(n: NetSpec, widths: tuple[int, ...]) -> Top:
    """Add layers from `n.data` to its code and back, before the last non-linearity."""
    x, depths = n.data, range(1, len(widths) + 1)
    for depth, width in zip(depths, widths, strict=True):
        n[f"encode{depth}"] = x = dense(x, width, depth)
        if depth < len(widths):  # the code itself has no non-linearity
            n[f"encode{depth}neuron"] = x = L.Sigmoid(x)
    for depth, width in zip(depths[::-1], (*widths[-2::-1], PIXELS), strict=True):
        n[f"decode{depth}"] = x = dense(x, width, depth, transpose=True)
        if depth > 1:
            n[f"decode{depth}neuron"] = x = L.Sigmoid(x)
    return x


def dense(x: Top, width: int, depth: int, **options: Any) -> Top:
    """Return a layer with the weights of its depth and a bias of its own."""
    param = [dict(name=f"weights{depth}", lr_mult=1, decay_mult=1)]
    param += [dict(lr_mult=1, decay_mult=0)]
    return L.InnerProduct(x, num_output=width, param=param, **START, **options)
