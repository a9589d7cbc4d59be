"""An LSTM that names every element of a sequence.

    python -m netspec.export models/lstm_sequence.py --set symbols=100 -o lstm.prototxt
    python -m netspec.export models/lstm_sequence.py --deploy -o lstm_deploy.prototxt

Donahue et al., Long-term recurrent convolutional networks, arXiv:1411.4389. Data are
HDF5 files of three arrays with a row for each step and a column for each stream:
`input`, the symbols; `target`, what they are to be named, -1 where that does not count;
`cont`, 0 where a sequence starts and 1 where one goes on. Sequences may be longer than
a batch: the layer remembers. With --deploy: symbols in, step by step, probabilities
out.
"""

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L

UNIFORM = dict(weight_filler=dict(type="uniform", min=-0.08, max=0.08))


def lstm_sequence(
    batch_size: int = 20,
    symbols: int = 32,
    width: int = 64,
    source: str = "sequences_train.txt",
    test_source: str = "sequences_test.txt",
) -> NetSpec:
    """Return the net for training and testing.

    batch_size: the number of steps that are learned from at a time.
    """
    n = NetSpec("LSTMSequence")
    read(n, batch_size, source, test_source)
    embed(n, symbols, width)
    n.h = L.LSTM(n.embedded, n.cont, num_output=width, **UNIFORM, bias_filler=0)
    score(n, symbols)
    judge(n)
    return n


def deploy(
    batch_size: int = 1, streams: int = 1, symbols: int = 32, width: int = 64
) -> NetSpec:
    """Return the net for use; batch_size is the number of steps at a time."""
    n = NetSpec("LSTMSequence")
    steps = [batch_size, streams]
    n.cont, n.input = L.Input(shape=[dict(dim=steps), dict(dim=steps)], ntop=2)
    embed(n, symbols, width)
    n.h = L.LSTM(n.embedded, n.cont, num_output=width, **UNIFORM, bias_filler=0)
    score(n, symbols)
    n.prob = L.Softmax(n.scores, axis=2)
    return n


def read(n: NetSpec, batch_size: int, source: str, test_source: str) -> None:
    """Add sequences, their indicators and their targets."""
    for phase, path in ((TRAIN, source), (TEST, test_source)):
        n.cont, n.input, n.target = L.HDF5Data(
            source=path, batch_size=batch_size, include=phase, ntop=3
        )


def embed(n: NetSpec, symbols: int, width: int) -> None:
    """Add a learned vector for each symbol, `n.embedded` (T, N, width)."""
    n.embedded = L.Embed(
        n.input, input_dim=symbols, num_output=width, bias_term=False, **UNIFORM
    )


def score(n: NetSpec, symbols: int) -> None:
    """Add the scores of every step, `n.scores` (T, N, symbols), over states `n.h`."""
    n.scores = L.InnerProduct(n.h, num_output=symbols, axis=2, **UNIFORM)


def judge(n: NetSpec) -> None:
    """Add the loss and the accuracy over all steps that count."""
    counting = dict(ignore_label=-1)
    n.loss = L.SoftmaxWithLoss(
        n.scores, n.target, softmax_param=dict(axis=2), loss_param=counting
    )
    n.accuracy = L.Accuracy(n.scores, n.target, axis=2, **counting, include=TEST)
