"""Fine-tuning: what of a net goes on learning and how fast, and another head."""

from netspec.tuning.freezing import freeze as freeze
from netspec.tuning.freezing import unfreeze as unfreeze
from netspec.tuning.head import replace_head as replace_head
from netspec.tuning.multipliers import set_lr_mult as set_lr_mult
from netspec.tuning.report import TuningReport as TuningReport
