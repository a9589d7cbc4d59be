"""LRCN for recognizing actions in videos, as published by its authors.

    python -m netspec.export models/lrcn.py -o lrcn_train_test.prototxt
    python -m netspec.export models/lrcn.py --set kind=flow -o lrcn_train_test.prototxt
    python -m netspec.export models/lrcn.py --deploy -o lrcn.prototxt

Donahue et al., Long-term recurrent convolutional networks for visual recognition and
description, arXiv:1411.4389. A net like CaffeNet looks at every frame, an LSTM at what
it saw. Frames come from the authors' Python layers (`sequence_input_layer`, which must
be importable), step by step: the first frames of all clips, then the second ones. With
--deploy: frames and their indicators in, probabilities for every frame out.
"""

from typing import Any, Literal

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, bias
FAST = [dict(lr_mult=10, decay_mult=1), dict(lr_mult=20, decay_mult=0)]
POOL = dict(pool="MAX", kernel_size=3, stride=2)
# Width and window of every convolution.
CONVOLUTIONS = (
    (96, dict(kernel_size=7, stride=2)),
    (384, dict(kernel_size=5, stride=2, group=2)),
    (512, dict(kernel_size=3, pad=1)),
    (512, dict(kernel_size=3, pad=1, group=2)),
    (384, dict(kernel_size=3, pad=1, group=2)),
)


def lrcn(
    kind: Literal["RGB", "flow"] = "RGB",
    steps: int = 16,
    clips: int = 24,
    test_clips: int = 3,
    num_classes: int = 101,
) -> NetSpec:
    """Return the net for training, and for testing at stage "test-on-test".

    kind: what the frames are. steps: frames of a clip. clips: how many at a time.
    """
    n = NetSpec("lstm_joints")
    testing = dict(phase=TEST, stage="test-on-test")
    for rule, name in ((TRAIN, "Train"), (testing, "Test")):
        n.data, n.label, n.clip_markers = L.Python(
            module="sequence_input_layer",
            layer=f"videoRead{name}_{kind}",
            include=rule,
            ntop=3,
        )
    x = frames(n, param=LEARN)
    x = n.drop6 = L.Dropout(x, dropout_ratio=0.9, in_place=True)
    batches = ((TRAIN, [steps, clips]), (testing, [steps, test_clips]))
    for rule, shape in batches:
        unfold(n, "data", x, "fc6-reshape", [*shape, 4096], rule)
    for rule, shape in batches:
        unfold(n, "label", n.label, "reshape-label", shape, rule)
    for rule, shape in batches:
        unfold(n, "cm", n.clip_markers, "reshape-cm", shape, rule)
    uniform = dict(type="uniform", min=-0.01, max=0.01)
    n.lstm1 = remember(n, weight_filler=uniform)
    n["lstm1-drop"] = L.Dropout(n.lstm1, dropout_ratio=0.5)
    n["fc8-final"] = scores = score(n["lstm1-drop"], num_classes)
    n.loss = L.SoftmaxWithLoss(scores, n["reshape-label"], softmax_param=dict(axis=2))
    n.accuracy = L.Accuracy(scores, n["reshape-label"], axis=2)
    return n


def deploy(steps: int = 16, clips: int = 10, num_classes: int = 101) -> NetSpec:
    """Return the net for use."""
    n = NetSpec("Hyb2Net-LSTM")
    images, markers = [steps * clips, 3, 227, 227], [steps * clips, 1, 1, 1]
    n.data, n.clip_markers = L.Input(
        shape=[dict(dim=images), dict(dim=markers)], name="input", ntop=2
    )
    unfold(n, "data", frames(n), "fc6-reshape", [steps, clips, 4096], TEST)
    unfold(n, "cm", n.clip_markers, "reshape-cm", [steps, clips], TEST)
    n.lstm1 = remember(n)
    n["fc8-final"] = score(n.lstm1, num_classes)
    n.probs = L.Softmax(n["fc8-final"], axis=2)
    return n


def frames(n: NetSpec, **options: Any) -> Top:
    """Add the layers from `n.data` to the features of every frame.

    options: of the convolutions.
    """
    x = n.data
    start = dict(weight_filler=dict(type="gaussian", std=0.01), bias_filler=0.1)
    for number, (width, window) in enumerate(CONVOLUTIONS, start=1):
        x = L.Convolution(x, num_output=width, **window, **start, **options)
        n[f"conv{number}"] = x
        n[f"relu{number}"] = x = L.ReLU(x, in_place=True)
        if number in (1, 2, 5):
            n[f"pool{number}"] = x = L.Pooling(x, **POOL)
        if number <= 2:
            x = L.LRN(x, local_size=5, alpha=0.0001, beta=0.75)
            n[f"norm{number}"] = x
    n.fc6 = L.InnerProduct(x, num_output=4096, param=LEARN, **start)
    n.relu6 = L.ReLU(n.fc6, in_place=True)
    return n.relu6


def unfold(
    n: NetSpec, name: str, x: Top, top: str, shape: list[int], rule: Any
) -> None:
    """Add a layer that gives clips an axis of their own, (steps, clips, ...)."""
    n[top] = L.Reshape(x, shape=shape, name=f"reshape-{name}", include=rule)


def remember(n: NetSpec, **options: Any) -> Top:
    """Return what an LSTM makes of the features, (steps, clips, 256)."""
    x, cont = n["fc6-reshape"], n["reshape-cm"]
    return L.LSTM(x, cont, num_output=256, bias_filler=0, **options)


def score(x: Top, num_classes: int) -> Top:
    """Return the scores of every frame."""
    start = dict(weight_filler=dict(type="gaussian", std=0.01), bias_filler=0)
    return L.InnerProduct(x, num_output=num_classes, axis=2, param=FAST, **start)
