"""A deep autoencoder of digits, as published with Caffe (`examples/mnist`).

    python -m netspec.export models/mnist_autoencoder.py -o mnist_autoencoder.prototxt

Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks
(2006).
"""

from netspec import TEST, TRAIN, NetSpec, Top, defaults
from netspec import layers as L

WIDTHS = (1000, 500, 250, 30)  # from the first layer to the code
PIXELS = 28 * 28
LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=1, decay_mult=0)]
START = dict(weight_filler=dict(type="gaussian", std=1, sparse=15), bias_filler=0)


def mnist_autoencoder(
    batch_size: int = 100,
    widths: tuple[int, ...] = WIDTHS,
    source: str = "examples/mnist/mnist_train_lmdb",
    test_source: str = "examples/mnist/mnist_test_lmdb",
) -> NetSpec:
    """Return the net for training and for the stages test-on-train and test-on-test."""
    n = NetSpec("MNISTAutoencoder")
    rules = (
        (source, dict(phase=TRAIN)),
        (source, dict(phase=TEST, stage="test-on-train")),
        (test_source, dict(phase=TEST, stage="test-on-test")),
    )
    for path, rule in rules:
        n.data = L.Data(
            source=path,
            batch_size=batch_size,
            backend="LMDB",
            transform_param=dict(scale=0.0039215684),
            include=rule,
        )
    n.flatdata = L.Flatten(n.data)
    output = decode(n, encode(n, n.data, widths), widths)
    n.cross_entropy_loss = L.SigmoidCrossEntropyLoss(
        output, n.flatdata, name="loss", loss_weight=1
    )
    n.decode1neuron = L.Sigmoid(output)
    n.l2_error = L.EuclideanLoss(
        n.decode1neuron, n.flatdata, name="loss", loss_weight=0
    )
    return n


@defaults(L.InnerProduct, param=LEARN, **START)
def encode(n: NetSpec, x: Top, widths: tuple[int, ...]) -> Top:
    """Add layers from images to their code, which has no non-linearity."""
    for depth, width in enumerate(widths, start=1):
        n[f"encode{depth}"] = x = L.InnerProduct(x, num_output=width)
        if depth < len(widths):
            n[f"encode{depth}neuron"] = x = L.Sigmoid(x)
    return x


@defaults(L.InnerProduct, param=LEARN, **START)
def decode(n: NetSpec, x: Top, widths: tuple[int, ...], *, tied: bool = False) -> Top:
    """Add layers from the code back to images, before the last non-linearity.

    tied: with the weights of the encoder, transposed.
    """
    outputs = (PIXELS, *widths[:-1])
    for depth in range(len(widths), 0, -1):
        tie = dict(transpose=True, share=n[f"encode{depth}"]) if tied else {}
        x = L.InnerProduct(x, num_output=outputs[depth - 1], **tie)
        n[f"decode{depth}"] = x
        if depth > 1:
            n[f"decode{depth}neuron"] = x = L.Sigmoid(x)
    return x
