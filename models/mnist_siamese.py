"""A siamese net over pairs of digits, as published with Caffe (`examples/siamese`).

    python -m netspec.export models/mnist_siamese.py -o mnist_siamese.prototxt
    python -m netspec.export models/mnist_siamese.py --deploy -o deploy.prototxt

Hadsell et al., Dimensionality reduction by learning an invariant mapping (2006).
"""

from netspec import TEST, TRAIN, NetSpec, Top, defaults, shared
from netspec import layers as L

LEARN = [dict(lr_mult=1), dict(lr_mult=2)]  # weights, bias


def mnist_siamese(
    batch_size: int = 64,
    test_batch_size: int = 100,
    source: str = "examples/siamese/mnist_siamese_train_leveldb",
    test_source: str = "examples/siamese/mnist_siamese_test_leveldb",
    backend: str | None = None,
) -> NetSpec:
    """Return the net for training and testing: two towers with the same weights.

    A record is a pair of images as two channels; its label tells if they are similar.
    """
    n = NetSpec("mnist_siamese_train_test")
    for phase, path, size in (
        (TRAIN, source, batch_size),
        (TEST, test_source, test_batch_size),
    ):
        n.pair_data, n.sim = L.Data(
            source=path,
            batch_size=size,
            backend=backend,
            transform_param=dict(scale=1 / 256),
            include=phase,
            ntop=2,
        )
    n.data, n.data_p = L.Slice(
        n.pair_data, slice_dim=1, slice_point=1, ntop=2, name="slice_pair"
    )
    twin = shared(tower)
    with defaults(weight_filler="xavier", bias_filler="constant"):
        twin(n, n.data, "")
        twin(n, n.data_p, "_p")
    n.loss = L.ContrastiveLoss(n.feat, n.feat_p, n.sim, margin=1)
    return n


def deploy(batch_size: int = 10000) -> NetSpec:
    """Return one tower for use: images in, two features out."""
    n = NetSpec("mnist_siamese")
    n.data = L.Input(shape=[batch_size, 1, 28, 28])
    tower(n, n.data, "")
    return n


def tower(n: NetSpec, x: Top, suffix: str) -> None:
    """Add LeNet with two outputs, `feat`; `suffix` ends the names of its layers."""
    with defaults(param=LEARN):
        for name, width in (("1", 20), ("2", 50)):
            n[f"conv{name}{suffix}"] = x = L.Convolution(
                x, num_output=width, kernel_size=5, stride=1
            )
            x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
            n[f"pool{name}{suffix}"] = x
        n[f"ip1{suffix}"] = x = L.InnerProduct(x, num_output=500)
        n[f"relu1{suffix}"] = x = L.ReLU(x, in_place=True)
        n[f"ip2{suffix}"] = x = L.InnerProduct(x, num_output=10)
        n[f"feat{suffix}"] = L.InnerProduct(x, num_output=2)
