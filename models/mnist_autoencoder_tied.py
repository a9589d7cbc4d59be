"""A deep autoencoder of digits whose decoder has its encoder's weights, transposed.

    python -m netspec.export models/mnist_autoencoder_tied.py -o tied.prototxt
    python -m netspec.export models/mnist_autoencoder_tied.py --deploy

The net of `mnist_autoencoder.py` with one weight matrix for each depth: the layers that
share it have one `param { name }`, those of the decoder `transpose: true`, and the
gradients of both uses add up. It has 1,420,814 parameters in the place of 2,837,314.
With --deploy: digits in, their codes and what is decoded from them out.
"""

from mnist_autoencoder import decode, encode, mnist_autoencoder

from netspec import NetSpec
from netspec import layers as L

WIDTHS = (1000, 500, 250, 30)


def mnist_autoencoder_tied(
    batch_size: int = 100,
    widths: tuple[int, ...] = WIDTHS,
    source: str = "examples/mnist/mnist_train_lmdb",
    test_source: str = "examples/mnist/mnist_test_lmdb",
) -> NetSpec:
    """Return the net for training and testing, with the stages of the untied one."""
    return mnist_autoencoder(batch_size, True, widths, source, test_source)


def deploy(batch_size: int = 1, widths: tuple[int, ...] = WIDTHS) -> NetSpec:
    """Return the net for use, whose last outputs are pixels from 0 to 1."""
    n = NetSpec("MNISTAutoencoder")
    n.data = L.Input(shape=[batch_size, 1, 28, 28])
    code = encode(n, n.data, widths, tied=True)
    n.decode1neuron = L.Sigmoid(decode(n, code, widths, tied=True))
    return n
