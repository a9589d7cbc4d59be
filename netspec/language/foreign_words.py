"""What Keras and PyTorch call what has another name in this format."""

from __future__ import annotations

from collections.abc import Collection

_FIELDS = {
    "filters": ("num_output",),
    "units": ("num_output",),
    "out_channels": ("num_output",),
    "out_features": ("num_output",),
    "output_dim": ("num_output",),
    "num_outputs": ("num_output",),
    "n_out": ("num_output",),
    "pool_size": ("kernel_size",),
    "ksize": ("kernel_size",),
    "kernel": ("kernel_size",),
    "strides": ("stride",),
    "padding": ("pad",),
    "dilation_rate": ("dilation",),
    "groups": ("group",),
    "use_bias": ("bias_term",),
    "bias": ("bias_term",),
    "kernel_initializer": ("weight_filler",),
    "weight_init": ("weight_filler",),
    "bias_initializer": ("bias_filler",),
    "rate": ("dropout_ratio",),
    "p": ("dropout_ratio",),
    "drop_prob": ("dropout_ratio",),
    "dropout": ("dropout_ratio",),
    "alpha": ("negative_slope", "scale"),
    "epsilon": ("eps",),
    "momentum": ("moving_average_fraction",),
    "num_embeddings": ("input_dim",),
    "dim": ("axis", "shape"),
    "target_shape": ("shape",),
    "size": ("shape", "local_size"),
    "ndim": ("axis",),
    "inplace": ("in_place",),
}
# Words for what is no field here.
_LAYERS = {
    "activation": "L.ReLU(...)",
    "kernel_regularizer": "weight_decay of the solver, or decay_mult in param",
    "trainable": "param=[dict(lr_mult=0)]",
    "input_shape": "L.Input(shape=...)",
    "input_dim": "L.Input(shape=...)",
    "in_channels": "nothing, as the bottom tells it",
    "in_features": "nothing, as the bottom tells it",
}
_TYPES = {
    "dense": "L.InnerProduct(x, num_output=...)",
    "linear": "L.InnerProduct(x, num_output=...)",
    "fullyconnected": "L.InnerProduct(x, num_output=...)",
    "fc": "L.InnerProduct(x, num_output=...)",
    "conv": "L.Convolution(x, num_output=..., kernel_size=...)",
    "conv1d": "L.Convolution(x, num_output=..., kernel_size=...)",
    "conv2d": "L.Convolution(x, num_output=..., kernel_size=...)",
    "conv3d": "L.Convolution(x, num_output=..., kernel_size=...)",
    "separableconv2d": "L.Convolution(..., group=...) and one with kernel_size=1",
    "convtranspose2d": "L.Deconvolution(x, num_output=..., kernel_size=...)",
    "conv2dtranspose": "L.Deconvolution(x, num_output=..., kernel_size=...)",
    "maxpool": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "maxpool2d": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "maxpooling": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "maxpooling2d": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "avgpool": 'L.Pooling(x, pool="AVE", kernel_size=..., stride=...)',
    "avgpool2d": 'L.Pooling(x, pool="AVE", kernel_size=..., stride=...)',
    "averagepooling2d": 'L.Pooling(x, pool="AVE", kernel_size=..., stride=...)',
    "globalaveragepooling2d": 'L.Pooling(x, pool="AVE", global_pooling=True)',
    "adaptiveavgpool2d": 'L.Pooling(x, pool="AVE", global_pooling=True)',
    "globalmaxpooling2d": 'L.Pooling(x, pool="MAX", global_pooling=True)',
    "batchnormalization": "L.BatchNorm(x), and L.Scale(..., bias_term=True) after it",
    "batchnorm1d": "L.BatchNorm(x), and L.Scale(..., bias_term=True) after it",
    "batchnorm2d": "L.BatchNorm(x), and L.Scale(..., bias_term=True) after it",
    "leakyrelu": "L.ReLU(x, negative_slope=...)",
    "add": "x + y, or L.Eltwise(x, y)",
    "sum": "x + y, or L.Eltwise(x, y)",
    "multiply": "x * y",
    "subtract": "x - y",
    "concatenate": "L.Concat(x, y, axis=1)",
    "cat": "L.Concat(x, y, axis=1)",
    "embedding": "L.Embed(x, input_dim=..., num_output=...)",
    "activation": "L.ReLU(x), L.Sigmoid(x) or L.TanH(x)",
    "upsampling2d": "L.Interp, or L.Deconvolution with a bilinear filler",
    "upsample2d": "L.Interp, or L.Deconvolution with a bilinear filler",
    "crossentropyloss": "L.SoftmaxWithLoss(scores, label)",
    "crossentropy": "L.SoftmaxWithLoss(scores, label)",
    "nllloss": "L.MultinomialLogisticLoss(probabilities, label)",
    "bceloss": "L.SigmoidCrossEntropyLoss(scores, targets)",
    "bcewithlogitsloss": "L.SigmoidCrossEntropyLoss(scores, targets)",
    "mseloss": "L.EuclideanLoss(x, y)",
    "meansquarederror": "L.EuclideanLoss(x, y)",
    "localresponsenorm": "L.LRN(x)",
    "zeropadding2d": "pad=... of the layer after it",
    "inputlayer": "L.Input(shape=...)",
    "placeholder": "L.Input(shape=...)",
    "identity": "nothing, or L.Split(x)",
    "softmaxloss": "L.SoftmaxWithLoss(scores, label)",
}


def field_here(word: str, known: Collection[str]) -> str | None:
    """Return what to write for an option that has another name elsewhere, or None."""
    here = [name for name in _FIELDS.get(word, ()) if name in known]
    if here:
        return f"it is {here[0]} here"
    layer = _LAYERS.get(word)
    return None if layer is None else f"write {layer} for it"


def type_here(word: str) -> str | None:
    """Return what to write for a layer that has another name elsewhere, or None."""
    return _TYPES.get(word.replace("_", "").lower())
