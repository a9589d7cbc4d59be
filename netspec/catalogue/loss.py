"""Losses and measures."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

_LABELS = "scores (N, C, ...), label (N, ...) -> ()"

LOSS = (
    LayerType(
        name="Accuracy",
        param="accuracy_param",
        bottoms=(2, 2),
        bottom_names=("scores", "label"),
        tops=(1, 2),
        summary="Measure how often the true class is among the best.",
        formula="y = part of the items whose class is among the top_k scores",
        shapes="scores (N, C, ...), label (N, ...) -> y (); a second top (C,) has the "
        "accuracy of every class",
        notes="A tie counts against the true class. Has no gradient.",
    ),
    LayerType(
        name="CenterLoss",
        param="center_loss_param",
        bottoms=(2, 2),
        bottom_names=("x", "label"),
        auto_top=True,
        required=("num_output",),
        summary="Pull features towards a centre of their class.",
        formula="y = sum |x - c[label]|^2 / (2 N)",
        shapes="x (N, C, ...), label (N,) -> (); centres (num_output, C ...)",
        notes="The gradient of the centres is no derivative: they move to the mean of "
        "their class.",
        source="fork: caffe-face",
    ),
    LayerType(
        name="ContrastiveLoss",
        param="contrastive_loss_param",
        bottoms=(3, 3),
        bottom_names=("a", "b", "similar"),
        auto_top=True,
        summary="Pull similar pairs together and push others a margin apart.",
        formula="y = sum_n (s d^2 + (1 - s) max(margin - d, 0)^2) / (2 N), d = |a - b|",
        shapes="a, b (N, C), similar (N,) -> ()",
        notes="legacy_version takes max(margin - d^2, 0).",
        source="Hadsell et al., Dimensionality reduction (2006)",
    ),
    LayerType(
        name="EuclideanLoss",
        bottoms=(2, 2),
        bottom_names=("a", "b"),
        auto_top=True,
        summary="Measure half the mean squared distance of two batches.",
        formula="y = sum (a - b)^2 / (2 N)",
        shapes="a, b (N, ...) -> ()",
        notes="Divided by the batch size, not by the number of values. Both inputs "
        "have a gradient.",
    ),
    LayerType(
        name="FocalLoss",
        param="focal_loss_param",
        extra_params=("loss_param", "softmax_param"),
        bottoms=(2, 2),
        bottom_names=("scores", "label"),
        tops=(1, 2),
        auto_top=True,
        summary="Classify, counting less what is right already.",
        formula="y = -sum alpha (1 - p)^gamma log(p) / divisor, p = softmax(scores) of "
        "the label; with type ONEADDP (alpha + p)^gamma",
        shapes=_LABELS,
        notes="alpha is 0.25 by default, 1 with ONEADDP (caffe-windows). A second top "
        "holds the probabilities.",
        source="forks: R-FCN of soeaver, caffe-windows",
    ),
    LayerType(
        name="HingeLoss",
        param="hinge_loss_param",
        bottoms=(2, 2),
        bottom_names=("scores", "label"),
        auto_top=True,
        summary="Ask for a margin of 1 between right and wrong, one class against all.",
        formula="y = sum max(0, 1 - t scores)^p / N, t = 1 for the class, -1 elsewhere",
        shapes="scores (N, C), label (N,) -> ()",
    ),
    LayerType(
        name="InfogainLoss",
        param="infogain_loss_param",
        extra_params=("loss_param",),
        bottoms=(2, 3),
        bottom_names=("scores", "label", "infogain"),
        tops=(1, 2),
        auto_top=True,
        summary="Weigh softmax cross entropy by a cost for every pair of classes.",
        formula="y = -sum_n sum_k H[label_n, k] log p[n, k] / divisor",
        shapes="scores (N, C, ...), label (N, ...), infogain (1, 1, C, C) -> (); a "
        "second top has the probabilities",
        notes="H is the third input or the file `source`.",
    ),
    LayerType(
        name="L1Loss",
        bottoms=(2, 2),
        bottom_names=("a", "b"),
        auto_top=True,
        summary="Measure the mean absolute distance of two batches.",
        formula="y = sum |a - b| / N",
        shapes="a, b (N, ...) -> ()",
        source="fork: NVCaffe",
    ),
    LayerType(
        name="MultinomialLogisticLoss",
        extra_params=("loss_param",),
        bottoms=(2, 2),
        bottom_names=("probabilities", "label"),
        auto_top=True,
        summary="Measure the negative log of the probability of the true class.",
        formula="y = -sum_n log p[n, label_n] / N",
        shapes="probabilities (N, C), label (N,) -> ()",
        notes="Prefer SoftmaxWithLoss, whose gradient is exact for small "
        "probabilities.",
    ),
    LayerType(
        name="SigmoidCrossEntropyLoss",
        extra_params=("loss_param",),
        bottoms=(2, 2),
        bottom_names=("scores", "target"),
        auto_top=True,
        summary="Measure the cross entropy of independent yes-or-no predictions.",
        formula="y = -sum (t log p + (1 - t) log(1 - p)) / divisor, p = "
        "sigmoid(scores)",
        shapes="scores, target (N, ...) -> ()",
        notes="The divisor is the batch size by default, unlike in SoftmaxWithLoss.",
    ),
    LayerType(
        name="Softmax",
        param="softmax_param",
        summary="Turn scores into probabilities.",
        formula="y = exp(x) / sum_c exp(x)",
        shapes="x (N, C, ...) -> y (same shape)",
    ),
    LayerType(
        name="SoftmaxWithLoss",
        param="softmax_param",
        extra_params=("loss_param",),
        bottoms=(2, 2),
        bottom_names=("scores", "label"),
        tops=(1, 2),
        auto_top=True,
        summary="Measure the cross entropy of softmax and the true class.",
        formula="y = -sum_n log softmax(scores)[n, label_n] / divisor",
        shapes=_LABELS,
        notes="The divisor is the number of labels that count (normalization VALID). "
        "Of forks: weights of classes and smooth labels, see loss_param.",
    ),
)
