"""Which layer types have own kernels, and which these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.accuracy import Accuracy
from runtime.backends.cuda.layers.concat import Concat, Slice
from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from runtime.backends.cuda.layers.eltwise import Eltwise, Split
from runtime.backends.cuda.layers.inner_product import InnerProduct
from runtime.backends.cuda.layers.lrn import LRN
from runtime.backends.cuda.layers.pooling import Pooling
from runtime.backends.cuda.layers.relu import ReLU
from runtime.backends.cuda.layers.scale import Bias, Scale
from runtime.backends.cuda.layers.softmax import Softmax

# The first that fits a node is taken.
KERNELS: Mapping[str, Sequence[type[CudaLayer[Any]]]] = {
    "Accuracy": (Accuracy,),
    "Bias": (Bias,),
    "Concat": (Concat,),
    "Convolution": (Convolution,),
    "Deconvolution": (Deconvolution,),
    "Eltwise": (Eltwise,),
    "InnerProduct": (InnerProduct,),
    "LRN": (LRN,),
    "Pooling": (Pooling,),
    "ReLU": (ReLU,),
    "Scale": (Scale,),
    "Slice": (Slice,),
    "Softmax": (Softmax,),
    "Split": (Split,),
}
