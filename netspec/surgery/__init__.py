"""Operations on a net and its values together: rename, cast, replace, fold, resize."""

from netspec.surgery.casting import cast_to_convolution as cast_to_convolution
from netspec.surgery.channels import change_channels as change_channels
from netspec.surgery.classifier import replace_classifier as replace_classifier
from netspec.surgery.extracting import extract as extract
from netspec.surgery.folding import Folded as Folded
from netspec.surgery.folding import fold_batchnorm as fold_batchnorm
from netspec.surgery.renaming import rename as rename
from netspec.surgery.sizes import resize_input as resize_input
from netspec.surgery.transform import fold_transform as fold_transform
