"""Which layer types have compiled layers, and which these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from runtime.backends.cpu.layers import activation, powers
from runtime.backends.cpu.layers.broadcast import Bias
from runtime.backends.cpu.layers.contrastive import ContrastiveLoss
from runtime.backends.cpu.layers.convolution import Convolution, Deconvolution
from runtime.backends.cpu.layers.detection_output import DetectionOutput
from runtime.backends.cpu.layers.dropout import Dropout
from runtime.backends.cpu.layers.elementwise import (
    Concat,
    EltwiseSum,
    ReLU,
    Slice,
    Split,
)
from runtime.backends.cpu.layers.eltwise import EltwiseMaximum, EltwiseProduct
from runtime.backends.cpu.layers.embed import Embed
from runtime.backends.cpu.layers.fork_norm import ForkNorm
from runtime.backends.cpu.layers.inner_product import InnerProduct
from runtime.backends.cpu.layers.loss import SoftmaxWithLoss
from runtime.backends.cpu.layers.lrn import LRN
from runtime.backends.cpu.layers.lstm_unit import LSTMUnit
from runtime.backends.cpu.layers.mvn import MVN
from runtime.backends.cpu.layers.normalization import BatchNorm, Scale
from runtime.backends.cpu.layers.normalize import Normalize
from runtime.backends.cpu.layers.pair_loss import (
    EuclideanLoss,
    SigmoidCrossEntropyLoss,
    SmoothL1Loss,
)
from runtime.backends.cpu.layers.parts import Crop, Im2col
from runtime.backends.cpu.layers.permute import Permute
from runtime.backends.cpu.layers.pooling import Pooling
from runtime.backends.cpu.layers.prelu import PReLU
from runtime.backends.cpu.layers.proposal import Proposal
from runtime.backends.cpu.layers.recurrent import LSTM, RNN
from runtime.backends.cpu.layers.reduction import Reduction
from runtime.backends.cpu.layers.region import PSROIPooling, ROIAlign, ROIPooling
from runtime.backends.cpu.layers.resize import (
    Axpy,
    Interp,
    ReLU6,
    ShuffleChannel,
    Upsample,
)
from runtime.backends.cpu.layers.softmax import Softmax
from runtime.backends.cpu.layers.unpooling import Unpooling
from runtime.backends.cpu.machine.compiled import CompiledKernel
from runtime.layers.base import Kernel

# The first that fits a node is taken.
KERNELS: Mapping[str, Sequence[type[Kernel[Any]]]] = {
    "AbsVal": (activation.AbsVal,),
    "Axpy": (Axpy,),
    "BN": (ForkNorm,),
    "BNLL": (activation.BNLL,),
    "BatchNorm": (BatchNorm, ForkNorm),
    "Bias": (Bias,),
    "Clip": (activation.Clip,),
    "Concat": (Concat,),
    "ContrastiveLoss": (ContrastiveLoss,),
    "Convolution": (Convolution,),
    "Crop": (Crop,),
    "Deconvolution": (Deconvolution,),
    "DetectionOutput": (DetectionOutput,),
    "Dropout": (Dropout,),
    "ELU": (activation.ELU,),
    "Embed": (Embed,),
    "Eltwise": (EltwiseSum, EltwiseProduct, EltwiseMaximum),
    "EuclideanLoss": (EuclideanLoss,),
    "Exp": (powers.Exp,),
    "Im2col": (Im2col,),
    "InnerProduct": (InnerProduct,),
    "Interp": (Interp,),
    "LRN": (LRN,),
    "LSTM": (LSTM,),
    "LSTMUnit": (LSTMUnit,),
    "Log": (powers.Log,),
    "MVN": (MVN,),
    "Normalize": (Normalize,),
    "PReLU": (PReLU,),
    "PSROIPooling": (PSROIPooling,),
    "Permute": (Permute,),
    "Pooling": (Pooling,),
    "Power": (powers.Power,),
    "Proposal": (Proposal,),
    "RNN": (RNN,),
    "ROIAlign": (ROIAlign,),
    "ROIPooling": (ROIPooling,),
    "ReLU": (ReLU,),
    "ReLU6": (ReLU6,),
    "Reduction": (Reduction,),
    "Scale": (Scale,),
    "SeLu": (activation.SeLu,),
    "ShuffleChannel": (ShuffleChannel,),
    "Sigmoid": (activation.Sigmoid,),
    "SigmoidCrossEntropyLoss": (SigmoidCrossEntropyLoss,),
    "Slice": (Slice,),
    "SmoothL1Loss": (SmoothL1Loss,),
    "Softmax": (Softmax,),
    "SoftmaxWithLoss": (SoftmaxWithLoss,),
    "Split": (Split,),
    "Swish": (activation.Swish,),
    "TanH": (activation.TanH,),
    "Threshold": (activation.Threshold,),
    "Upsample": (Upsample, Unpooling),
}


def all_kernels() -> list[CompiledKernel]:
    """Return every compiled kernel: of layers, of their parts, of update rules."""
    here = __name__.rpartition(".")[0]
    found = {}
    for module in walk_packages(import_module(here).__path__, f"{here}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, CompiledKernel):
                found[id(value)] = value
    return list(found.values())
