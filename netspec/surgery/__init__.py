"""Operations on a net and its values together: rename, cast, replace, fold, resize."""

from netspec.surgery.casting import cast_to_convolution as cast_to_convolution
from netspec.surgery.folding import Folded as Folded
from netspec.surgery.folding import fold_batchnorm as fold_batchnorm
from netspec.surgery.renaming import rename as rename
