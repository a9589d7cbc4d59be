"""A deep autoencoder of digits whose decoder has its encoder's weights, transposed.

    python -m netspec.export models/mnist_autoencoder_tied.py -o tied.prototxt
    python -m netspec.export models/mnist_autoencoder_tied.py --deploy

The net of `mnist_autoencoder.py` with one weight matrix for each depth: the two layers
of a depth share it, that of the decoder with `transpose: true`, and the
gradients of both uses add up. It has 1,420,814 parameters in the place of 2,837,314.
With --deploy: digits in, what is decoded from their codes out.
"""

from mnist_autoencoder import WIDTHS, decode, encode

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L


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
    output = decode(n, encode(n, n.data, widths), widths, tied=True)
    n.cross_entropy_loss = L.SigmoidCrossEntropyLoss(output, n.flatdata)
    n.pixels = L.Sigmoid(output)
    n.l2_error = L.EuclideanLoss(n.pixels, n.flatdata, loss_weight=0)
    return n


def deploy(batch_size: int = 1, widths: tuple[int, ...] = WIDTHS) -> NetSpec:
    """Return the net for use: digits in, pixels from 0 to 1 out."""
    n = NetSpec("MNISTAutoencoderTied")
    n.data = L.Input(shape=[batch_size, 1, 28, 28])
    code = encode(n, n.data, widths)
    n.pixels = L.Sigmoid(decode(n, code, widths, tied=True))
    return n
