"""What Keras and PyTorch call what has another name in this format."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from netspec.errors import did_you_mean

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
TYPES = {
    "Dense": "L.InnerProduct(x, num_output=...)",
    "Linear": "L.InnerProduct(x, num_output=...)",
    "FullyConnected": "L.InnerProduct(x, num_output=...)",
    "FC": "L.InnerProduct(x, num_output=...)",
    "Conv": "L.Convolution(x, num_output=..., kernel_size=...)",
    "Conv1d": "L.Convolution(x, num_output=..., kernel_size=...)",
    "Conv2d": "L.Convolution(x, num_output=..., kernel_size=...)",
    "Conv3d": "L.Convolution(x, num_output=..., kernel_size=...)",
    "SeparableConv2D": "L.Convolution(..., group=...) and one with kernel_size=1",
    "ConvTranspose2d": "L.Deconvolution(x, num_output=..., kernel_size=...)",
    "Conv2DTranspose": "L.Deconvolution(x, num_output=..., kernel_size=...)",
    "MaxPool": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "MaxPool2d": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "MaxPooling": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "MaxPooling2D": 'L.Pooling(x, pool="MAX", kernel_size=..., stride=...)',
    "AvgPool": 'L.Pooling(x, pool="AVE", kernel_size=..., stride=...)',
    "AvgPool2d": 'L.Pooling(x, pool="AVE", kernel_size=..., stride=...)',
    "AveragePooling2D": 'L.Pooling(x, pool="AVE", kernel_size=..., stride=...)',
    "GlobalAveragePooling2D": 'L.Pooling(x, pool="AVE", global_pooling=True)',
    "AdaptiveAvgPool2d": 'L.Pooling(x, pool="AVE", global_pooling=True)',
    "GlobalMaxPooling2D": 'L.Pooling(x, pool="MAX", global_pooling=True)',
    "BatchNormalization": "L.BatchNorm(x), and L.Scale(..., bias_term=True) after it",
    "BatchNorm1d": "L.BatchNorm(x), and L.Scale(..., bias_term=True) after it",
    "BatchNorm2d": "L.BatchNorm(x), and L.Scale(..., bias_term=True) after it",
    "LeakyReLU": "L.ReLU(x, negative_slope=...)",
    "Add": "x + y, or L.Eltwise(x, y)",
    "Sum": "x + y, or L.Eltwise(x, y)",
    "Multiply": "x * y",
    "Subtract": "x - y",
    "Concatenate": "L.Concat(x, y, axis=1)",
    "Cat": "L.Concat(x, y, axis=1)",
    "Embedding": "L.Embed(x, input_dim=..., num_output=...)",
    "Activation": "L.ReLU(x), L.Sigmoid(x) or L.TanH(x)",
    "UpSampling2D": "L.Interp, or L.Deconvolution with a bilinear filler",
    "Upsample2d": "L.Interp, or L.Deconvolution with a bilinear filler",
    "CrossEntropyLoss": "L.SoftmaxWithLoss(scores, label)",
    "CrossEntropy": "L.SoftmaxWithLoss(scores, label)",
    "NLLLoss": "L.MultinomialLogisticLoss(probabilities, label)",
    "BCELoss": "L.SigmoidCrossEntropyLoss(scores, targets)",
    "BCEWithLogitsLoss": "L.SigmoidCrossEntropyLoss(scores, targets)",
    "MSELoss": "L.EuclideanLoss(x, y)",
    "MeanSquaredError": "L.EuclideanLoss(x, y)",
    "LocalResponseNorm": "L.LRN(x)",
    "ZeroPadding2D": "pad=... of the layer after it",
    "InputLayer": "L.Input(shape=...)",
    "Placeholder": "L.Input(shape=...)",
    "Identity": "nothing, or L.Split(x)",
    "SoftmaxLoss": "L.SoftmaxWithLoss(scores, label)",
}
_FOLDED = {name.lower(): here for name, here in TYPES.items()}


def field_here(word: str, known: Collection[str]) -> str | None:
    """Return what to write for an option that has another name elsewhere, or None."""
    here = [name for name in _FIELDS.get(word, ()) if name in known]
    if here:
        return f"it is {here[0]} here"
    layer = _LAYERS.get(word)
    return None if layer is None else f"write {layer} for it"


# What others ask of a net, and what to write for a spec `n`.
NETS: Mapping[str, str] = {
    "fit": "runtime.fit(n, (x, y), epochs=...)",
    "train": "runtime.fit(n, (x, y), epochs=...)",
    "compile": "runtime.fit(n, data, solver=dict(type='Adam', base_lr=...))",
    "predict": "runtime.predict(history, x), history of runtime.fit",
    "evaluate": "runtime.evaluate(history, (x, y)), history of runtime.fit",
    "forward": "runtime.Net(n).forward(data=x)",
    "summary": "netspec.summarize(n)",
    "plot": "netspec.draw.draw(n)",
    "draw": "netspec.draw.draw(n)",
    "save": "pathlib.Path(path).write_text(str(n.to_proto()))",
    "to_prototxt": "str(n.to_proto())",
    "to_onnx": "netspec.to_onnx(n, weights, path=...)",
    "load": "netspec.load(path)",
    "load_weights": "weights=path of runtime.fit or runtime.Net",
    "freeze": "netspec.freeze(n, 'conv*')",
    "parameters": "runtime.Net(n).params",
    "params": "runtime.Net(n).params",
    "blobs": "runtime.Net(n).blobs",
    "layers": "n.to_proto().layer",
}


def name_hint(word: object, known: Sequence[str]) -> str:
    """Return what is said of a name that a net does not have, as messages end.

    known: the names that it has.
    """
    here = NETS.get(word) if isinstance(word, str) else None
    if here is not None:
        return f"; if no top is meant, write {here}"
    names = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    rest = f"; there are {names}" if known else "; nothing is assigned yet"
    return did_you_mean(str(word), known) or rest


def type_here(word: str) -> str | None:
    """Return what to write for a layer that has another name elsewhere, or None."""
    return _FOLDED.get(word.replace("_", "").lower())
