"""A language model of captions, as published by its authors.

    python -m netspec.export models/lstm_language_model.py -o lstm_lm.prototxt
    python -m netspec.export models/lstm_language_model.py --deploy -o deploy.prototxt

Donahue et al., arXiv:1411.4389: a word vector, an LSTM, and scores of the next word.
The net was offered to Caffe with the LSTM layer (`examples/coco_caption`). Data are
HDF5 files with a row for each step and a column for each stream; the stages
"embed-drop" and "lstm-drop" turn the dropouts on. With --deploy: a word in,
probabilities of the next one out.
"""

from netspec import TEST, TRAIN, NetSpec
from netspec import layers as L

UNIFORM = dict(weight_filler=dict(type="uniform", min=-0.08, max=0.08))
FOLDER = "./examples/coco_caption/h5_data/buffer_100"


def lstm_language_model(
    batch_size: int = 20,
    words: int = 8801,
    width: int = 1000,
    source: str = f"{FOLDER}/train_unaligned_batches/hdf5_chunk_list.txt",
    test_source: str = f"{FOLDER}/val_unaligned_batches/hdf5_chunk_list.txt",
) -> NetSpec:
    """Return the net for training, and for testing at stages "test-on-train" and -val.

    batch_size: the number of steps that are learned from at a time.
    """
    n = NetSpec("lstm_language_model")
    for path, rule in (
        (source, dict(phase=TRAIN)),
        (source, dict(phase=TEST, stage="test-on-train")),
        (test_source, dict(phase=TEST, stage="test-on-val")),
    ):
        n.cont_sentence, n.input_sentence, n.target_sentence = L.HDF5Data(
            source=path, batch_size=batch_size, include=rule, name="data", ntop=3
        )
    predict(n, words, width)
    counting = dict(ignore_label=-1)
    n.cross_entropy_loss = L.SoftmaxWithLoss(
        n.predict,
        n.target_sentence,
        loss_weight=20,
        softmax_param=dict(axis=2),
        loss_param=counting,
    )
    n.accuracy = L.Accuracy(
        n.predict, n.target_sentence, axis=2, **counting, include=TEST
    )
    return n


def deploy(
    batch_size: int = 1, streams: int = 1, words: int = 8801, width: int = 1000
) -> NetSpec:
    """Return the net for use; batch_size is the number of steps at a time."""
    n = NetSpec("lstm_language_model")
    step = dict(dim=[batch_size, streams])
    n.cont_sentence, n.input_sentence = L.Input(
        shape=[step, step], name="input", ntop=2
    )
    predict(n, words, width)
    n.probs = L.Softmax(n.predict, axis=2)
    return n


def predict(n: NetSpec, words: int, width: int) -> None:
    """Add the layers from words to the scores of the next ones, `n.predict`."""
    n.embedded_input_sentence = L.Embed(
        n.input_sentence,
        name="embedding",
        input_dim=words,
        num_output=width,
        bias_term=False,
        **UNIFORM,
        param=[dict(lr_mult=1)],
    )
    x = n.embedded_input_sentence
    n["embed-drop"] = x = drop(x, "embed-drop")
    n.lstm1 = L.LSTM(x, n.cont_sentence, num_output=width, **UNIFORM, bias_filler=0)
    n["lstm-drop"] = x = drop(n.lstm1, "lstm-drop")
    learn = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
    n.predict = L.InnerProduct(
        x, num_output=words, axis=2, **UNIFORM, bias_filler=0, param=learn
    )


def drop(x, stage):
    """Return `x` without half of its values, at the stage of this name."""
    return L.Dropout(x, dropout_ratio=0.5, include=dict(stage=stage), in_place=True)
