"""Which layer types have own kernels, and which these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.accuracy import Accuracy
from runtime.backends.cuda.layers.concat import Concat, Slice
from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from runtime.backends.cuda.layers.elementwise import Dropout, Elementwise
from runtime.backends.cuda.layers.eltwise import Eltwise, Split
from runtime.backends.cuda.layers.embed import Embed
from runtime.backends.cuda.layers.inner_product import InnerProduct
from runtime.backends.cuda.layers.loss import (
    EuclideanLoss,
    HingeLoss,
    MultinomialLogisticLoss,
    SigmoidCrossEntropyLoss,
    SmoothL1Loss,
    SoftmaxWithLoss,
)
from runtime.backends.cuda.layers.lrn import LRN
from runtime.backends.cuda.layers.lstm_unit import LSTMUnit
from runtime.backends.cuda.layers.normalization import BatchNorm, Scale
from runtime.backends.cuda.layers.pooling import Pooling
from runtime.backends.cuda.layers.prelu import PReLU
from runtime.backends.cuda.layers.recurrent import LSTM, RNN
from runtime.backends.cuda.layers.relu import ReLU
from runtime.backends.cuda.layers.scale import Bias, BroadScale
from runtime.backends.cuda.layers.selection import ArgMax, Crop, Tile
from runtime.backends.cuda.layers.softmax import Softmax

# The first that fits a node is taken.
KERNELS: Mapping[str, Sequence[type[CudaLayer[Any]]]] = {
    "AbsVal": (Elementwise,),
    "Accuracy": (Accuracy,),
    "ArgMax": (ArgMax,),
    "BNLL": (Elementwise,),
    "BatchNorm": (BatchNorm,),
    "Bias": (Bias,),
    "Clip": (Elementwise,),
    "Concat": (Concat,),
    "Convolution": (Convolution,),
    "Crop": (Crop,),
    "Deconvolution": (Deconvolution,),
    "Dropout": (Dropout,),
    "ELU": (Elementwise,),
    "Eltwise": (Eltwise,),
    "Embed": (Embed,),
    "EuclideanLoss": (EuclideanLoss,),
    "Exp": (Elementwise,),
    "HingeLoss": (HingeLoss,),
    "InnerProduct": (InnerProduct,),
    "LRN": (LRN,),
    "LSTM": (LSTM,),
    "LSTMUnit": (LSTMUnit,),
    "Log": (Elementwise,),
    "MultinomialLogisticLoss": (MultinomialLogisticLoss,),
    "PReLU": (PReLU,),
    "Pooling": (Pooling,),
    "Power": (Elementwise,),
    "RNN": (RNN,),
    "ReLU": (ReLU,),
    "ReLU6": (Elementwise,),
    "Scale": (Scale, BroadScale),
    "Sigmoid": (Elementwise,),
    "SigmoidCrossEntropyLoss": (SigmoidCrossEntropyLoss,),
    "Slice": (Slice,),
    "SmoothL1Loss": (SmoothL1Loss,),
    "Softmax": (Softmax,),
    "SoftmaxWithLoss": (SoftmaxWithLoss,),
    "Split": (Split,),
    "Swish": (Elementwise,),
    "TanH": (Elementwise,),
    "Threshold": (Elementwise,),
    "Tile": (Tile,),
}
