"""Which layer types have own kernels, and which these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from runtime.backends.cuda.layers.inner_product import InnerProduct
from runtime.backends.cuda.layers.loss import (
    EuclideanLoss,
    HingeLoss,
    MultinomialLogisticLoss,
    SigmoidCrossEntropyLoss,
    SmoothL1Loss,
    SoftmaxWithLoss,
)
from runtime.backends.cuda.layers.normalization import BatchNorm, Scale
from runtime.backends.cuda.layers.pooling import Pooling
from runtime.backends.cuda.layers.relu import ReLU

# The first that fits a node is taken.
KERNELS: Mapping[str, Sequence[type[CudaLayer[Any]]]] = {
    "BatchNorm": (BatchNorm,),
    "Convolution": (Convolution,),
    "Deconvolution": (Deconvolution,),
    "EuclideanLoss": (EuclideanLoss,),
    "HingeLoss": (HingeLoss,),
    "InnerProduct": (InnerProduct,),
    "MultinomialLogisticLoss": (MultinomialLogisticLoss,),
    "Pooling": (Pooling,),
    "ReLU": (ReLU,),
    "Scale": (Scale,),
    "SigmoidCrossEntropyLoss": (SigmoidCrossEntropyLoss,),
    "SmoothL1Loss": (SmoothL1Loss,),
    "SoftmaxWithLoss": (SoftmaxWithLoss,),
}
