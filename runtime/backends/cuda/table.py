"""Which layer types have own kernels, and which these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.concat import Concat, Slice
from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from runtime.backends.cuda.layers.elementwise import Dropout, Elementwise
from runtime.backends.cuda.layers.eltwise import Eltwise, Split
from runtime.backends.cuda.layers.inner_product import InnerProduct
from runtime.backends.cuda.layers.lrn import LRN
from runtime.backends.cuda.layers.pooling import Pooling
from runtime.backends.cuda.layers.prelu import PReLU
from runtime.backends.cuda.layers.recurrent import LSTM, RNN
from runtime.backends.cuda.layers.relu import ReLU

# The first that fits a node is taken.
KERNELS: Mapping[str, Sequence[type[CudaLayer[Any]]]] = {
    "AbsVal": (Elementwise,),
    "BNLL": (Elementwise,),
    "Clip": (Elementwise,),
    "Concat": (Concat,),
    "Convolution": (Convolution,),
    "Deconvolution": (Deconvolution,),
    "Dropout": (Dropout,),
    "ELU": (Elementwise,),
    "Eltwise": (Eltwise,),
    "Exp": (Elementwise,),
    "InnerProduct": (InnerProduct,),
    "LRN": (LRN,),
    "LSTM": (LSTM,),
    "Log": (Elementwise,),
    "PReLU": (PReLU,),
    "Pooling": (Pooling,),
    "Power": (Elementwise,),
    "RNN": (RNN,),
    "ReLU": (ReLU,),
    "Sigmoid": (Elementwise,),
    "Slice": (Slice,),
    "Split": (Split,),
    "Swish": (Elementwise,),
    "TanH": (Elementwise,),
    "Threshold": (Elementwise,),
}
