"""Which layer types have own kernels, and which these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from runtime.backends.cuda.layers.elementwise import Dropout, Elementwise, ReLU
from runtime.backends.cuda.layers.inner_product import InnerProduct
from runtime.backends.cuda.layers.pooling import Pooling
from runtime.backends.cuda.layers.prelu import PReLU

# The first that fits a node is taken.
KERNELS: Mapping[str, Sequence[type[CudaLayer[Any]]]] = {
    "AbsVal": (Elementwise,),
    "BNLL": (Elementwise,),
    "Clip": (Elementwise,),
    "Convolution": (Convolution,),
    "Deconvolution": (Deconvolution,),
    "Dropout": (Dropout,),
    "ELU": (Elementwise,),
    "Exp": (Elementwise,),
    "InnerProduct": (InnerProduct,),
    "Log": (Elementwise,),
    "PReLU": (PReLU,),
    "Pooling": (Pooling,),
    "Power": (Elementwise,),
    "ReLU": (ReLU,),
    "Sigmoid": (Elementwise,),
    "Swish": (Elementwise,),
    "TanH": (Elementwise,),
    "Threshold": (Elementwise,),
}
